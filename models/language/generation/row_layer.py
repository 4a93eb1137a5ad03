"""One layer's keys and values of several sequences, in the form that transformers' networks write and read them."""

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from transformers.cache_utils import DynamicLayer


@dataclass(slots=True)
class Places:
    """How many tokens of each row (B,) the layers hold; `longest` is the greatest, `even` whether all are equal."""

    lengths: Tensor
    longest: int
    even: bool


class RowLayer(DynamicLayer):  # type: ignore[misc]  # transformers has no types
    """Keys and values (R, heads, C, width); each row from its first column on, so that a token is added in place."""

    def __init__(self, places: Places) -> None:
        super().__init__()
        self.places = places
        self.is_initialized = True

    def update(self, key_states: Tensor, value_states: Tensor, *_: Any, **__: Any) -> tuple[Tensor, Tensor]:
        """Adds one token a row (B, heads, 1, width); what rows have beyond their length is for a mask to hide."""
        places = self.places
        for stored, new in ((self.keys, key_states), (self.values, value_states)):
            if places.even:
                stored[: len(new), :, places.longest] = new[:, :, 0]
            else:
                stored[torch.arange(len(new), device=new.device), :, places.lengths] = new[:, :, 0]
        end = places.longest + 1
        return self.keys[: len(key_states), :, :end], self.values[: len(key_states), :, :end]

    def get_seq_length(self) -> int:
        return self.places.longest

    def resize(self, rows: int, columns: int, like: Any, used: int) -> None:
        """Room for so many rows and columns; `like` is a layer of the same network, `used` rows are kept."""
        # Zeros: what a mask hides must still be finite. The system gives the memory when it is first written.
        for name in ("keys", "values"):
            before, model = getattr(self, name), getattr(like, name)
            made = model.new_zeros(rows, model.shape[1], columns, model.shape[3])
            if used:
                width = min(columns, before.shape[2])
                made[:used, :, :width] = before[:used, :, :width]
            setattr(self, name, made)
