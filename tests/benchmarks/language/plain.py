"""Lettered choices by transformers alone, in the two usual ways."""

from collections.abc import Sequence

import torch
from torch import Tensor

from models.language.causal_lm import CausalLM
from models.language.continuations import ChoiceItem

BATCH = 8


def loop_over_choices(model: CausalLM, items: Sequence[ChoiceItem]) -> Tensor:
    """A pass a choice: prompt and choice through the network, the log-probability of the last token."""
    found = []
    for item in items:
        for choice in item.choices:
            tokens = model.encode(item.prompt + choice)
            with torch.inference_mode():
                logits = model.network(input_ids=torch.tensor([tokens])).logits[0]
            found.append(logits[-2].float().log_softmax(dim=0)[tokens[-1]])
    return torch.stack(found).view(len(items), -1)


def batch_of_choices(model: CausalLM, items: Sequence[ChoiceItem]) -> Tensor:
    """A row a choice, padded, neighbours in length together: what holds for choices of any length."""
    texts = [model.encode(item.prompt + choice) for item in items for choice in item.choices]
    found = torch.empty(len(texts))
    for rows, logits in _batches(model, texts, keep=0):
        for row, table in zip(rows, logits, strict=True):
            tokens = texts[row]
            found[row] = table[len(tokens) - 2].float().log_softmax(dim=0)[tokens[-1]]
    return found.view(len(items), -1)


def batch_of_questions(model: CausalLM, items: Sequence[ChoiceItem]) -> Tensor:
    """A row a question, padded on the left, logits of its last token only: the best for single letters."""
    texts = [model.encode(item.prompt) for item in items]
    found = torch.empty(len(texts), len(items[0].choices))
    for rows, logits in _batches(model, texts, keep=1):
        for row, table in zip(rows, logits, strict=True):
            letters = [model.encode(items[row].prompt + choice)[-1] for choice in items[row].choices]
            found[row] = table[-1].float().log_softmax(dim=0)[letters]
    return found


def _batches(model: CausalLM, texts: Sequence[list[int]], keep: int):
    """Row numbers and logits of each batch; with `keep` rows end together, without they begin together."""
    order = sorted(range(len(texts)), key=lambda row: len(texts[row]))
    for start in range(0, len(order), BATCH):
        rows = order[start : start + BATCH]
        longest = max(len(texts[row]) for row in rows)
        tokens, seen = torch.zeros(2, len(rows), longest, dtype=torch.int64)
        for place, row in enumerate(rows):
            where = slice(longest - len(texts[row]), None) if keep else slice(0, len(texts[row]))
            tokens[place, where], seen[place, where] = torch.tensor(texts[row]), 1
        positions = (seen.cumsum(dim=1) - 1).clamp(min=0)
        with torch.inference_mode():
            logits = model.network(
                input_ids=tokens, attention_mask=seen, position_ids=positions, logits_to_keep=keep, use_cache=False
            ).logits
        yield rows, logits
