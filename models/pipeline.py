"""One checkpoint version put together: network, calibrator, scores and their references. Read `answer` first."""

from collections.abc import Collection
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray

from models.backbones.prepared import PreparedNetwork, build_network, prepare
from models.calibration import calibrator
from models.core.checkpoint import Version
from models.core.device import choose_precision
from models.core.errors import CheckpointError, UnknownNameError
from models.core.golden import GoldenRow, golden_pixels
from models.core.manifest import Manifest
from models.core.method import Calibrator, UncertaintyScore
from models.core.outputs import ModelOutputs
from models.core.reference import Reference
from models.core.store import CheckpointStore
from models.uncertainty import score

FloatRows = NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class ScoredReference:
    """A score and the reference set that gives it a percentile."""

    score: UncertaintyScore
    reference: Reference


@dataclass(frozen=True, slots=True)
class Answers:
    """Answers for N inputs. `scores` maps a name to values (N,) and percentiles (N,)."""

    class_index: NDArray[np.int64]  # (N,) most probable class after calibration
    confidence: FloatRows  # (N,) calibrated probability of that class
    raw_confidence: FloatRows  # (N,) the network's own probability of that class
    top_index: NDArray[np.int64]  # (N, K) most probable classes, first the predicted one
    top_probability: FloatRows  # (N, K)
    scores: dict[str, tuple[FloatRows, FloatRows]]


class Pipeline:
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
    ) -> None:
        self.network = network
        self.calibrator = calibrator
        self.scores = scores
        self.golden_outputs = {} if golden_outputs is None else golden_outputs

    def answer(self, pixels: NDArray[np.uint8], scores: Collection[str] = (), top_k: int = 1) -> Answers:
        """Predict, calibrate and score (N, height, width, 3) uint8 pixels; only the named scores are computed.

        Raises UnknownNameError for a score that this version does not have.
        """
        return self.answer_outputs(self.network.outputs(pixels), scores, top_k)

    @torch.inference_mode()
    def answer_outputs(self, outputs: ModelOutputs, scores: Collection[str] = (), top_k: int = 1) -> Answers:
        """As `answer`, from outputs that the network gave before."""
        outputs = self.calibrate(outputs)
        probabilities = outputs.calibrated_log_probabilities().exp()
        top = probabilities.topk(min(top_k, probabilities.shape[1]), dim=1)
        label = top.indices[:, :1]
        raw = outputs.log_probabilities().gather(1, label)[:, 0].exp()
        return Answers(
            class_index=label[:, 0].cpu().numpy(),
            confidence=top.values[:, 0].cpu().numpy(),
            raw_confidence=raw.cpu().numpy(),
            top_index=top.indices.cpu().numpy(),
            top_probability=top.values.cpu().numpy(),
            scores={name: self._score(name, outputs) for name in scores},
        )

    def calibrate(self, outputs: ModelOutputs) -> ModelOutputs:
        """Without a calibrator the calibrated logits are the network's own."""
        if self.calibrator is None:
            return outputs.with_calibrated(outputs.logits)
        return self.calibrator.transform(outputs)

    def golden_rows(self, seeds: tuple[int, ...]) -> list[GoldenRow]:
        """The answers for the golden inputs of these seeds, every score among them."""
        if seeds not in self.golden_outputs:
            self.golden_outputs[seeds] = self.network.outputs(golden_pixels(self.network.input_spec, seeds))
        answers = self.answer_outputs(self.golden_outputs[seeds], self.scores)
        return [
            GoldenRow(
                confidence=float(answers.confidence[row]),
                scores={name: float(values[row]) for name, (values, _) in answers.scores.items()},
            )
            for row in range(len(seeds))
        ]

    def _score(self, name: str, outputs: ModelOutputs) -> tuple[FloatRows, FloatRows]:
        if name not in self.scores:
            raise UnknownNameError("score", name, self.scores)
        values = self.scores[name].score.score(outputs)
        percentiles = self.scores[name].reference.percentile(values)
        return values.cpu().numpy(), percentiles.numpy()


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
        network = build_network(manifest.backbone, store.read_weights(manifest.backbone.sha256))
        prepared = prepare(network, manifest.backbone.kind, manifest.input_spec, device, chosen, compiled=compiled)
        pipeline = assemble(prepared, version)
    elif loaded.network.precision == chosen:
        pipeline = assemble(loaded.network, version, loaded.golden_outputs)
    else:
        ours = loaded.network.precision
        raise CheckpointError(f"the loaded network is in {ours}, the version is to be served in {chosen}")
    version.golden.check(chosen, pipeline.golden_rows(version.golden.seeds))
    return pipeline


def same_network(one: Manifest, other: Manifest) -> bool:
    """Whether both versions build the same network from the same weights for the same inputs."""
    return one.input_spec == other.input_spec and (
        replace(one.backbone, origin=None) == replace(other.backbone, origin=None)
    )


def assemble(
    network: PreparedNetwork, version: Version, golden_outputs: dict[tuple[int, ...], ModelOutputs] | None = None
) -> Pipeline:
    """Put the stored methods of the network's precision on top of it."""
    manifest, dimensions = version.manifest, network.dimensions
    if len(manifest.classes) != dimensions.classes:
        raise CheckpointError(f"{len(manifest.classes)} class names for {dimensions.classes} outputs")
    fitted = None
    if manifest.calibrator is not None:
        state = version.method_state(network.precision, "calibrator")
        fitted = calibrator(manifest.calibrator)(dimensions).load_state(state).to(network.device)
    scores = {name: _scored(network, version, name) for name in manifest.scores}
    return Pipeline(network, fitted, scores, golden_outputs)


def _scored(network: PreparedNetwork, version: Version, name: str) -> ScoredReference:
    state = version.method_state(network.precision, f"scores.{name}")
    if "reference" not in state:
        raise CheckpointError(f"score {name} has no reference values in {network.precision}")
    reference = Reference.load(state.pop("reference"))
    return ScoredReference(score(name)(network.dimensions).load_state(state).to(network.device), reference)
