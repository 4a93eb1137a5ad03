"""TensorFlow's "same" padding made static for one input size: the same sums without copying every input to pad it.

timm pads such a convolution at run time, often by one more pixel right and below than left and above. For a fixed input
size the amounts are known, and the uneven pixel moves into the kernel as a leading row and column of zeros.
"""

import copy
from collections.abc import Collection

import torch
from timm.layers import Conv2dSame
from torch import Tensor, nn
from torch.nn.functional import pad


@torch.no_grad()
def make_padding_static(network: nn.Module, images: Tensor, keep: Collection[str] = ()) -> nn.Module:
    """A copy for inputs of the size of `images` (N, 3, H, W) alone; other sizes would be padded wrongly.

    Modules named in `keep` keep their weights, and so their padding where that would change them.
    """
    static = copy.deepcopy(network).eval()
    names = [name for name, module in static.named_modules() if isinstance(module, Conv2dSame)]
    for name, size in _input_sizes(static, names, images).items():
        static.set_submodule(name, _static(static.get_submodule(name), size, fixed=name in keep))
    return static


def _input_sizes(network: nn.Module, names: Collection[str], images: Tensor) -> dict[str, tuple[int, int]]:
    sizes: dict[str, tuple[int, int]] = {}

    def note(name: str, inputs: tuple[Tensor, ...]) -> None:
        sizes.setdefault(name, (inputs[0].shape[-2], inputs[0].shape[-1]))

    hooks = [
        network.get_submodule(name).register_forward_pre_hook(lambda _, inputs, name=name: note(name, inputs))
        for name in names
    ]
    network(images)
    for hook in hooks:
        hook.remove()
    return sizes


def _static(convolution: nn.Module, size: tuple[int, int], fixed: bool) -> nn.Module:
    assert isinstance(convolution, nn.Conv2d)
    totals = [_total_padding(side, *axis) for side, *axis in zip(size, *_axes(convolution), strict=True)]
    uneven = [total % 2 for total in totals]
    # A zero row changes the weights, and would be spread apart with the rest of a dilated kernel.
    if any(uneven) and (fixed or convolution.dilation != (1, 1)):
        return convolution
    weight = pad(convolution.weight, (uneven[1], 0, uneven[0], 0))
    replacement = nn.Conv2d(
        convolution.in_channels,
        convolution.out_channels,
        (weight.shape[-2], weight.shape[-1]),
        stride=(convolution.stride[0], convolution.stride[1]),
        padding=(totals[0] // 2 + uneven[0], totals[1] // 2 + uneven[1]),
        dilation=(convolution.dilation[0], convolution.dilation[1]),
        groups=convolution.groups,
        bias=convolution.bias is not None,
        dtype=weight.dtype,
        device=weight.device,
    )
    replacement.load_state_dict(convolution.state_dict() | {"weight": weight})
    return replacement.eval()


def _axes(convolution: nn.Conv2d) -> tuple[tuple[int, ...], ...]:
    return convolution.kernel_size, convolution.stride, convolution.dilation


def _total_padding(side: int, kernel: int, stride: int, dilation: int) -> int:
    """Pixels to add so that the output has ceil(side / stride) pixels."""
    outputs = -(-side // stride)
    return max((outputs - 1) * stride + (kernel - 1) * dilation + 1 - side, 0)
