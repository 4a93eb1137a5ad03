"""A temperature for tokens, and how well confidence in them fits: a token at a time, by plain transformers."""

import math

import torch

from tests.oracles.language import common_beginning


def answer_logits(network, tokenizer, prompt, answer):
    """Of every token of the answer: the logits that it comes from (V,), and the token."""
    whole = tokenizer.encode(prompt + answer)
    return token_logits(network, whole, common_beginning(tokenizer.encode(prompt), whole))


def token_logits(network, whole, begin):
    """The same of the tokens from `begin` on."""
    with torch.inference_mode():
        logits = network(input_ids=torch.tensor([whole])).logits[0].double()
    return [(logits[place - 1], whole[place]) for place in range(begin, len(whole))]


def mean_loss(rows, temperature):
    return sum(-float((logits / temperature).log_softmax(dim=0)[token]) for logits, token in rows) / len(rows)


def best_temperature(rows, low=0.02, high=50.0):
    """By halving the interval of log T around the least of three losses."""
    low, high = math.log(low), math.log(high)
    for _ in range(60):
        third = (high - low) / 3
        if mean_loss(rows, math.exp(low + third)) < mean_loss(rows, math.exp(high - third)):
            high -= third
        else:
            low += third
    return math.exp((low + high) / 2)


def likeliest(rows, temperature):
    """Of every token: probability of the likeliest, and whether that came."""
    found = []
    for logits, token in rows:
        probabilities = (logits / temperature).softmax(dim=0)
        found.append((float(probabilities.max()), int(probabilities.argmax()) == token))
    return found
