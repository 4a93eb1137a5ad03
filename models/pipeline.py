"""One checkpoint version put together: network, calibrator, scores and their references. Read `answer` first."""

from collections.abc import Callable, Collection
from dataclasses import replace

import numpy as np
import torch
from numpy.typing import NDArray

from models.answers import EXACT, LAST_LAYER, Answering, Answers, ScoredReference, golden_rows_of, stored_score
from models.backbones.prepared import PreparedNetwork, build_network, exact_gradients, prepare
from models.calibration import calibrator
from models.core.checkpoint import Version
from models.core.device import choose_precision
from models.core.errors import CheckpointError, UnknownNameError
from models.core.golden import GoldenRow, golden_pixels
from models.core.manifest import Manifest
from models.core.method import Calibrator, GradientScore
from models.core.outputs import ModelOutputs
from models.core.store import CheckpointStore
from models.gradients.exact import ExactGradients


class Pipeline(Answering):
    """Immutable after construction. `golden_outputs` are what the network gave for golden inputs, by their seeds.

    They belong to the network: pipelines that share it share them, so that a recalibrated version is checked without
    another forward pass.
    """

    def __init__(
        self,
        network: PreparedNetwork,
        calibrator: Calibrator | None,
        scores: dict[str, ScoredReference],
        golden_outputs: dict[tuple[int, ...], ModelOutputs] | None = None,
        exact_gradients: ExactGradients | None = None,
    ) -> None:
        super().__init__(calibrator, scores)
        self.network = network
        self.golden_outputs = {} if golden_outputs is None else golden_outputs
        self.exact_gradients = exact_gradients
        of_gradients = tuple(name for name, scored in scores.items() if isinstance(scored.score, GradientScore))
        # What costs a backward pass in its usual form, and what has an exact one.
        self.fast_scores = of_gradients if network.gradients is not None else ()
        self.exact_scores = of_gradients if exact_gradients is not None else ()

    def answer(
        self,
        pixels: NDArray[np.uint8],
        scores: Collection[str] = (),
        top_k: int = 1,
        *,
        cheap: bool = False,
        features: bool = False,
    ) -> Answers:
        """Predict, calibrate and score (N, height, width, 3) uint8 pixels; only the named scores are computed.

        `cheap` takes the last-layer form of scores whose fast form costs a backward pass. `features` adds the input of
        the last linear layer, before any calibrator. Raises UnknownNameError for a score that this version does not
        have.
        """
        gradients = not cheap and any(name in scores for name in self.fast_scores)
        outputs = self.network.outputs(pixels, gradients=gradients)
        answers = self.answer_outputs(outputs, scores, top_k)
        return replace(answers, features=outputs.require_features().cpu().numpy()) if features else answers

    def exact(
        self, name: str, pixels: NDArray[np.uint8], stop: Callable[[], bool]
    ) -> list[tuple[float, float | None] | None]:
        """Value and percentile of the exact form for each of (N, height, width, 3) uint8 pixels, in order.

        None for an image that `stop`, asked between backward passes, left no time for; the percentile is None where
        this version has no reference of the exact form. Blocks; calls from several threads take turns.
        Raises UnknownNameError for a score without an exact form.
        """
        scored = self.scores.get(name)
        if scored is None or not isinstance(scored.score, GradientScore) or self.exact_gradients is None:
            raise UnknownNameError("score with an exact form", name, self.exact_scores)
        images = self.network.input_spec.tensor(pixels, self.network.device, torch.float32)
        found = self.exact_gradients.energies(images, stop)
        reference = scored.forms.get(EXACT)
        answers: list[tuple[float, float | None] | None] = []
        for gradients in found:
            if gradients is None:
                answers.append(None)
                continue
            value = scored.score.of_layers(gradients)
            answers.append((float(value), None if reference is None else float(reference.percentile(value))))
        return answers

    def golden_rows(self, seeds: tuple[int, ...]) -> list[GoldenRow]:
        """The answers for the golden inputs of these seeds, every score among them."""
        if seeds not in self.golden_outputs:
            pixels = golden_pixels(self.network.input_spec, seeds)
            # With gradients in any case: a version that shares the network may have a score of them.
            self.golden_outputs[seeds] = self.network.outputs(pixels, gradients=True)
        return golden_rows_of(self.answer_outputs(self.golden_outputs[seeds], self.scores))


def load_pipeline(
    store: CheckpointStore,
    version: Version,
    device: torch.device,
    *,
    precision: str = "auto",
    compiled: bool = False,
    loaded: Pipeline | None = None,
) -> Pipeline:
    """Assemble a version and re-score its golden rows, on the network of `loaded` where that is given.

    Ask `same_network` first. Raises CheckpointError when anything differs from what was published.
    """
    manifest = version.manifest
    chosen = choose_precision(device, manifest.precisions, precision)
    if loaded is None:
        network, plan = (
            build_network(manifest.backbone, store.read_weights(manifest.backbone.sha256)),
            manifest.gradients,
        )
        kind, spec = manifest.backbone.kind, manifest.image_input
        prepared = prepare(network, kind, spec, device, chosen, compiled=compiled, plan=plan)
        exact = None if plan is None else exact_gradients(network, kind, spec, device, plan)
        pipeline = assemble(prepared, version, exact=exact)
    elif loaded.network.precision == chosen:
        pipeline = assemble(loaded.network, version, loaded.golden_outputs, loaded.exact_gradients)
    else:
        ours = loaded.network.precision
        raise CheckpointError(f"the loaded network is in {ours}, the version is to be served in {chosen}")
    version.golden.check(chosen, pipeline.golden_rows(version.golden.seeds))
    return pipeline


def same_network(one: Manifest, other: Manifest) -> bool:
    """Whether both versions build the same network from the same weights, for the same inputs and gradients."""
    return (one.input_spec, one.gradients) == (other.input_spec, other.gradients) and (
        replace(one.backbone, origin=None) == replace(other.backbone, origin=None)
    )


def assemble(
    network: PreparedNetwork,
    version: Version,
    golden_outputs: dict[tuple[int, ...], ModelOutputs] | None = None,
    exact: ExactGradients | None = None,
) -> Pipeline:
    """Put the stored methods of the network's precision on top of it."""
    manifest, dimensions = version.manifest, network.dimensions
    if len(manifest.classes) != dimensions.classes:
        raise CheckpointError(f"{len(manifest.classes)} class names for {dimensions.classes} outputs")
    fitted = None
    if manifest.calibrator is not None:
        state = version.method_state(network.precision, "calibrator")
        fitted = calibrator(manifest.calibrator)(dimensions).load_state(state).to(network.device)
    return Pipeline(network, fitted, stored_scores(network, version), golden_outputs, exact)


def stored_scores(network: PreparedNetwork, version: Version) -> dict[str, ScoredReference]:
    """The scores of a version in the network's precision. Raises CheckpointError when one has no reference."""
    return {name: _scored(network, version, name) for name in version.manifest.scores}


def _scored(network: PreparedNetwork, version: Version, name: str) -> ScoredReference:
    found = stored_score(version, name, network.precision, network.dimensions, network.device)
    if isinstance(found.score, GradientScore) and network.gradients is not None and LAST_LAYER not in found.forms:
        raise CheckpointError(f"score {name} has no reference values of its last-layer form in {network.precision}")
    return found
