"""A version like another but for its epistemic score: gradients by another plan, λ and reference values fitted anew."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from importlib.metadata import version as installed_version
from typing import Any

from torch import Tensor

from models.backbones.prepared import PreparedNetwork
from models.core.checkpoint import Version
from models.core.device import machine
from models.core.golden import Golden, GoldenRow
from models.core.gradient_plan import GradientPlan
from models.core.manifest import FORMAT, Manifest
from models.core.method import Calibrator
from models.core.outputs import LayerGradients, ModelOutputs
from models.core.reference import Reference
from models.pipeline import EXACT, FAST, LAST_LAYER, Pipeline, ScoredReference, stored_scores
from models.training.build import reference_of
from models.training.epistemic_report import NEW, SERVING, Judged
from models.uncertainty import SCORES, score
from models.uncertainty.epistemic import Epistemic

NAME = Epistemic.name
COMPARED = ("max_prob", "entropy")


@dataclass(frozen=True, slots=True)
class Refitted:
    """What came of one precision: every score of the new version, and those of the version before."""

    network: PreparedNetwork  # prepared for the new plan
    calibrator: Calibrator | None
    scores: Mapping[str, ScoredReference]
    before: Mapping[str, ScoredReference]

    @property
    def epistemic(self) -> Epistemic:
        method = self.scores[NAME].score
        assert isinstance(method, Epistemic)
        return method

    def golden_rows(self, seeds: tuple[int, ...]) -> tuple[GoldenRow, ...]:
        return tuple(Pipeline(self.network, self.calibrator, dict(self.scores)).golden_rows(seeds))


def score_names(manifest: Manifest) -> tuple[str, ...]:
    """Those of the version, the epistemic one among them; a version without scores gets every score there is."""
    return tuple(dict.fromkeys((*(manifest.scores or SCORES), NAME)))


def base_decay(version: Version, precision: str) -> float | None:
    """λ of a version's epistemic score; None where it has none or is of a format that stored none."""
    stored = version.method_state(precision, f"scores.{NAME}").get("decay")
    return None if stored is None else float(stored)


def served(calibrator: Calibrator | None, outputs: ModelOutputs) -> ModelOutputs:
    """The outputs with calibrated logits, which without a calibrator are the network's own."""
    return outputs.with_calibrated(outputs.logits) if calibrator is None else calibrator.transform(outputs)


def are_wrong(outputs: ModelOutputs, labels: Tensor) -> Tensor:
    """(N,) bool, of what would be answered."""
    return outputs.calibrated_log_probabilities().argmax(dim=1) != labels


def refit(
    version: Version,
    network: PreparedNetwork,
    calibrator: Calibrator | None,
    outputs: ModelOutputs,
    decay: float,
    exact: LayerGradients | None,
) -> Refitted:
    """Fit on `served` outputs with gradients; `exact` are those of some of the rows, whichever.

    Scores other than the epistemic one stay as they are, and those that the version lacks are fitted too.
    """
    before = stored_scores(replace(network, gradients=None), version)
    scores = {}
    for name in score_names(version.manifest):
        if name == NAME:
            scores[name] = _epistemic(Epistemic(network.dimensions, decay), outputs, exact)
        else:
            scores[name] = before.get(name) or reference_of(score(name)(network.dimensions), outputs)
    return Refitted(network, calibrator, scores, before)


def judged(
    refitted: Refitted,
    outputs: ModelOutputs,
    labels: Tensor,
    serving: LayerGradients | None,
    exact: tuple[LayerGradients, LayerGradients] | None,
) -> Judged:
    """The rows to report on: `served` outputs with gradients, and the `serving` version's own gradients if any.

    `exact` are the fast and the exact gradients of other rows.
    """
    method, reference = refitted.epistemic, refitted.scores[NAME].reference
    scores = {NEW: method.score(outputs)}
    before, form = refitted.before.get(NAME), None
    if before is not None:
        scores[SERVING] = before.score.score(replace(outputs, gradients=serving))
        form = LAST_LAYER if serving is None else FAST
    dimensions = refitted.network.dimensions
    scores |= {name: score(name)(dimensions).score(outputs) for name in COMPARED}
    return Judged(
        wrong=are_wrong(outputs, labels),
        scores=scores,
        percentile=reference.percentile(scores[NEW]),
        last_layer=method.of_last_layer(outputs),
        serving_form=form,
        exact=None if exact is None else (method.of_layers(exact[0]), method.of_layers(exact[1])),
    )


def with_epistemic(
    base: Version, plan: GradientPlan, refitted: Mapping[str, Refitted], report: Mapping[str, Any]
) -> Version:
    """The new version; `refitted` by precision. Tensors of everything that was not fitted are those of `base`."""
    names = score_names(base.manifest)
    tensors = dict(base.tensors)
    for precision, found in refitted.items():
        for name in names:
            if name == NAME or name not in base.manifest.scores:
                prefix = f"{precision}.scores.{name}."
                tensors = {key: value for key, value in tensors.items() if not key.startswith(prefix)}
                tensors |= {f"{prefix}{key}": value for key, value in found.scores[name].state().items()}
    manifest = replace(
        base.manifest,
        scores=names,
        gradients=plan,
        code_version=installed_version("howsure"),
        machine=machine(),
        report={**base.manifest.report, "epistemic": dict(report)},
        format=FORMAT,
    )
    seeds = base.golden.seeds
    golden = Golden(seeds, {precision: found.golden_rows(seeds) for precision, found in refitted.items()})
    return Version(manifest, tensors, golden)


def _epistemic(method: Epistemic, outputs: ModelOutputs, exact: LayerGradients | None) -> ScoredReference:
    kept = {} if exact is None else {EXACT: Reference.fit(method.of_layers(exact))}
    return reference_of(method, outputs, kept)
