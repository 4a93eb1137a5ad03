"""One version of a language model put together: network, calibrator, scores and references. Read `answer` first."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch

from models.answers import LAST_LAYER, Answering, Answers, FloatRows, ScoredReference, golden_rows_of, stored_score
from models.core.checkpoint import Version
from models.core.device import choose_precision
from models.core.errors import CheckpointError
from models.core.golden import GoldenRow
from models.core.manifest import Manifest
from models.core.method import Dimensions, GradientScore
from models.core.prompt_spec import PromptSpec, Readout
from models.core.store import CheckpointStore
from models.language.calibrators import PromptCalibrator, prompt_calibrator
from models.language.causal_lm import CausalLM, load_causal_lm
from models.language.continuations import MOST_CHOICES, Item
from models.language.few_shot_recalibration import FEW_SHOT, FewShotRecalibrator
from models.language.multiple_choice import Question, lettered_item
from models.language.reading import Reading, read_items

KIND = "causal_lm"  # of a backbone

# Made up, so that they are no part of any data; asked in the form that most data comes in.
GOLDEN_QUESTIONS = (
    Question("Which of these is a colour?", ("seven", "green", "running", "under"), 1),
    Question("What do bees make?", ("honey", "glass", "iron", "paper money"), 0),
    Question("How many legs does a spider have?", ("two", "four", "six", "eight"), 3),
    Question("Where do fish live?", ("in trees", "in the desert", "in water", "on the moon"), 2),
)


@dataclass(frozen=True, slots=True)
class PromptAnswers:
    """`calibrated` is False where the choices were read in another way than the calibrator was fitted for; then
    confidence is the model's own, and percentiles are NaN.

    `embeddings` (N, D) are what the version's recalibrator reads of a slice; None where it has none, or was fitted for
    choices read in another way.
    """

    answers: Answers
    calibrated: bool
    embeddings: FloatRows | None = None


class LanguagePipeline(Answering):
    """Immutable after construction. `golden` are the readings of golden prompts by what they were read with: they
    belong to the network, and pipelines that share it share them."""

    def __init__(
        self,
        language: CausalLM,
        prompts: PromptSpec,
        calibrator: PromptCalibrator | None,
        scores: dict[str, ScoredReference],
        golden: dict[tuple[int, ...], Reading] | None = None,
        few_shot: FewShotRecalibrator | None = None,
    ) -> None:
        super().__init__(None, scores)
        self.language = language
        self.prompts = prompts
        self.prompt_calibrator = calibrator
        self.few_shot = few_shot
        self.golden = {} if golden is None else golden
        # With references of both forms; else the version was fitted on the last layer's alone.
        self.fast_scores = tuple(
            name
            for name, scored in scores.items()
            if isinstance(scored.score, GradientScore) and LAST_LAYER in scored.forms
        )

    @property
    def network(self) -> CausalLM:
        """By the name that the pipeline of images has it under."""
        return self.language

    @property
    def token_temperature(self) -> float | None:
        """Of the tokens of free answers; None where they are not calibrated in this precision."""
        return self.prompts.token_temperatures.get(self.language.precision)

    def answer(
        self,
        items: Sequence[Item],
        readout: Readout,
        tasks: Sequence[str | None] | None = None,
        scores: Collection[str] = (),
        top_k: int = 1,
        *,
        cheap: bool = False,
    ) -> PromptAnswers:
        """Predict, calibrate and score N items; only the named scores are computed.

        `cheap` takes the last-layer form of scores whose fast form costs backward passes. Raises DataError for an item
        that cannot be read so, and UnknownNameError for a score that is not there.
        """
        fast = not cheap and any(name in scores for name in self.fast_scores)
        reading = self.read(items, readout, tasks, gradients=fast)
        return self.answer_reading(reading, readout, scores, top_k, cheap=cheap)

    def read(
        self,
        items: Sequence[Item],
        readout: Readout,
        tasks: Sequence[str | None] | None = None,
        *,
        gradients: bool = False,
    ) -> Reading:
        """With the calibrator's step of the residual stream, where it was fitted for this readout and has one."""
        fits = readout is self.prompts.readout
        step = self.prompt_calibrator.step if fits and self.prompt_calibrator else None
        return read_items(self.language, items, readout, step, tasks, gradients=gradients and fits)

    @torch.inference_mode()
    def answer_reading(
        self,
        reading: Reading,
        readout: Readout,
        scores: Collection[str] = (),
        top_k: int = 1,
        *,
        cheap: bool = False,
    ) -> PromptAnswers:
        """As `answer`, from a reading that was made before."""
        fits = readout is self.prompts.readout
        if cheap or not self.fast_scores:
            reading = replace(reading, outputs=replace(reading.outputs, gradients=None))
        if fits and self.prompt_calibrator is not None:
            outputs = self.prompt_calibrator.transform(reading)
        else:
            outputs = reading.outputs.with_calibrated(reading.outputs.logits)
        answers = self.answer_calibrated(outputs, scores, top_k)
        if not fits:
            unknown = {name: (values, np.full_like(at, np.nan)) for name, (values, at) in answers.scores.items()}
            answers = replace(answers, scores=unknown)
        embeddings = outputs.require_features().cpu().numpy() if fits and self.few_shot is not None else None
        return PromptAnswers(answers, fits and self.prompt_calibrator is not None, embeddings)

    def golden_rows(self, seeds: tuple[int, ...]) -> list[GoldenRow]:
        """The answers for as many golden questions, every score among them."""
        readout = self.prompts.readout
        step = self.prompt_calibrator.step if self.prompt_calibrator else None
        if step is not None or seeds not in self.golden:
            items = [lettered_item(GOLDEN_QUESTIONS[seed - 1]) for seed in seeds]
            # With gradients in any case: a version that shares the network may have a score of them.
            reading = self.read(items, readout, gradients=True)
            if step is not None:  # of this version alone
                return golden_rows_of(self.answer_reading(reading, readout, self.scores).answers)
            self.golden[seeds] = reading
        return golden_rows_of(self.answer_reading(self.golden[seeds], readout, self.scores).answers)


