"""A prompt on its way through the network, some tokens at a time, so that others need not wait for all of it."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor


class Prefill:
    """`cache` gets the keys and values, `state` (D,) is the final state of the prompt's last token, once `done`."""

    def __init__(self, network: Any, tokens: Sequence[int]) -> None:
        from transformers import DynamicCache

        self._network = network
        self._tokens = tokens
        self._read = 0
        self.cache = DynamicCache(config=network.config)
        self.state: Tensor | None = None

    def advance(self, most: int) -> int:
        """Reads at most so many tokens, tells how many."""
        part = self._tokens[self._read : self._read + most]
        places = torch.arange(self._read, self._read + len(part), device=self._network.device)
        states = self._network.base_model(
            input_ids=torch.tensor(part, device=self._network.device)[None],
            position_ids=places[None],
            past_key_values=self.cache,
            use_cache=True,
        ).last_hidden_state[0]
        self._read += len(part)
        if self._read == len(self._tokens):
            self.state = states[-1]
        return len(part)
