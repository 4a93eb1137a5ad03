"""The stages of a job `epistemic_reference`: a new version whose epistemic score is fitted anew on labelled images.

Each stage leaves files in the job's folder, so that it can be begun again wherever it was interrupted.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from app.jobs.bench import Bench
from app.jobs.epistemic_plans import (
    Settled,
    check_depth,
    gradients_of,
    plans_compared,
    plans_on_trial,
    settle,
    with_plan,
)
from app.jobs.parts import fit_and_report
from app.jobs.publishing import keep, kept, promote_kept
from app.jobs.stage import StageContext
from models.backbones.prepared import PreparedNetwork, exact_gradients
from models.core.gradient_plan import GradientPlan
from models.core.image import read_image
from models.core.outputs import LayerGradients
from models.training.build import Part, with_head
from models.training.epistemic_gate import EpistemicGate
from models.training.epistemic_reference import NAME, judged, refit
from models.training.epistemic_report import NEW, SERVING, epistemic_record
from models.training.exact_energies import collect_exact, gather_exact
from models.training.rescored import Rescored, served, undecided, with_score

COLLECTED, FITTED = 0.9, 0.97  # progress at the end of these stages
BEFORE_EXACT = 0.3  # and before the exact form, which takes most of the time


def collect(context: StageContext) -> dict[str, Any]:
    """Outputs with gradients by every plan on trial, then by the chosen one and that of the version before."""
    bench = Bench(context)
    first, plans = bench.manifest.precisions[0], plans_on_trial(bench)
    check_depth(bench, plans[0])
    context.log(f"{bench.images.name}: {len(bench.labels)} rows for version {bench.base} of {context.spec.model}")
    end = BEFORE_EXACT if context.spec.params["exact_rows"] else COLLECTED
    trials = [(plan, first) for plan in plans]
    _collect(bench, trials, 0.0, end / 2)
    settled = settle(bench)
    rest = [(plan, precision) for plan in plans_compared(bench, settled) for precision in bench.manifest.precisions]
    _collect(bench, [each for each in rest if each not in trials], end / 2, end)
    _collect_exact(bench, settled.plan)
    return {"base": bench.base}


def fit_candidate(context: StageContext) -> dict[str, Any]:
    """Fit on one part of the rows, report on the other, and put the candidate version into the job's folder."""
    bench = Bench(context)
    settled = settle(bench)
    planned = with_plan(bench, settled.plan)
    parts = {precision: fit_and_report(planned, precision) for precision in bench.manifest.precisions}
    refitted: dict[str, Rescored] = {}
    records = []
    for precision, (fitting, judging) in parts.items():
        context.report(COLLECTED, f"fitting on {len(fitting.names)} rows, {precision}")
        network = planned.network(precision)
        refitted[precision] = _refit(bench, network, settled.decay, fitting)
        records.append(_judge(bench, refitted[precision], fitting, judging))
    gate = EpistemicGate(**context.spec.params["gate"]).judge(records)
    report = _origin(bench, settled, *parts[bench.manifest.precisions[0]]) | {"precisions": records, "gate": gate}
    keep(context, with_score(undecided(bench.version), NAME, settled.plan, refitted, report))
    _tell(context, settled, records[0], gate)
    return {"decay": settled.decay, "plan": settled.plan.to_dict(), "gate": gate}


def promote(context: StageContext) -> dict[str, Any]:
    """Make the new version the active one, if the gate holds and nobody has moved the pointer meanwhile."""
    return promote_kept(context, kept(context).manifest.report["epistemic"]["gate"])


def _collect(bench: Bench, passes: Sequence[tuple[GradientPlan, str]], begin: float, end: float) -> None:
    for turn, (plan, precision) in enumerate(passes):
        share = (end - begin) / len(passes)
        with_plan(bench, plan).collect_in(precision, begin + turn * share, share)


