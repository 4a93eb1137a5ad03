"""What replies have in common, and what is added to OpenAI's: uncertainty of an answer, consistency of several."""

from collections.abc import Sequence
from dataclasses import asdict
from typing import Literal

from pydantic import BaseModel, Field

from app.api.outcomes import digits
from app.scoring.prompt_predictor import PromptPredictor
from models.language.consistency import canonical, consistency
from models.language.generation.answers import Answer
from models.language.generation.token import Finish
from models.language.generation.uncertainty import answer_uncertainty

FinishReason = Literal["stop", "length"]
LOWEST = -9999.0  # OpenAI's least log-probability; JSON has no infinity


class Uncertainty(BaseModel):
    """How sure the model was of an answer, before temperature and top_p.

    Over the tokens of the answer, without the one that ends it; null where it has none. Log-probabilities and entropy
    are the model's own, the two confidences calibrated where the version has a temperature for tokens.
    """

    log_probability: float = Field(description="Of the answer, in nats: the sum over its tokens")
    mean_log_probability: float | None = Field(description="A token")
    confidence: float | None = Field(description="Geometric mean of the tokens' probabilities")
    mean_entropy: float | None = Field(description="Of the distributions that the tokens came from, in nats")
    lowest_confidence: float | None = Field(description="Probability of the least probable token")
    calibrated: bool = Field(description="false: the version has no temperature for tokens, the confidences are raw")


class ConsistencyOfAnswers(BaseModel):
    """How far several answers agree (arXiv 2402.13904), but for case, space and a full stop; 1 is surest."""

    agreement: float = Field(description="Share of the most frequent answer")
    entropy_consistency: float = Field(description="1 less the normalised entropy of the answers' frequencies")
    first_second_distance: float = Field(description="Share of the most frequent answer less that of the second")
    distinct: int = Field(description="Different answers")


class Reply(BaseModel):
    """What every reply and every chunk of one begins with; `version` is added to OpenAI's."""

    id: str
    created: int
    model: str
    version: int
    system_fingerprint: str


class Usage(BaseModel):
    """Tokens of the prompts, each counted once, and of the answers, without those that end them."""

    prompt_tokens: int
    completion_tokens: int
    total_tokens: int


def uncertainty_of(answer: Answer, predictor: PromptPredictor) -> Uncertainty:
    """`predictor` is of the version that answered."""
    found = asdict(answer_uncertainty(answer.tokens))
    told = {name: None if value is None else logprob(value) for name, value in found.items()}
    return Uncertainty(**told, calibrated=predictor.pipeline.token_temperature is not None)


def consistency_of(answers: Sequence[Answer]) -> ConsistencyOfAnswers | None:
    """None for a single answer, which has none."""
    if len(answers) == 1:
        return None
    return ConsistencyOfAnswers(**asdict(consistency([canonical(answer.text) for answer in answers])))


def usage_of(prompt_tokens: int, answers: Sequence[Answer]) -> Usage:
    completion_tokens = sum(len(answer.tokens) for answer in answers)
    return Usage(
        prompt_tokens=prompt_tokens,
        completion_tokens=completion_tokens,
        total_tokens=prompt_tokens + completion_tokens,
    )


def logprob(value: float) -> float:
    return digits(max(value, LOWEST))


def finish_reason(finish: Finish | None) -> FinishReason:
    """Of a whole answer."""
    return "stop" if finish is Finish.STOP else "length"
