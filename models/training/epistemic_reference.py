"""A version like another but for its epistemic score: gradients by another plan, λ and reference values fitted anew."""

from dataclasses import replace

from torch import Tensor

from models.answers import EXACT, FAST, LAST_LAYER, ScoredReference
from models.backbones.prepared import PreparedNetwork
from models.core.checkpoint import Version
from models.core.method import Calibrator
from models.core.outputs import LayerGradients, ModelOutputs
from models.core.reference import Reference
from models.training.build import reference_of
from models.training.epistemic_report import NEW, SERVING, Judged
from models.training.rescored import Rescored, are_wrong, rescore
from models.uncertainty import score
from models.uncertainty.epistemic import Epistemic

NAME = Epistemic.name
COMPARED = ("max_prob", "entropy")


def base_decay(version: Version, precision: str) -> float | None:
    """λ of a version's epistemic score; None where it has none or is of a format that stored none."""
    stored = version.method_state(precision, f"scores.{NAME}").get("decay")
    return None if stored is None else float(stored)


def refit(
    version: Version,
    network: PreparedNetwork,
    calibrator: Calibrator | None,
    outputs: ModelOutputs,
    decay: float,
    exact: LayerGradients | None,
) -> Rescored:
    """Fit on `served` outputs with gradients; `exact` are those of some of the rows, whichever."""
    fitted = _epistemic(Epistemic(network.dimensions, decay), outputs, exact)
    return rescore(version, network, calibrator, outputs, NAME, fitted)


def judged(
    refitted: Rescored,
    outputs: ModelOutputs,
    labels: Tensor,
    serving: LayerGradients | None,
    exact: tuple[LayerGradients, LayerGradients] | None,
) -> Judged:
    """The rows to report on: `served` outputs with gradients, and the `serving` version's own gradients if any.

    `exact` are the fast and the exact gradients of other rows.
    """
    method, reference = refitted.scores[NAME].score, refitted.scores[NAME].reference
    assert isinstance(method, Epistemic)
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


def _epistemic(method: Epistemic, outputs: ModelOutputs, exact: LayerGradients | None) -> ScoredReference:
    kept = {} if exact is None else {EXACT: Reference.fit(method.of_layers(exact))}
    return reference_of(method, outputs, kept)
