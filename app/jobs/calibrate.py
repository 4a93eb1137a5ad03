"""The stages of a job `calibrate`: outputs for every row, a calibrator fitted on some, the gate on the others, publish.

Each stage leaves files in the job's folder, so that it can be begun again wherever it was interrupted.
"""

import shutil
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

from app.jobs.bench import Bench
from app.jobs.stage import StageContext
from models.backbones.prepared import PreparedNetwork
from models.core.checkpoint import read_version, write_version
from models.core.errors import DataError
from models.data.dataset import OutputDataset
from models.data.splits import split
from models.pipeline import stored_scores
from models.training.build import Fitted, Part, Recipe, Serving, fit, make_version, with_head
from models.training.gate import Gate
from models.training.select import Selection, select_calibrator
from models.uncertainty import SCORES

COLLECTED, FITTED = 0.7, 0.95  # progress at the end of these stages
AUTO = "auto"
FEWEST_ROWS = 20


def collect(context: StageContext) -> dict[str, Any]:
    """Logits and features of every row, in every precision that the base version serves in."""
    bench = Bench(context)
    context.log(f"{bench.data.name}: {len(bench.labels)} rows for version {bench.base} of {context.spec.model}")
    bench.collect(bench.data.names, until=COLLECTED)
    return {"base": bench.base}


def fit_candidate(context: StageContext) -> dict[str, Any]:
    """Fit on one part of the rows, report on the other, and put the candidate version into the job's folder."""
    bench = Bench(context)
    parts = {precision: _parts(bench, precision) for precision in bench.manifest.precisions}
    selection = _select(bench, parts) if context.spec.params["method"] == AUTO else None
    recipe = _recipe(bench, selection)
    fitted: dict[str, Fitted] = {}
    for turn, (precision, (fitting, judged)) in enumerate(parts.items()):
        done = COLLECTED + (FITTED - COLLECTED) * turn / len(parts)
        context.report(done, f"fitting {recipe.calibrator} on {len(fitting.names)} rows, {precision}")
        network = bench.network(precision)
        fitted[precision] = fit(recipe, network, fitting, [judged], _serving(bench, network))
    evaluations = [row for result in fitted.values() for row in result.evaluations]
    gate = Gate(**context.spec.params["gate"]).judge(evaluations)
    extra: dict[str, Any] = {"gate": gate, "base": bench.base, "unjudged": _unjudged(bench)}
    if selection is not None:
        extra["selection"] = asdict(selection)
    _keep(context, recipe, fitted, extra)
    _tell(context, evaluations, gate)
    return {"method": recipe.calibrator, "gate": gate}


def publish(context: StageContext) -> dict[str, Any]:
    """Into the store, once: a version that is there already keeps its number."""
    number = Bench(context).store.publish(context.spec.model, read_version(context.folder / "version"))
    context.report(0.98, f"published as version {number}")
    context.log(f"published as version {number}")
    return {"version": number}


def promote(context: StageContext) -> dict[str, Any]:
    """Make the new version the active one, if the gate holds and nobody has moved the pointer meanwhile."""
    bench, spec = Bench(context), context.spec
    version = bench.store.publish(spec.model, read_version(context.folder / "version"))
    reason = f"job {spec.id}"
    active = bench.store.active(spec.model)
    if any(move.version == version and move.reason.startswith(reason) for move in active.history):
        return {"promoted": True, "why": "the gate held"}
    why = _objection(bench, active.version)
    if why is None:
        told = {"actor": spec.created_by, "reason": f"{reason}: the gate held"}
        now = bench.store.activate(spec.model, version, instead_of=bench.base, **told).version
        why = None if now == version else _moved(bench, now)
    context.log(f"version {version} is active now" if why is None else f"version {version} stays a candidate: {why}")
    return {"promoted": why is None, "why": why or "the gate held"}


def _unjudged(bench: Bench) -> list[str]:
    """What the base version's report warns of on other data, which this job does not have to judge on."""
    inherited = list(bench.manifest.report.get("unjudged", []))
    for row in bench.manifest.report["evaluations"]:
        before, after = row["before"]["ece"], row["after"]["ece"]
        if row["role"] == "shift" and row["precision"] == bench.manifest.precisions[0] and after > before:
            inherited.append(
                f"Not judged on {row['data']}, where the calibration of version {bench.base} made ECE worse"
                f" ({before:.3f} before, {after:.3f} after): a job `evaluate` on it tells."
            )
    return inherited


