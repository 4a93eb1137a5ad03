"""Optimisers to train a classifier by; adding one is one line."""

from collections.abc import Callable, Iterable

import torch
from torch import nn

Make = Callable[[Iterable[nn.Parameter], float, float, float], torch.optim.Optimizer]

# (parameters, rate, momentum, weight decay) → optimiser
OPTIMISERS: dict[str, Make] = {
    "sgd": lambda parameters, rate, momentum, decay: torch.optim.SGD(
        parameters, lr=rate, momentum=momentum, nesterov=momentum > 0, weight_decay=decay, fused=True
    ),
    "adam": lambda parameters, rate, _, decay: torch.optim.Adam(parameters, lr=rate, weight_decay=decay, fused=True),
    "adamw": lambda parameters, rate, _, decay: torch.optim.AdamW(parameters, lr=rate, weight_decay=decay, fused=True),
}
