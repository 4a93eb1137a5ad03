"""The reply to a request about prompts, out of what became of each."""

import math
import uuid
from collections.abc import Sequence
from dataclasses import dataclass

from app.api.openai.added import consistency_of, finish_reason, uncertainty_of
from app.api.outcomes import count_outcomes, digits, failed_item, uncertainty
from app.api.prompt_schemas import (
    AnsweredPromptItem,
    AnswerToken,
    PromptSlice,
    PromptsResponse,
    PromptUsage,
    ScoredPromptItem,
)
from app.api.schemas import FailedItem, TopEntry
from app.errors import HowsureError
from app.scoring.prompt_answering import AnsweredPrompt
from app.scoring.prompt_intake import PromptInput
from app.scoring.prompt_predictor import PromptPredictor
from app.scoring.prompt_scorer import ScoredPrompt
from app.scoring.prompt_slice import ScoredSlice

Outcome = ScoredPrompt | AnsweredPrompt | HowsureError


@dataclass(frozen=True, slots=True)
class Outcomes:
    """What became of each prompt, and their `order` in the reply; `slice` where it was asked for."""

    each: Sequence[Outcome]
    order: Sequence[int]
    slice: ScoredSlice | None


def prompts_response(predictor: PromptPredictor, prompts: Sequence[PromptInput], found: Outcomes) -> PromptsResponse:
    """Raises the error, or one of all errors, where no prompt has an answer."""
    usage = count_outcomes(prompts, found.each, "prompts")
    done = [outcome for outcome in found.each if not isinstance(outcome, HowsureError)]
    readouts = {outcome.readout for outcome in done if isinstance(outcome, ScoredPrompt)}
    return PromptsResponse(
        object="list",
        model=predictor.model,
        version=predictor.version,
        readout=readouts.pop() if len(readouts) == 1 else None,
        data=[_item(predictor, prompts[row], found.each[row]) for row in found.order],
        usage=PromptUsage(**usage.model_dump(), tokens=sum(outcome.tokens for outcome in done)),
        **({} if found.slice is None else {"slice": _slice(found.slice)}),
    )


def _slice(found: ScoredSlice) -> PromptSlice:
    return PromptSlice(
        items=len(found.confidences),
        curve=[digits(chance) for chance in found.curve],
        mean_confidence=digits(found.mean_confidence),
    )


def _item(
    predictor: PromptPredictor, given: PromptInput, outcome: Outcome
) -> ScoredPromptItem | AnsweredPromptItem | FailedItem:
    if isinstance(outcome, HowsureError):
        return failed_item(given, outcome)
    return _scored(given, outcome) if isinstance(outcome, ScoredPrompt) else _answered(predictor, given, outcome)


def _scored(given: PromptInput, outcome: ScoredPrompt) -> ScoredPromptItem:
    prediction, chance = outcome.prediction, outcome.slice_confidence
    in_slice = {} if chance is None else {"slice_confidence": digits(chance)}
    return ScoredPromptItem(
        id=_new_id(),
        input=given.name,
        label=given.choices[prediction.class_index],
        class_index=prediction.class_index,
        confidence=digits(prediction.confidence),
        raw_confidence=digits(prediction.raw_confidence),
        top=[
            TopEntry(label=given.choices[index], class_index=index, probability=digits(probability))
            for index, probability in prediction.top
        ],
        uncertainty=uncertainty(prediction),
        readout=outcome.readout,
        calibrated=outcome.calibrated,
        **in_slice,
    )


def _answered(predictor: PromptPredictor, given: PromptInput, outcome: AnsweredPrompt) -> AnsweredPromptItem:
    answer, samples = outcome.answer, outcome.samples
    told = uncertainty_of(answer, predictor)
    compared = {"samples": [each.text for each in samples], "consistency": consistency_of(samples)} if samples else {}
    return AnsweredPromptItem(
        id=_new_id(),
        input=given.name,
        text=answer.text,
        finish=finish_reason(answer.finish),
        confidence=told.confidence,
        calibrated=told.calibrated,
        tokens=[
            AnswerToken(text=token.text, confidence=digits(min(1.0, math.exp(token.calibrated))))
            for token in answer.tokens
        ],
        uncertainty=told,
        **compared,
    )


def _new_id() -> str:
    return f"pred_{uuid.uuid4().hex}"