def _parts(bench: Bench, precision: str) -> tuple[Part, Part]:
    params, names = bench.spec.params, bench.data.names
    sizes = round(len(names) * params["fit_share"])
    fitting, judged = split(names, params["seed"], sizes, len(names) - sizes)
    fit_part = _part(bench, precision, "fit", fitting, "fitted on these rows: not evidence")
    return fit_part, _part(bench, precision, "report", judged, _evidence(bench, fit_part))


def _evidence(bench: Bench, fitting: Part) -> str:
    """How far to trust a figure on the rows that are reported on."""
    told = "rows of the same data, not fitted on"
    fitted = [use for use in bench.manifest.data if use.role == "fit" and use.sha256 == fitting.sha256]
    if any(use.fingerprint != fitting.use().fingerprint for use in fitted):
        told += "; the serving version was fitted on some of them, which favours it"
    if isinstance(bench.data, OutputDataset):
        told += "; outputs as given, which do not say in what precision they were computed"
    return told


def _part(bench: Bench, precision: str, role: str, names: Sequence[str], note: str) -> Part:
    kept, found = bench.collected(precision, names)
    if len(kept) < FEWEST_ROWS:
        raise DataError(f"{len(kept)} rows to {role} on, at least {FEWEST_ROWS} are needed: send more rows")
    return Part(bench.data.name, bench.data.sha256, role, kept, found, note)


def _select(bench: Bench, parts: Mapping[str, tuple[Part, Part]]) -> Selection:
    """In the first precision: all of them get the same method, so that they stay comparable."""
    bench.context.report(COLLECTED, "comparing calibrators by cross-validation")
    precision, (fitting, _) = next(iter(parts.items()))
    outputs = with_head(bench.network(precision), fitting.found.outputs)
    selection = select_calibrator(outputs, fitting.found.labels, seed=bench.spec.params["seed"])
    bench.context.log(selection.reason)
    return selection


def _recipe(bench: Bench, selection: Selection | None) -> Recipe:
    manifest = bench.manifest
    return Recipe(
        backbone=manifest.backbone,
        classes=manifest.classes,
        input_spec=manifest.input_spec,
        calibrator=selection.chosen if selection else bench.spec.params["method"],
        scores=manifest.scores or tuple(SCORES),
        precisions=manifest.precisions,
        seed=bench.spec.params["seed"],
        compared=("temperature",),
        gradients=bench.plan,
    )


def _serving(bench: Bench, network: PreparedNetwork) -> Serving:
    return Serving(bench.calibrator(network), stored_scores(network, bench.version))


def _keep(context: StageContext, recipe: Recipe, fitted: Mapping[str, Fitted], extra: Mapping[str, Any]) -> None:
    folder, beside = context.folder / "version", context.folder / "version.tmp"
    for left in (folder, beside):
        shutil.rmtree(left, ignore_errors=True)
    beside.mkdir()
    write_version(beside, make_version(recipe, fitted, extra))
    beside.rename(folder)


def _tell(context: StageContext, evaluations: Sequence[Mapping[str, Any]], gate: Mapping[str, Any]) -> None:
    shown = next(row for row in evaluations if row["role"] == "report")
    metrics = {
        f"{name}_{when}": value["value"] if isinstance(value, Mapping) else value
        for when in ("before", "active", "after")
        for name, value in ((name, shown[when][name]) for name in ("nll", "ece", "accuracy"))
    }
    context.report(FITTED, "fitted and judged", metrics)
    context.log("the gate holds" if gate["held"] else f"the gate does not hold: {'; '.join(gate['reasons'])}")


def _objection(bench: Bench, active: int) -> str | None:
    report = read_version(bench.context.folder / "version").manifest.report
    if not bench.spec.params["promote"]:
        return "the job was not to promote"
    if not report["gate"]["held"]:
        return "; ".join(report["gate"]["reasons"])
    if active != bench.base:
        return _moved(bench, active)
    return None


def _moved(bench: Bench, active: int) -> str:
    return f"version {active} is the active one, and the job compared with version {bench.base}"
