"""A version like another but for one uncertainty score, which is fitted anew; the others stay as they are."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from importlib.metadata import version as installed_version
from typing import Any, Protocol

from torch import Tensor

from models.answers import ScoredReference
from models.backbones.prepared import PreparedNetwork
from models.core.checkpoint import Version
from models.core.device import machine
from models.core.golden import Golden, GoldenRow
from models.core.gradient_plan import GradientPlan
from models.core.manifest import Manifest
from models.core.method import Calibrator
from models.core.outputs import ModelOutputs
from models.pipeline import Pipeline, stored_scores
from models.training.build import reference_of
from models.uncertainty import READY, score


class Scored(Protocol):
    """What came of one precision, of whatever network."""

    @property
    def scores(self) -> Mapping[str, ScoredReference]:
        """Every score of the new version."""
        ...

    def golden_rows(self, seeds: tuple[int, ...]) -> tuple[GoldenRow, ...]:
        """The new version's answers for golden inputs."""
        ...


@dataclass(frozen=True, slots=True)
class Rescored:
    """What came of one precision: every score of the new version, and those of the version before."""

    network: PreparedNetwork  # as the new version has it prepared
    calibrator: Calibrator | None
    scores: Mapping[str, ScoredReference]
    before: Mapping[str, ScoredReference]

    def golden_rows(self, seeds: tuple[int, ...]) -> tuple[GoldenRow, ...]:
        return tuple(Pipeline(self.network, self.calibrator, dict(self.scores)).golden_rows(seeds))


def score_names(manifest: Manifest, name: str) -> tuple[str, ...]:
    """Those of the version, and `name`; a version without scores gets all that need no training."""
    return tuple(dict.fromkeys((*(manifest.scores or READY), name)))


def served(calibrator: Calibrator | None, outputs: ModelOutputs) -> ModelOutputs:
    """The outputs with calibrated logits, which without a calibrator are the network's own."""
    return outputs.with_calibrated(outputs.logits) if calibrator is None else calibrator.transform(outputs)


def are_wrong(outputs: ModelOutputs, labels: Tensor) -> Tensor:
    """(N,) bool, of what would be answered."""
    return outputs.calibrated_log_probabilities().argmax(dim=1) != labels


def rescore(
    version: Version,
    network: PreparedNetwork,
    calibrator: Calibrator | None,
    outputs: ModelOutputs,
    name: str,
    fitted: ScoredReference,
) -> Rescored:
    """`fitted` takes the place of score `name`; those that the version lacks get references on `served` outputs."""
    before = stored_scores(replace(network, gradients=None), version)
    scores = {
        other: before.get(other) or reference_of(score(other)(network.dimensions), outputs)
        for other in score_names(version.manifest, name)
        if other != name
    }
    ordered = {other: fitted if other == name else scores[other] for other in score_names(version.manifest, name)}
    return Rescored(network, calibrator, ordered, before)


def undecided(version: Version) -> Version:
    """As a base: its report without what was decided about itself, in a comparison with the version before it."""
    report = {name: part for name, part in version.manifest.report.items() if name not in ("gate", "base")}
    return replace(version, manifest=replace(version.manifest, report=report))


def with_score(
    base: Version,
    name: str,
    plan: GradientPlan | None,
    rescored: Mapping[str, Scored],
    report: Mapping[str, Any],
) -> Version:
    """The new version; `rescored` by precision. Tensors of everything that was not fitted are those of `base`.

    `report` goes into the base's report under the score's name.
    """
    names = score_names(base.manifest, name)
    tensors = dict(base.tensors)
    for precision, found in rescored.items():
        for other in names:
            if other == name or other not in base.manifest.scores:
                prefix = f"{precision}.scores.{other}."
                tensors = {key: value for key, value in tensors.items() if not key.startswith(prefix)}
                tensors |= {f"{prefix}{key}": value for key, value in found.scores[other].state().items()}
    manifest = replace(
        base.manifest,
        scores=names,
        gradients=plan,
        code_version=installed_version("howsure"),
        machine=machine(),
        report={**base.manifest.report, name: dict(report)},
    )
    seeds = base.golden.seeds
    golden = Golden(seeds, {precision: found.golden_rows(seeds) for precision, found in rescored.items()})
    return Version(manifest, tensors, golden)
