"""The stages of a job `loss_rank`: a new version with a head that ranks inputs by the loss to be expected.

Each stage leaves files in the job's folder, so that it can be begun again wherever it was interrupted.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from typing import Any

from app.jobs.bench import Bench
from app.jobs.parts import fit_and_report
from app.jobs.publishing import keep, kept, promote_kept
from app.jobs.stage import StageContext
from models.data.splits import split
from models.feature_cache.view_plan import ViewPlan
from models.training.build import Part
from models.training.head_curve import CurvePoint
from models.training.head_plan import HeadPlan
from models.training.held_out_views import held_out_views
from models.training.loss_rank_gate import LossRankGate
from models.training.loss_rank_head import Told, TrainedHead, train_head
from models.training.loss_rank_report import BASELINE, NEW
from models.training.loss_rank_version import NAME, HeadOrigin, Judged, judge_head, with_loss_rank
from models.training.rescored import undecided
from models.uncertainty.loss_rank import LossRank

PLAIN, VIEWS, TRAINED, FITTED = 0.2, 0.6, 0.9, 0.97  # progress at the end of these stages
HELD_OUT = 0.2  # of the images to fit on: their views tell when to stop
MEASURE = "r_auroc"  # that the gate goes by where nobody says: what such a head is for


def collect(context: StageContext) -> dict[str, Any]:
    """Outputs of every row in every precision, then of augmented views of the rows to fit on, in the first one."""
    bench = Bench(context)
    first = bench.manifest.precisions[0]
    context.log(f"{bench.images.name}: {len(bench.labels)} rows for version {bench.base} of {context.spec.model}")
    bench.collect(until=PLAIN)
    fitting = fit_and_report(bench, first)[0]
    bench.collect_views(first, fitting.names, view_plan(context.spec.params), PLAIN, VIEWS - PLAIN)
    return {"base": bench.base}


def fit_candidate(context: StageContext) -> dict[str, Any]:
    """Train the head on the views, fit its references, judge it on the other rows, and keep the candidate version."""
    bench = Bench(context)
    params, first = context.spec.params, bench.manifest.precisions[0]
    fitting, judging = fit_and_report(bench, first)
    trained = head_on_views(bench, fitting, params, VIEWS, TRAINED - VIEWS)
    judged = {precision: _judge(bench, precision, trained.head) for precision in bench.manifest.precisions}
    gate, origin = gate_of(params["gate"], MEASURE), replace(origin_of(trained, fitting, params), base=bench.base)
    version = with_loss_rank(undecided(bench.version), trained.head, judged, gate, origin, judging.note)
    keep(context, version)
    verdict = version.manifest.report[NAME]["gate"]
    tell(context, judged[first].record, verdict)
    return {"gate": verdict}


def promote(context: StageContext) -> dict[str, Any]:
    """Make the new version the active one, if the gate holds and nobody has moved the pointer meanwhile."""
    return promote_kept(context, kept(context).manifest.report[NAME]["gate"])


def view_plan(params: Mapping[str, Any]) -> ViewPlan:
    """Out of `views` and `seed`."""
    return ViewPlan(params["views"], params["seed"])


def head_on_views(
    bench: Bench, fitting: Part, params: Mapping[str, Any], begin: float, share: float, loss: str = "train_loss"
) -> TrainedHead:
    """A head trained on the views of `fitting` that were collected; the job's progress goes up from `begin` by `share`.

    `params` are `width`, `depth`, `passes`, `views` and `seed`; `loss` is what its loss is called among the metrics.
    """
    first = bench.manifest.precisions[0]
    views, held = bench.views(first, fitting.names, view_plan(params)), held_out(fitting.names, params["seed"])
    dimensions = bench.network(first).dimensions

    # Another kind of machine sees the views a little differently: it begins anew.
    folder = bench.context.folder / "head" / views.cache.key.digest
    told = head_teller(bench.context, begin, share, loss)
    return train_head(views, held_out_views(views, held), dimensions, head_plan(params), folder, told, held)


def head_plan(params: Mapping[str, Any]) -> HeadPlan:
    """Out of `width`, `depth`, `passes` and `seed`."""
    return HeadPlan(width=params["width"], depth=params["depth"], passes=params["passes"], seed=params["seed"])


def head_teller(context: StageContext, begin: float, share: float, loss: str = "train_loss") -> Told:
    """Reports every check of a head's training; `loss` is what its loss is called among the metrics."""

    def told(step: int, steps: int, point: CurvePoint | None) -> None:
        if point is not None:
            figures = {} if point.spearman is None else {"held_out_spearman": point.spearman}
            context.report(begin + share * step / steps, f"step {step} of {steps}", {loss: point.loss, **figures})

    return told


def held_out(names: Sequence[str], seed: int) -> list[int]:
    """Places of the rows that are not trained on: they tell when to stop."""
    held = set(split(names, seed, max(1, round(HELD_OUT * len(names))))[0])
    return [place for place, name in enumerate(names) if name in held]


def _judge(bench: Bench, precision: str, head: LossRank) -> Judged:
    fitting, judging = fit_and_report(bench, precision)
    bench.context.report(TRAINED, f"fitting on {len(fitting.names)} rows, {precision}")
    return judge_in(bench, precision, head, fitting, judging)


def judge_in(bench: Bench, precision: str, head: LossRank, fitting: Part, judging: Part) -> Judged:
    """References on the one part, figures on the other."""
    network = bench.network(precision)
    seed = bench.spec.params["seed"]
    return judge_head(bench.version, network, bench.calibrator(network), head, fitting, judging, seed)


def origin_of(trained: TrainedHead, fitting: Part, params: Mapping[str, Any]) -> HeadOrigin:
    """`params` as for `head_on_views`."""
    return HeadOrigin(
        data=asdict(fitting.use()) | {"role": "reference"},
        views=params["views"],
        held_out=len(held_out(fitting.names, params["seed"])),
        seed=params["seed"],
        best=trained.best,
        curve=trained.curve,
    )


def gate_of(given: Mapping[str, Any], measure: str) -> LossRankGate:
    """As the job's parameters say; `measure` where they name none."""
    return LossRankGate(**{**given, "measure": given["measure"] or measure})


def tell(context: StageContext, record: Mapping[str, Any], gate: Mapping[str, Any]) -> None:
    """Figures of the head beside entropy's, and the gate's verdict."""
    measure = gate["limits"]["measure"]
    found = ((name, record["scores"][name][measure]) for name in (NEW, BASELINE))
    metrics = {f"{measure}_of_{name}": interval["value"] for name, interval in found if interval}
    context.report(FITTED, "trained and judged", metrics)
    context.log("the gate holds" if gate["held"] else f"the gate does not hold: {'; '.join(gate['reasons'])}")
