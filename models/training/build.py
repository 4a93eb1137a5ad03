"""Make a checkpoint version of an image classifier: fit calibrator and references, judge on other rows, golden rows.

Everything is fitted once for each precision, since a calibration holds for the precision it was fitted in.
"""

import platform
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib.metadata import version as installed_version
from typing import Any

import torch
from torch import Tensor, nn

from models.backbones.prepared import PreparedNetwork, prepare
from models.calibration import CALIBRATORS
from models.core.checkpoint import Version
from models.core.device import fast_bfloat16
from models.core.golden import Golden, GoldenRow
from models.core.input_spec import InputSpec
from models.core.manifest import BackboneRecord, DataUse, Manifest
from models.core.method import Calibrator
from models.core.outputs import ModelOutputs
from models.core.reference import Reference
from models.data.image_archive import ImageArchive
from models.data.splits import fingerprint
from models.metrics.evaluation import evaluate
from models.pipeline import Pipeline, ScoredReference
from models.training.labelled_outputs import LabelledOutputs, collect
from models.uncertainty import score

GOLDEN_SEEDS = (1, 2, 3, 4)


@dataclass(frozen=True, slots=True)
class Rows:
    """Some rows of an archive and what they are for; `note` tells a reader how far to trust a figure on them."""

    archive: ImageArchive
    names: tuple[str, ...]
    role: str  # fit | report | shift
    note: str = ""

    def use(self) -> DataUse:
        return DataUse(self.archive.name, self.archive.sha256, self.role, len(self.names), fingerprint(self.names))


@dataclass(frozen=True, slots=True)
class Plan:
    """What to build. `fit` rows calibrate and set the references; `judge` rows are only reported on."""

    backbone: BackboneRecord
    classes: tuple[str, ...]
    input_spec: InputSpec
    calibrator: str
    scores: tuple[str, ...]
    precisions: tuple[str, ...]
    fit: Rows
    judge: tuple[Rows, ...]
    seed: int

    def __post_init__(self) -> None:
        fitted = {(self.fit.archive.sha256, name) for name in self.fit.names}
        for rows in self.judge:
            if any((rows.archive.sha256, name) in fitted for name in rows.names):
                raise ValueError(f"{rows.archive.name}: rows of role {rows.role} were also fitted on")


@dataclass(frozen=True, slots=True)
class _Fitted:
    tensors: dict[str, Tensor]
    golden: tuple[GoldenRow, ...]
    evaluations: list[dict[str, Any]]


def build_version(plan: Plan, network: nn.Module, progress: Callable[[str], None] = lambda _: None) -> Version:
    """Fit and judge in every precision of the plan; `network` is float32, on the CPU, and stays as it is."""
    fitted = {}
    for precision in plan.precisions:
        progress(f"{precision}: preparing the network")
        device = torch.device("cpu")
        prepared = prepare(network, plan.backbone.kind, plan.input_spec, device, precision)
        fitted[precision] = _fit(plan, prepared, progress)
    return Version(
        manifest=_manifest(plan, [row for precision in plan.precisions for row in fitted[precision].evaluations]),
        tensors={name: value for precision in plan.precisions for name, value in fitted[precision].tensors.items()},
        golden=Golden(GOLDEN_SEEDS, {precision: fitted[precision].golden for precision in plan.precisions}),
    )


def _fit(plan: Plan, network: PreparedNetwork, progress: Callable[[str], None]) -> _Fitted:
    fit = _collect(network, plan.fit, progress)
    candidates = {name: cls(network.dimensions).fit(fit.outputs, fit.labels) for name, cls in CALIBRATORS.items()}
    chosen = candidates[plan.calibrator]
    reference_outputs = chosen.transform(fit.outputs)
    scores = {}
    for name in plan.scores:
        method = score(name)(network.dimensions)
        scores[name] = ScoredReference(method, Reference.fit(method.score(reference_outputs)))
    prefix = network.precision
    tensors = {f"{prefix}.calibrator.{name}": value for name, value in chosen.state().items()}
    for name, scored in scores.items():
        tensors |= {f"{prefix}.scores.{name}.{key}": value for key, value in scored.score.state().items()}
        tensors[f"{prefix}.scores.{name}.reference"] = scored.reference.values
    return _Fitted(
        tensors=tensors,
        golden=tuple(Pipeline(network, chosen, scores).golden_rows(GOLDEN_SEEDS)),
        evaluations=[_judge(plan, network, rows, candidates, progress) for rows in (*plan.judge, plan.fit)],
    )


def _collect(network: PreparedNetwork, rows: Rows, progress: Callable[[str], None]) -> LabelledOutputs:
    progress(f"{network.precision}: {len(rows.names)} {rows.role} rows of {rows.archive.name}")
    return collect(network, rows.archive.read(rows.names))


def _judge(
    plan: Plan,
    network: PreparedNetwork,
    rows: Rows,
    candidates: dict[str, Calibrator],
    progress: Callable[[str], None],
) -> dict[str, Any]:
    found = _collect(network, rows, progress)
    judged = {"none": evaluate(found.outputs.logits, found.labels, seed=plan.seed)}
    for name, candidate in candidates.items():
        judged[name] = evaluate(_calibrated(candidate, found.outputs), found.labels, seed=plan.seed)
    return {
        "data": rows.archive.name,
        "role": rows.role,
        "rows": len(rows.names),
        "note": rows.note,
        "precision": network.precision,
        "calibrator": plan.calibrator,
        "before": judged["none"].to_dict(),
        "after": judged[plan.calibrator].to_dict(),
        "compared": {name: _summary(evaluation.to_dict()) for name, evaluation in judged.items()},
    }


def _calibrated(candidate: Calibrator, outputs: ModelOutputs) -> Tensor:
    calibrated = candidate.transform(outputs).calibrated
    assert calibrated is not None
    return calibrated


def _summary(evaluation: dict[str, Any]) -> dict[str, float]:
    short = {"accuracy": evaluation["accuracy"]["value"], "nll": evaluation["nll"]["value"]}
    return short | {name: evaluation[name] for name in ("brier", "ece", "ece_floor", "ece_mass", "ece_mass_floor")}


def _manifest(plan: Plan, evaluations: Sequence[dict[str, Any]]) -> Manifest:
    return Manifest(
        task="image-classification",
        backbone=plan.backbone,
        classes=plan.classes,
        input_spec=plan.input_spec,
        calibrator=plan.calibrator,
        scores=plan.scores,
        precisions=plan.precisions,
        data=tuple(rows.use() for rows in (plan.fit, *plan.judge)),
        seeds={"split": plan.seed, "bootstrap": plan.seed},
        code_version=installed_version("howsure"),
        machine=machine(),
        report={"evaluations": list(evaluations)},
        files={},
    )


def machine() -> str:
    """Processor architecture, vector unit and torch release: what floating-point results depend on."""
    capabilities = torch.cpu.get_capabilities()
    unit = "amx" if capabilities.get("amx_bf16") else torch.backends.cpu.get_cpu_capability().lower()
    bfloat16 = "bfloat16" if fast_bfloat16(torch.device("cpu")) else "no bfloat16"
    return f"{platform.machine()} {unit}, {bfloat16}, torch {torch.__version__.split('+')[0]}"
