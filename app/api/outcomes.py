"""What the replies of all scoring routes say of an item: its uncertainty, its error, how many there were of each."""

from collections.abc import Sequence
from typing import Protocol

from app.api.schemas import FailedItem, Problem, ScoreUsage, UncertaintyValue
from app.errors import HowsureError, NoneScoredError
from app.scoring.predictor import Prediction, ScoreValue


class Input(Protocol):
    """An image or a prompt, as it came."""

    @property
    def name(self) -> str | None: ...


def count_outcomes(inputs: Sequence[Input], outcomes: Sequence[object], what: str = "images") -> ScoreUsage:
    """How many of the inputs have an answer. Raises the error, or one of all errors, where none has."""
    failed = [outcome for outcome in outcomes if isinstance(outcome, HowsureError)]
    if len(failed) == len(inputs):
        raise _only_failures(inputs, failed, what)
    return ScoreUsage(items=len(inputs), scored=len(inputs) - len(failed), failed=len(failed))


def failed_item(given: Input, error: HowsureError) -> FailedItem:
    return FailedItem(input=given.name or "", error=Problem(**error.problem()))


def uncertainty(prediction: Prediction) -> dict[str, UncertaintyValue]:
    return {name: _uncertainty(score) for name, score in prediction.uncertainty.items()}


def digits(value: float) -> float:
    """Seven significant digits: what a float32 holds."""
    return float(f"{value:.7g}")


def _uncertainty(score: ScoreValue) -> UncertaintyValue:
    percentile = None if score.percentile is None else digits(score.percentile)
    known = {name: value for name in ("form", "note") if (value := getattr(score, name)) is not None}
    return UncertaintyValue(value=digits(score.value), percentile=percentile, kind=score.kind, **known)


def _only_failures(inputs: Sequence[Input], failed: Sequence[HowsureError], what: str) -> HowsureError:
    if len(failed) == 1:
        return failed[0]
    errors = [{"input": given.name, **error.problem()} for given, error in zip(inputs, failed, strict=True)]
    return NoneScoredError(f"none of the {len(failed)} {what} could be scored", failed, errors)