def _collect_exact(bench: Bench, plan: GradientPlan) -> None:
    """Of the first rows to fit on."""
    count, spec = bench.spec.params["exact_rows"], bench.manifest.image_input
    if not count:
        return
    names = fit_and_report(with_plan(bench, plan), bench.manifest.precisions[0])[0].names[:count]
    gradients = exact_gradients(bench.stored_network(), bench.manifest.backbone.kind, spec, bench.device, plan)

    def images(some: Sequence[str]) -> Tensor:
        contents = [content for content in bench.images.contents(some) if content is not None]
        pixels = np.stack([spec.pixels(read_image(content, spec)) for content in contents])
        return spec.tensor(pixels, bench.device, torch.float32)

    def told(done: int) -> None:
        progress = BEFORE_EXACT + (COLLECTED - BEFORE_EXACT) * done / len(names)
        bench.context.report(progress, f"{done} of {len(names)} images, exact form")

    folder, classes = bench.context.folder / "exact", len(bench.manifest.classes)
    collect_exact(gradients, names, images, folder, told, classes=classes)


def _refit(bench: Bench, network: PreparedNetwork, decay: float, fitting: Part) -> Rescored:
    calibrator = bench.calibrator(network)
    outputs = served(calibrator, with_head(network, fitting.found.outputs))
    return refit(bench.version, network, calibrator, outputs, decay, _exact(bench))


def _judge(bench: Bench, refitted: Rescored, fitting: Part, judging: Part) -> dict[str, Any]:
    network, exact = refitted.network, _exact(bench)
    outputs = served(refitted.calibrator, with_head(network, judging.found.outputs))
    serving = _serving(bench, network.precision)
    both = None if exact is None else (_first(gradients_of(fitting), len(exact.energies)), exact)
    found = judged(refitted, outputs, judging.found.labels, serving, both)
    return epistemic_record(found, network.precision, bench.spec.params["seed"])


def _exact(bench: Bench) -> LayerGradients | None:
    return gather_exact(bench.context.folder / "exact") if bench.spec.params["exact_rows"] else None


def _serving(bench: Bench, precision: str) -> LayerGradients | None:
    """Gradients of the rows to report on by the plan of the version before, if it had one."""
    plan = bench.manifest.gradients
    return None if plan is None else gradients_of(fit_and_report(with_plan(bench, plan), precision)[1])


def _first(gradients: LayerGradients, count: int) -> LayerGradients:
    return replace(gradients, energies=gradients.energies[:count])


def _origin(bench: Bench, settled: Settled, fitting: Part, judging: Part) -> dict[str, Any]:
    """Where the score comes from: data, rows, plan, decay."""
    trials = [asdict(trial) for trial in settled.trials]
    chosen = {"by": bench.manifest.precisions[0], "rows": len(fitting.names), "trials": trials}
    return {
        "base": bench.base,
        "data": asdict(fitting.use()) | {"role": "reference"},
        "seed": bench.spec.params["seed"],
        "note": judging.note,
        "plan": settled.plan.to_dict(),
        "decay": settled.decay,
        "chosen": chosen if settled.trials else None,
    }


def _tell(context: StageContext, settled: Settled, record: Mapping[str, Any], gate: Mapping[str, Any]) -> None:
    found = (
        (when, record["scores"].get(name, {}).get("auroc")) for when, name in (("active", SERVING), ("after", NEW))
    )
    metrics = {f"auroc_of_being_wrong_{when}": auroc["value"] for when, auroc in found if auroc}
    context.report(FITTED, "fitted and judged", metrics)
    sigma = f", sigma {settled.plan.sigma:g}" if settled.plan.perturbations else ""
    context.log(f"{'chosen' if settled.trials else 'as given or before'}: decay {settled.decay:g}{sigma}")
    for note in gate["unjudged"]:
        context.log(note)
    context.log("the gate holds" if gate["held"] else f"the gate does not hold: {'; '.join(gate['reasons'])}")
