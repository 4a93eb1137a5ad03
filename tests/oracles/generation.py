"""Text generation the plain way: one sequence at a time by transformers alone, nucleus sampling in a loop."""

import math

import torch


def nucleus(logits, temperature, top_p):
    """Probability of each token: the likeliest ones until they have `top_p` together, renormalised."""
    weights = [math.exp((each - max(logits)) / temperature) for each in logits]
    left, kept = top_p * sum(weights), {}
    for token in sorted(range(len(weights)), key=lambda token: (-weights[token], token)):
        if kept and left <= 0:
            break
        kept[token] = weights[token]
        left -= weights[token]
    return [kept.get(token, 0.0) / sum(kept.values()) for token in range(len(weights))]


def greedy(network, tokens, ends, most):
    """Ids after the prompt, without the one that ends them, and transformers' transition scores of these."""
    prompt = torch.tensor([tokens])
    found = network.generate(
        prompt,
        attention_mask=torch.ones_like(prompt),
        do_sample=False,
        max_new_tokens=most,
        eos_token_id=sorted(ends),
        pad_token_id=min(ends),
        return_dict_in_generate=True,
        output_scores=True,
    )
    scores = network.compute_transition_scores(found.sequences, found.scores, normalize_logits=True)[0].tolist()
    ids = found.sequences[0, len(tokens) :].tolist()
    return [(token, score) for token, score in zip(ids, scores, strict=True) if token not in ends]
