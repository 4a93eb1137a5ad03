"""Keys and values of the sequences that step together, a row each."""

from typing import Any

import torch
from torch import Tensor


class RowCache:
    """Rows 0..B-1 are in use. Never holds more than `budget` tokens, used or not.

    Whoever adds rows keeps to that: rows times the longest that any of them may grow.
    """

    def __init__(self, network: Any, budget: int) -> None:
        # Here, since transformers takes long to import.
        from transformers.cache_utils import Cache

        from models.language.generation.row_layer import Places, RowLayer

        self._network = network
        self._budget = budget
        self._lengths: list[int] = []
        self._places = Places(torch.zeros(0), 0, even=True)
        self._layers: list[RowLayer] = [RowLayer(self._places) for _ in range(network.config.num_hidden_layers)]
        self._cache = Cache(layers=self._layers)
        self._rows = self._columns = 0

    def add(self, prompt: Any, copies: int, columns: int) -> None:
        """Rows that begin with the keys and values of one prompt, transformers' own cache of it; `columns` is the most
        tokens that any row may come to.
        """
        used, count = len(self._lengths), len(self._lengths) + copies
        length = prompt.get_seq_length()
        if count > self._rows or columns > self._columns:
            self._resize(count, columns, prompt)
        for layer, read in zip(self._layers, prompt.layers, strict=True):
            layer.keys[used:count, :, :length] = read.keys
            layer.values[used:count, :, :length] = read.values
        self._lengths += [length] * copies

    def remove(self, row: int) -> None:
        """The last row takes its place. Nothing stays of it, since a mask does not hide what is not finite."""
        last = len(self._lengths) - 1
        removed, length = self._lengths[row], self._lengths[last]
        for layer in self._layers:
            for stored in (layer.keys, layer.values):
                stored[row, :, :length] = stored[last, :, :length]
                stored[row, :, length:removed] = 0
                stored[last, :, :length] = 0
        self._lengths[row] = length
        self._lengths.pop()

    def step(self, tokens: list[int]) -> Tensor:
        """Final states (B, D) after one more token a row."""
        device = self._network.device
        places, lengths = self._places, torch.tensor(self._lengths, device=device)
        places.lengths, places.longest, places.even = lengths, max(self._lengths), len(set(self._lengths)) == 1
        states: Tensor = self._network.base_model(
            input_ids=torch.tensor(tokens, device=device)[:, None],
            position_ids=lengths[:, None],
            attention_mask=None if places.even else self._mask(lengths, places.longest),
            past_key_values=self._cache,
            use_cache=True,
        ).last_hidden_state[:, 0]
        self._lengths = [length + 1 for length in self._lengths]
        return states

    def _mask(self, lengths: Tensor, longest: int) -> Tensor:
        """(B, 1, 1, longest + 1), added to attention."""
        hidden = torch.arange(longest + 1, device=lengths.device) > lengths[:, None]
        added = torch.zeros(hidden.shape, dtype=self._network.dtype, device=lengths.device)
        return added.masked_fill_(hidden, -torch.inf)[:, None, None]

    def _resize(self, rows: int, columns: int, prompt: Any) -> None:
        rows = min(max(rows, self._rows * 3 // 2), self._budget // columns)
        for layer, read in zip(self._layers, prompt.layers, strict=True):
            layer.resize(rows, columns, read, len(self._lengths))
        self._rows, self._columns = rows, columns