def load_language_pipeline(
    store: CheckpointStore,
    version: Version,
    device: torch.device,
    *,
    precision: str = "auto",
    loaded: LanguagePipeline | None = None,
) -> LanguagePipeline:
    """Assemble a version and re-score its golden rows, on the network of `loaded` where that is given.

    Ask `same_language` first. Raises CheckpointError when anything differs from what was published.
    """
    chosen = choose_precision(device, version.manifest.precisions, precision)
    if loaded is None:
        folder = store.language_folder(version.manifest.backbone.sha256)
        pipeline = assemble_language(load_causal_lm(folder, device, chosen), version)
    elif loaded.language.precision == chosen:
        same = loaded.prompts.readout is _prompts(version.manifest).readout
        pipeline = assemble_language(loaded.language, version, loaded.golden if same else None)
    else:
        raise CheckpointError(
            f"the loaded network is in {loaded.language.precision}, the version is to be served in {chosen}"
        )
    version.golden.check(chosen, pipeline.golden_rows(version.golden.seeds))
    return pipeline


def same_language(one: Manifest, other: Manifest) -> bool:
    """Whether both versions are of the same network with the same tokenizer."""
    return one.prompts is not None and one.backbone.sha256 == other.backbone.sha256


def assemble_language(
    language: CausalLM, version: Version, golden: dict[tuple[int, ...], Reading] | None = None
) -> LanguagePipeline:
    """Put the stored methods of the network's precision on top of it."""
    manifest, prompts = version.manifest, _prompts(version.manifest)
    dimensions = language_dimensions(language)
    fitted = None
    if manifest.calibrator is not None:
        state = version.method_state(language.precision, "calibrator")
        fitted = prompt_calibrator(manifest.calibrator, dimensions, prompts).load_state(state)
    scores = {
        name: stored_score(version, name, language.precision, dimensions, language.device) for name in manifest.scores
    }
    state = version.method_state(language.precision, FEW_SHOT)
    few_shot = FewShotRecalibrator.load(state, language.width) if state else None
    pipeline = LanguagePipeline(language, prompts, fitted, scores, golden, few_shot)
    if pipeline.fast_scores and language.gradients is None:
        raise CheckpointError(
            f"the version was fitted on gradients of its last layers, which are not known here of"
            f" {language.network.config.model_type}: calibrate it again, or serve it by the release that made it"
        )
    return pipeline


def language_dimensions(language: CausalLM) -> Dimensions:
    """What calibrators and scores of its choices are sized by."""
    return Dimensions(classes=MOST_CHOICES, features=language.width)


def _prompts(manifest: Manifest) -> PromptSpec:
    if manifest.prompts is None:
        raise CheckpointError("this version is of a network for images, not of a language model")
    return manifest.prompts
