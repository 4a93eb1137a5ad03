"""REGrad on the last layer by automatic differentiation: one backward pass for every input and class."""

import torch


def expected_squared_gradient(weight, bias, features, mask=None):
    """sum_c p_c ||grad log p_c||^2 over `weight` (C, D) and `bias` (C,), for each row of `features` (N, D)."""
    scores = []
    for row, vector in enumerate(features):
        total = 0.0
        choices = [c for c in range(len(bias)) if mask is None or mask[row, c]]
        for choice in range(len(choices)):
            parameters = weight.clone().requires_grad_(), bias.clone().requires_grad_()
            logits = parameters[0] @ vector + parameters[1]
            log_probability = torch.log_softmax(logits[choices], dim=0)[choice]
            gradients = torch.autograd.grad(log_probability, parameters)
            norm = sum(float(gradient.square().sum()) for gradient in gradients)
            total += float(log_probability.detach().exp()) * norm
        scores.append(total)
    return scores
