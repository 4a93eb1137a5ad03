"""How the prompts of a language model's version were read when it was calibrated. It travels with the checkpoint."""

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from enum import StrEnum
from typing import Any, Self


class Readout(StrEnum):
    """Where the probability of a choice is read."""

    NEXT_TOKEN = "next_token"  # of its one token, where the prompt ends
    TEXT = "text"  # summed over its tokens
    TEXT_LENGTH = "text_length"  # the sum divided by the number of tokens
    TEXT_UNCONDITIONAL = "text_unconditional"  # the sum less that of the choice after "Answer:" alone


@dataclass(frozen=True, slots=True)
class PromptSpec:
    """`readout` is the one that calibrator and references were fitted for: answers read otherwise are not calibrated,
    and have no percentile. `tasks` are those with a temperature of their own, in the order of its values.
    `token_temperatures` are those of the tokens of free answers, by precision; none where they are not calibrated.
    """

    readout: Readout
    tasks: tuple[str, ...] = ()
    token_temperatures: Mapping[str, float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        found = self.token_temperatures
        if not isinstance(found, Mapping) or not all(map(_is_temperature, found.values())):
            raise ValueError(f"token temperatures must be above 0, got {found}")

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_dict(cls, fields: dict[str, Any]) -> Self:
        """Raises ValueError, TypeError or KeyError for other fields than these."""
        return cls(**{**fields, "readout": Readout(fields["readout"]), "tasks": tuple(fields["tasks"])})


def _is_temperature(value: Any) -> bool:
    return type(value) in (int, float) and math.isfinite(value) and value > 0
