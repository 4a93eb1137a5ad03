"""A running batch: sequences join while others are on their way, step together a token at a time, and leave.

What a sequence becomes does not depend on the others: in float32 log-probabilities differ by under 1e-4 and tokens are
the same. In bfloat16 both differ by rounding, as those of the network itself do between batch sizes.
"""

from collections import deque
from collections.abc import Sequence as Several
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from models.core.errors import DataError
from models.language.causal_lm import CausalLM
from models.language.generation.next_tokens import next_tokens
from models.language.generation.prefill import Prefill
from models.language.generation.row_cache import RowCache
from models.language.generation.sampling import Sampling
from models.language.generation.sequence import Grown, Sequence
from models.language.generation.token_bytes import token_bytes
from models.language.tree_forward import BUDGET


@dataclass(frozen=True, slots=True)
class Prompt:
    """Tokens to go on from, and `count` answers to them."""

    tokens: Several[int]
    sampling: Sampling
    count: int = 1

    @property
    def longest(self) -> int:
        """Tokens that one answer and the prompt may come to."""
        return len(self.tokens) + self.sampling.max_tokens


@dataclass(slots=True)
class _Joining:
    prompt: Prompt
    prefill: Prefill
    sequences: list[Sequence]


class Decoding:
    """For one thread. `budget` is how many tokens the caches of all running sequences may come to.

    Beside them one prompt that is being read has a cache of its own. `temperature` is that of calibrated tokens.
    """

    def __init__(self, model: CausalLM, budget: int, temperature: float | None = None) -> None:
        self._model = model
        self._budget = budget
        self._temperature = temperature
        self._content = token_bytes(model.tokenizer)
        self._ends = end_tokens(model)
        self._joining: deque[_Joining] = deque()
        self._rows = RowCache(model.network, budget)
        self._running: list[Sequence] = []  # in the order of the rows
        self._longest: dict[Sequence, int] = {}  # of all, also of those joining

    @property
    def sequences(self) -> int:
        """How many are running or joining."""
        return len(self._longest)

    def has_room(self, prompt: Prompt) -> bool:
        """Whether the budget lets it join now; a prompt from `fitted` joins an empty batch at least."""
        rows = len(self._longest) + prompt.count
        return rows * max([prompt.longest, *self._longest.values()]) <= self._budget

    def join(self, prompt: Prompt) -> list[Sequence]:
        """The sequences that the next steps go on with, one an answer."""
        if not self.has_room(prompt):
            raise ValueError("no room for this prompt: ask has_room first")
        sequences = [Sequence(prompt.sampling, number) for number in range(prompt.count)]
        self._joining.append(_Joining(prompt, Prefill(self._model.network, prompt.tokens), sequences))
        self._longest |= dict.fromkeys(sequences, prompt.longest)
        return sequences

    @torch.inference_mode()
    def leave(self, sequence: Sequence) -> None:
        """Ends a sequence, wherever it is; one that has ended already is let be."""
        if self._longest.pop(sequence, None) is None:
            return
        if sequence in self._running:
            row = self._running.index(sequence)
            self._rows.remove(row)
            self._running[row] = self._running[-1]
            self._running.pop()
            return
        for joining in self._joining:
            if sequence in joining.sequences:
                joining.sequences.remove(sequence)
        self._joining = deque(each for each in self._joining if each.sequences)

    @torch.inference_mode()
    def step(self) -> list[Grown]:
        """One more token of every running sequence, and the first one of those whose prompt has now been read.

        Reads a bounded part of the waiting prompts. Sequences that end leave by themselves.
        """
        states = [self._rows.step([each.last for each in self._running])] if self._running else []
        states += self._read_prompts()
        if not self._running:
            return []
        together = torch.cat(states)
        tokens = next_tokens(self._model.unembedding, together, self._running, self._content, self._temperature)
        grown = [
            sequence.broken() if token is None else sequence.grow(token, self._content, self._ends)
            for sequence, token in zip(list(self._running), tokens, strict=True)
        ]
        for each in grown:
            if each.finish is not None:
                self.leave(each.sequence)
        return grown

    def _read_prompts(self) -> list[Tensor]:
        """The state (1, D) that each sequence begins from whose prompt is read; at most BUDGET tokens are read."""
        states, left = [], BUDGET
        while left > 0 and self._joining:
            joining = self._joining[0]
            left -= joining.prefill.advance(left)
            if joining.prefill.state is not None:
                self._joining.popleft()
                states += [joining.prefill.state[None]] * len(joining.sequences)
                self._rows.add(joining.prefill.cache, len(joining.sequences), max(self._longest.values()))
                self._running += joining.sequences
        return states


def fitted(model: CausalLM, prompt: Prompt, budget: int) -> Prompt:
    """The prompt with `max_tokens` cut to what the context and the budget of cached tokens hold.

    Raises DataError for a prompt that is empty, that has tokens outside the vocabulary, or that leaves no room, and
    UnsupportedError for a model whose tokens are not bytes of text.
    """
    token_bytes(model.tokenizer)
    most, vocabulary = min(model.context, budget // prompt.count), model.vocabulary
    if not prompt.tokens:
        raise DataError("the prompt is empty; send at least one token of text")
    if len(prompt.tokens) >= most:
        reason = f"the model's context is {model.context} tokens"
        if most < model.context:
            reason = f"{prompt.count} answers have room for {most} tokens each, {reason}"
        raise DataError(f"the prompt has {len(prompt.tokens)} tokens, which leaves no room to answer: {reason}")
    if not all(0 <= token < vocabulary for token in prompt.tokens):
        raise DataError(f"the prompt has tokens outside 0..{vocabulary - 1}")
    room = min(prompt.sampling.max_tokens, most - len(prompt.tokens))
    return replace(prompt, sampling=replace(prompt.sampling, max_tokens=room))


def end_tokens(model: CausalLM) -> frozenset[int]:
    """What ends an answer: by the network's generation configuration, and by the tokenizer."""
    told = getattr(model.network.generation_config, "eos_token_id", None)
    ends = [*(told if isinstance(told, list) else [told]), model.tokenizer.eos_token_id]
    return frozenset(token for token in ends if token is not None)
