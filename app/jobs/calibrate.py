"""The stages of a job `calibrate`: outputs for every row, a calibrator fitted on some, the gate on the others, publish.

Each stage leaves files in the job's folder, so that it can be begun again wherever it was interrupted.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

from app.jobs.bench import Bench
from app.jobs.parts import fit_and_report
from app.jobs.publishing import keep, kept, promote_kept
from app.jobs.stage import StageContext
from models.backbones.prepared import PreparedNetwork
from models.calibration.masked_training import MacCalOptions
from models.core.report import harmed
from models.pipeline import stored_scores
from models.training.build import Fitted, Part, Recipe, Serving, fit, make_version, with_head
from models.training.gate import Gate
from models.training.select import Selection, select_calibrator
from models.uncertainty import READY

COLLECTED, FITTED = 0.7, 0.95  # progress at the end of these stages
AUTO = "auto"
KEPT = ("epistemic", "loss_rank", "training")  # parts of the base version's report


def collect(context: StageContext) -> dict[str, Any]:
    """Logits and features of every row, in every precision that the base version serves in."""
    bench = Bench(context)
    context.log(f"{bench.data.name}: {len(bench.labels)} rows for version {bench.base} of {context.spec.model}")
    bench.collect(until=COLLECTED)
    return {"base": bench.base}


def fit_candidate(context: StageContext) -> dict[str, Any]:
    """Fit on one part of the rows, report on the other, and put the candidate version into the job's folder."""
    bench = Bench(context)
    parts = {precision: fit_and_report(bench, precision) for precision in bench.manifest.precisions}
    selection = _selected(bench, parts) if context.spec.params["method"] == AUTO else None
    recipe = _recipe(bench, selection)
    fitted: dict[str, Fitted] = {}
    for turn, (precision, (fitting, judged)) in enumerate(parts.items()):
        done = COLLECTED + (FITTED - COLLECTED) * turn / len(parts)
        context.report(done, f"fitting {recipe.calibrator} on {len(fitting.names)} rows, {precision}")
        network = bench.network(precision)
        fitted[precision] = fit(recipe, network, fitting, [judged], _serving(bench, network))
        tell_guard(context, precision, recipe.calibrator, fitted[precision])
    evaluations = [row for result in fitted.values() for row in result.evaluations]
    gate = Gate(**context.spec.params["gate"]).judge(evaluations)
    extra: dict[str, Any] = {"gate": gate, "base": bench.base, "unjudged": unjudged(bench)}
    if selection is not None:
        extra["selection"] = asdict(selection)
    # The calibrator touches neither these scores nor the network.
    extra |= {name: bench.manifest.report[name] for name in KEPT if name in bench.manifest.report}
    keep(context, make_version(recipe, fitted, extra))
    tell(context, evaluations, gate)
    return {"method": recipe.calibrator, "gate": gate}


def promote(context: StageContext) -> dict[str, Any]:
    """Make the new version the active one, if the gate holds and nobody has moved the pointer meanwhile."""
    return promote_kept(context, kept(context).manifest.report["gate"])


def unjudged(bench: Bench) -> list[str]:
    """What the base version's report warns of on other data, which this job does not have to judge on."""
    inherited = list(bench.manifest.report.get("unjudged", []))
    for row in bench.manifest.report["evaluations"]:
        before, after = row["before"]["ece"], row["after"]["ece"]
        if row["role"] == "shift" and row["precision"] == bench.manifest.precisions[0] and harmed(row):
            inherited.append(
                f"Not judged on {row['data']}, where the calibration of version {bench.base} made ECE worse"
                f" ({before:.3f} before, {after:.3f} after): a job `evaluate` on it tells."
            )
    return inherited


def _selected(bench: Bench, parts: Mapping[str, tuple[Part, Part]]) -> Selection:
    """In the first precision: all of them get the same method, so that they stay comparable."""
    precision, (fitting, _) = next(iter(parts.items()))
    return compare(bench, precision, fitting, COLLECTED)


def compare(bench: Bench, precision: str, fitting: Part, progress: float) -> Selection:
    """Which calibrator suits these rows, by cross-validation."""
    bench.context.report(progress, "comparing calibrators by cross-validation")
    outputs = with_head(bench.network(precision), fitting.found.outputs)
    selection = select_calibrator(outputs, fitting.found.labels, seed=bench.spec.params["seed"])
    bench.context.log(selection.reason)
    return selection


def _recipe(bench: Bench, selection: Selection | None) -> Recipe:
    manifest = bench.manifest
    return Recipe(
        backbone=manifest.backbone,
        classes=manifest.classes,
        input_spec=manifest.image_input,
        calibrator=selection.chosen if selection else bench.spec.params["method"],
        scores=manifest.scores or READY,
        precisions=manifest.precisions,
        seed=bench.spec.params["seed"],
        compared=("temperature",),
        gradients=bench.plan,
        options=_options(bench.spec.params),
        trained=tuple(use for use in manifest.data if use.role == "train"),
    )


def _options(params: Mapping[str, Any]) -> Mapping[str, Any]:
    # A job that was queued by an earlier release has no such parameter.
    given = params.get("mac_cal")
    return {} if given is None else {"options": MacCalOptions(**given)}


def _serving(bench: Bench, network: PreparedNetwork) -> Serving:
    return Serving(bench.calibrator(network), stored_scores(network, bench.version))


def tell_guard(context: StageContext, precision: str, calibrator: str, fitted: Fitted) -> None:
    """A line where the calibrator's own guard keeps it from changing anything."""
    if not fitted.record.get("guard", {"held": True})["held"]:
        context.log(f"the guard of {calibrator} did not hold: the network's own logits stay in {precision}")


def tell(context: StageContext, evaluations: Sequence[Mapping[str, Any]], gate: Mapping[str, Any]) -> None:
    """Figures on the rows that are reported on, and the gate's verdict."""
    shown = next(row for row in evaluations if row["role"] == "report")
    metrics = {
        f"{name}_{when}": value["value"] if isinstance(value, Mapping) else value
        for when in ("before", "active", "after")
        for name, value in ((name, shown[when][name]) for name in ("nll", "ece", "accuracy"))
    }
    context.report(FITTED, "fitted and judged", metrics)
    context.log("the gate holds" if gate["held"] else f"the gate does not hold: {'; '.join(gate['reasons'])}")
