"""A version like another, but for a few-shot recalibrator of slices; and what its report says."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from importlib.metadata import version as installed_version
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import binary_cross_entropy

from models.core.checkpoint import Version
from models.core.device import machine
from models.core.golden import Golden, GoldenRow
from models.core.manifest import DataUse
from models.language.few_shot_recalibration import FEW_SHOT, FewShotPlan, FewShotRecalibrator
from models.language.pipeline import LanguagePipeline
from models.metrics.calibration import expected_calibration_error, noise_floor
from models.training.build import Part
from models.training.gate import Gate, of_plain_figures
from models.training.prompts.slices import SlicedRows
from models.training.prompts.version import PromptPart


@dataclass(frozen=True, slots=True)
class SliceFigures:
    """Over rows that were not shown: `nll` of being right in nats, `confidence` and `accuracy` are means, `ece` of 15
    bins."""

    rows: int
    accuracy: float
    confidence: float
    nll: float
    ece: float

    @classmethod
    def of(cls, chances: Tensor, correct: Tensor) -> "SliceFigures":
        """Chances (N,) in [0, 1] of being right, and `correct` (N,) bool."""
        return cls(
            rows=len(correct),
            accuracy=float(correct.double().mean()),
            confidence=float(chances.double().mean()),
            nll=float(binary_cross_entropy(chances.double(), correct.double())),
            ece=expected_calibration_error(chances, correct),
        )


@dataclass(frozen=True, slots=True)
class Recalibrated:
    """What came of one precision; the `golden` rows are those of the new version."""

    method: FewShotRecalibrator
    records: tuple[dict[str, Any], ...]
    uses: tuple[DataUse, ...]
    golden: tuple[GoldenRow, ...]


def recalibrate_slices(
    serves: LanguagePipeline, plan: FewShotPlan, fitting: PromptPart, judged: PromptPart, golden: tuple[GoldenRow, ...]
) -> Recalibrated:
    """Fit on slices of `fitting`, report on those of `judged` and on `fitting` itself, in the precision that `serves`.

    Raises DataError where either has fewer than two slices with more rows than are shown.
    """
    sliced = [SlicedRows.of(serves, part, plan.shown) for part in (judged, fitting)]
    method = FewShotRecalibrator.fit(sliced[1].rows, plan)
    parts = (judged.part, fitting.part)
    records = [_record(part, rows, serves, method) for part, rows in zip(parts, sliced, strict=True)]
    return Recalibrated(method, tuple(records), tuple(part.use() for part in parts), golden)


def judged_slices(gate: Gate, records: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """As the gate judges answers to choices; NLL is that of being right."""
    told = [of_plain_figures(record) | {"data": f"slices of {record['data']}"} for record in records]
    return gate.judge(told)


def with_recalibrators(
    base: Version, found: Mapping[str, Recalibrated], gate: Mapping[str, Any], origin: Mapping[str, Any]
) -> Version:
    """`base` with recalibrators by precision; each item is answered as before.

    `origin` says which version was the base, how the rows were split, and the plan.
    """
    tensors = {name: value for name, value in base.tensors.items() if f".{FEW_SHOT}." not in name}
    for precision, each in found.items():
        tensors |= {f"{precision}.{FEW_SHOT}.{name}": value for name, value in each.method.state.items()}
    told = {
        "evaluations": [record for each in found.values() for record in each.records],
        "data": [asdict(use) for use in next(iter(found.values())).uses],
        "gate": dict(gate),
        **origin,
    }
    manifest = replace(
        base.manifest,
        code_version=installed_version("howsure"),
        machine=machine(),
        report={**base.manifest.report, FEW_SHOT: told},
    )
    golden = Golden(base.golden.seeds, {precision: each.golden for precision, each in found.items()})
    return Version(manifest, tensors, golden)


def _record(part: Part, sliced: SlicedRows, serves: LanguagePipeline, method: FewShotRecalibrator) -> dict[str, Any]:
    """Figures by the serving calibrator (`before`), by what serves slices (`active`), and `after`."""
    before, after = sliced.rows.confidences, sliced.recalibrated(method)
    active = before if serves.few_shot is None else sliced.recalibrated(serves.few_shot)
    chances = {"before": before, "active": active, "after": after}
    places = [sliced.judged_rows(number) for number in range(len(sliced.slices))]
    every = torch.cat(places)
    return {
        **part.about(serves.language.precision),
        "rows": len(every),
        **{when: _whole(each[every], sliced.rows.correct[every]) for when, each in chances.items()},
        "slices": [
            {"slice": name, **{when: _figures(each, sliced, rows) for when, each in chances.items()}}
            for name, rows in zip(sliced.slices, places, strict=True)
        ],
    }


def _figures(chances: Tensor, sliced: SlicedRows, rows: Tensor) -> dict[str, Any]:
    return asdict(SliceFigures.of(chances[rows], sliced.rows.correct[rows]))


def _whole(chances: Tensor, correct: Tensor) -> dict[str, Any]:
    """What perfect calibration would read on so many rows goes with the ECE."""
    return asdict(SliceFigures.of(chances, correct)) | {"ece_floor": noise_floor(chances)}
