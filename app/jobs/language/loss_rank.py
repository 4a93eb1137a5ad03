"""The stages of a job `loss_rank` on a language model: a head that ranks prompts by the loss to be expected.

Each stage leaves files in the job's folder, so that it can be begun again wherever it was interrupted.
"""

from dataclasses import replace
from typing import Any

from app.jobs.language.prompt_bench import PromptBench
from app.jobs.language.readouts import served_readout
from app.jobs.loss_rank import gate_of, head_plan, head_teller, held_out, origin_of, tell
from app.jobs.publishing import keep
from app.jobs.stage import StageContext
from models.language.pipeline import language_dimensions
from models.training.loss_rank_head import TrainedHead
from models.training.loss_rank_version import NAME, HeadOrigin, head_report
from models.training.prompts.loss_rank import RankedPrompts, rank_prompts, train_on_prompts
from models.training.rescored import undecided, with_score
from models.uncertainty.loss_rank import LossRank

READ, TRAINED = 0.7, 0.9  # progress at the end of these parts
MEASURE = "auroc"  # that the gate goes by where nobody says: of a prompt's neighbours nothing is known


def collect(context: StageContext) -> dict[str, Any]:
    """Read every row in every precision that the base version serves in."""
    bench = _bench(context)
    bench.collect(until=READ)
    return {"base": bench.bench.base}


def fit_candidate(context: StageContext) -> dict[str, Any]:
    """Train the head on one part of the rows, judge it on the other, and keep the candidate version."""
    bench = _bench(context)
    trained, origin, note = _trained(bench)
    ranked = {precision: _ranked(bench, precision, trained.head) for precision in bench.precisions}
    gate = gate_of(context.spec.params["gate"], MEASURE)
    report = head_report(trained.head, [each.record for each in ranked.values()], gate, origin, note)
    keep(context, with_score(undecided(bench.version), NAME, None, ranked, report))
    tell(context, ranked[bench.precisions[0]].record, report["gate"])
    return {"gate": report["gate"]}


def _bench(context: StageContext) -> PromptBench:
    return PromptBench(context, lambda manifest, data: served_readout(context.spec.params, manifest, data))


def _trained(bench: PromptBench) -> tuple[TrainedHead, HeadOrigin, str]:
    """A head trained in the first precision, where it comes from, and how far to trust figures of it."""
    params, serves = bench.context.spec.params, bench.serving(bench.precisions[0])
    fitting, judging = bench.fit_and_report(bench.read(serves))
    held = held_out(fitting.part.names, params["seed"])
    outputs, labels = fitting.serving.outputs, fitting.labels
    dimensions, folder = language_dimensions(serves.language), bench.context.folder / "head"
    told, plan = head_teller(bench.context, READ, TRAINED - READ), head_plan(params)
    trained = train_on_prompts(outputs, labels, held, params["views"], dimensions, plan, folder, told)
    origin = replace(origin_of(trained, fitting.part, params), views=None, base=bench.bench.base)
    return trained, origin, judging.part.note


def _ranked(bench: PromptBench, precision: str, head: LossRank) -> RankedPrompts:
    read = bench.read(bench.serving(precision))
    fitting, judging = bench.fit_and_report(read)
    bench.context.report(TRAINED, f"fitting on {len(fitting.part.names)} rows, {precision}")
    return rank_prompts(bench.version, read.serves, head, fitting, judging, bench.context.spec.params["seed"])
