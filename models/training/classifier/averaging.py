"""A moving average of a network's weights, which generalises better than the last ones."""

import torch
from torch import Tensor, nn

FIRST_STEPS = 10  # ours: below some multiple of this many steps the average is over fewer of them


class AveragedWeights:
    """Parameters and buffers averaged with weights decay^k over the last steps; counters are taken as they are."""

    def __init__(self, network: nn.Module, decay: float) -> None:
        self.decay = decay
        self.state = {name: tensor.detach().clone() for name, tensor in network.state_dict().items()}

    def load(self, state: dict[str, Tensor]) -> None:
        for name, tensor in self.state.items():
            tensor.copy_(state[name])

    @torch.no_grad()
    def update(self, network: nn.Module, step: int) -> None:
        """After step 1, 2, …: the decay grows from 2/11 up to its full size, so that the start is soon forgotten."""
        decay = min(self.decay, (1 + step) / (FIRST_STEPS + step))
        now = network.state_dict()
        floats = [name for name, tensor in self.state.items() if tensor.is_floating_point()]
        torch._foreach_lerp_([self.state[name] for name in floats], [now[name] for name in floats], 1 - decay)
        for name in self.state.keys() - set(floats):
            self.state[name].copy_(now[name])
