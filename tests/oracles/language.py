"""What a causal language model says of choices, a question and a choice at a time, by plain transformers."""

import torch


def common_beginning(one, other):
    count = 0
    while count < min(len(one), len(other)) and one[count] == other[count]:
        count += 1
    return count


def token_log_probabilities(network, tokens, begin):
    """log p of each token from `begin` on, given all that stand before it."""
    with torch.inference_mode():
        logits = network(input_ids=torch.tensor([tokens], device=network.device)).logits[0].float()
    table = logits.log_softmax(dim=-1)
    return [float(table[place - 1, tokens[place]]) for place in range(begin, len(tokens))]


def choice_log_probabilities(network, tokenizer, prompt, choices):
    """Per-token log-probabilities of every choice, a list a choice."""
    found = []
    for choice in choices:
        whole = tokenizer.encode(prompt + choice)
        begin = common_beginning(tokenizer.encode(prompt), whole)
        found.append(token_log_probabilities(network, whole, begin))
    return found


def hidden_states(network, tokens):
    """What every block adds up to after the last token, (L, D), by transformers' own record."""
    with torch.inference_mode():
        told = network(input_ids=torch.tensor([tokens]), output_hidden_states=True)
    # The last entry of the record is normed already; those before it are not, and the first is the embedding.
    return [state[0, -1] for state in told.hidden_states[1:-1]], told.hidden_states[-1][0, -1]
