"""Texts that are names of a registry of the model side: checked, and listed in the schema."""

from typing import Annotated

from pydantic import AfterValidator, WithJsonSchema

from app.jobs.language.methods import METHODS
from app.jobs.training.plan import NAMES as OF_TRAINING

NAMES = {**OF_TRAINING, "method": METHODS}


def _checked(kind: str) -> AfterValidator:
    def check(value: str) -> str:
        if value not in NAMES[kind]:
            raise ValueError(f"there is no {kind} {value!r}; there are: {', '.join(NAMES[kind])}")
        return value

    return AfterValidator(check)


def _listed(kind: str) -> WithJsonSchema:
    return WithJsonSchema({"type": "string", "enum": list(NAMES[kind])})


Kind = Annotated[str, _checked("kind"), _listed("kind")]
Calibrator = Annotated[str, _checked("calibrator"), _listed("calibrator")]
Method = Annotated[str, _checked("method"), _listed("method")]
Initial = Annotated[str, _checked("initial"), _listed("initial")]
Optimiser = Annotated[str, _checked("optimiser"), _listed("optimiser")]
Schedule = Annotated[str, _checked("schedule"), _listed("schedule")]
Loss = Annotated[str, _checked("loss"), _listed("loss")]
Precision = Annotated[str, _checked("precision"), _listed("precision")]
Scope = Annotated[str, _checked("scope"), _listed("scope")]
LearningRule = Annotated[str, _checked("learning_rule"), _listed("learning_rule")]
Distribution = Annotated[str, _checked("distribution"), _listed("distribution")]
