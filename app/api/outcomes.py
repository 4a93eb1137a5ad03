"""What the replies of all image routes say of an item: its uncertainty, its error, and how many there were of each."""

from collections.abc import Sequence

from app.api.schemas import FailedItem, Problem, ScoreUsage, UncertaintyValue
from app.errors import HowsureError, NoneScoredError
from app.scoring.intake import ImageInput
from app.scoring.predictor import Prediction, ScoreValue


def count_outcomes(images: Sequence[ImageInput], outcomes: Sequence[object]) -> ScoreUsage:
    """How many of the images have an answer. Raises the error, or one of all errors, where none has."""
    failed = [outcome for outcome in outcomes if isinstance(outcome, HowsureError)]
    if len(failed) == len(images):
        raise _only_failures(images, failed)
    return ScoreUsage(items=len(images), scored=len(images) - len(failed), failed=len(failed))


def failed_item(image: ImageInput, error: HowsureError) -> FailedItem:
    return FailedItem(input=image.name or "", error=Problem(**error.problem()))


def uncertainty(prediction: Prediction) -> dict[str, UncertaintyValue]:
    return {name: _uncertainty(score) for name, score in prediction.uncertainty.items()}


def digits(value: float) -> float:
    """Seven significant digits: what a float32 holds."""
    return float(f"{value:.7g}")


def _uncertainty(score: ScoreValue) -> UncertaintyValue:
    percentile = None if score.percentile is None else digits(score.percentile)
    known = {name: value for name in ("form", "note") if (value := getattr(score, name)) is not None}
    return UncertaintyValue(value=digits(score.value), percentile=percentile, kind=score.kind, **known)


def _only_failures(images: Sequence[ImageInput], failed: Sequence[HowsureError]) -> HowsureError:
    if len(failed) == 1:
        return failed[0]
    errors = [{"input": image.name, **error.problem()} for image, error in zip(images, failed, strict=True)]
    return NoneScoredError(f"none of the {len(failed)} images could be scored", failed, errors)
