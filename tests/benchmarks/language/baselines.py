"""Scores of other libraries for an answer of one token, after their definitions; higher is more uncertain in all.

With one token a sum, a mean and a minimum over the answer's tokens are the same, so several of their scores are one.
LM-Polygraph: github.com/IINemo/lm-polygraph, estimators. UQLM: github.com/cvs-health/uqlm, white_box.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from models.language.causal_lm import CausalLM
from models.language.choices import read_continuations
from models.language.continuations import ChoiceItem, Continuation
from models.language.layer_study_part import ReadPart
from tests.benchmarks.language.parts import kept

TOP = 15  # tokens that UQLM asks for
P_TRUE = (
    "Question: {question}\n Possible answer:{answer}\n Is the possible answer:\n (A) True\n (B) False\n"
    " The possible answer is:"
)


@dataclass(frozen=True, slots=True)
class NextToken:
    """Log-probabilities (N, V) over the whole vocabulary, and the token (N,) that is answered."""

    table: Tensor
    answers: Tensor


def next_token(part: ReadPart) -> NextToken:
    outputs, model = part.answers(), part.model
    with torch.inference_mode():
        table = model.unembedding(outputs.require_features().to(model.network.dtype)).float().log_softmax(dim=1)
    places = outputs.log_probabilities().argmax(dim=1).tolist()
    tokens = [tokens[place] for tokens, place in zip(part.asked.questions.tokens, places, strict=True)]
    return NextToken(table, torch.tensor(tokens))


def negative_log_likelihood(asked: NextToken) -> Tensor:
    return -asked.table.gather(1, asked.answers[:, None])[:, 0]


def token_entropy(asked: NextToken) -> Tensor:
    return -(asked.table.exp() * asked.table).sum(dim=1)


def self_certainty(asked: NextToken) -> Tensor:
    """-KL(uniform || p), over the vocabulary (arXiv 2502.18581)."""
    return asked.table.mean(dim=1) + math.log(asked.table.shape[1])


def top_negentropy(asked: NextToken) -> Tensor:
    """Less 1 - H / log K, H = -sum p log p over the K likeliest tokens (not brought to sum 1)."""
    top = asked.table.topk(TOP, dim=1).values
    return -(top.exp() * top).sum(dim=1) / math.log(TOP) - 1


def probability_margin(asked: NextToken) -> Tensor:
    first, second = asked.table.topk(2, dim=1).values.exp().unbind(dim=1)
    return second - first


BASELINES: dict[str, Callable[[NextToken], Tensor]] = {
    "LM-Polygraph MaximumSequenceProbability, Perplexity; UQLM sequence_probability": negative_log_likelihood,
    "LM-Polygraph MeanTokenEntropy": token_entropy,
    "LM-Polygraph SelfCertainty": self_certainty,
    "UQLM mean_token_negentropy": top_negentropy,
    "UQLM probability_margin": probability_margin,
}


def p_true(model: CausalLM, items: Sequence[ChoiceItem], answers: Sequence[str]) -> dict[str, Tensor]:
    """The model is asked whether its own answer is true (Kadavath et al. 2022, arXiv 2207.05221, section 3).

    LM-Polygraph reads the token "True" as it is; the other one reads " True" against " False".
    """
    read = kept(model, items, "p_true", lambda: _read_p_true(model, items, answers))
    return {
        "LM-Polygraph PTrue": -read[:, 0],
        'P(True), " True" against " False"': -read[:, 1:].log_softmax(dim=1)[:, 0],
    }


def _read_p_true(model: CausalLM, items: Sequence[ChoiceItem], answers: Sequence[str]) -> Tensor:
    ends = [model.encode_more(text)[0] for text in ("True", " True", " False")]
    prompts = [
        model.encode(P_TRUE.format(question=item.prompt, answer=answer))
        for item, answer in zip(items, answers, strict=True)
    ]
    asked = [Continuation((*prompt, end), len(prompt)) for prompt in prompts for end in ends]
    return read_continuations(model, asked).log_probabilities.view(len(items), len(ends))
