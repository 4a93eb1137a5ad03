"""Two-dimensional convolutions: grouped, depthwise, strided, dilated, padded in any way."""

import math
from collections.abc import Callable

from torch import Tensor, nn
from torch.nn import functional

from models.gradients.kept import Kept
from models.gradients.layer_kind import Batch, LayerKind, Terms
from models.gradients.terms import Direct, Inputs, Outer


class ConvolutionKind(LayerKind):
    """A convolution is a linear layer on the patches it reads; a depthwise one has one channel a group."""

    handles = ("torch.nn.modules.conv.Conv2d", "timm.layers.conv2d_same.Conv2dSame")
    carrier = True

    def held(self, module: nn.Module, inputs: Tensor) -> int:
        assert isinstance(module, nn.Conv2d)
        copies = 1 if _is_depthwise(module) else math.prod(module.kernel_size) / math.prod(module.stride)
        copied = module.kernel_size != (1, 1) or module.stride != (1, 1)
        return int(inputs.nbytes * copies) if copied else 0

    def read(self, module: nn.Module, inputs: Tensor, batch: Batch) -> Callable[[Tensor], Terms]:
        assert isinstance(module, nn.Conv2d)
        padded = _padded(module, inputs)
        weights = _depthwise(module, padded) if _is_depthwise(module) else _grouped(module, padded, batch)

        def terms(grads: Tensor) -> Terms:
            weight = weights(grads)
            found: dict[str, Direct | Outer] = {
                "weight": Direct(batch.total(weight)) if isinstance(weight, Tensor) else weight
            }
            if module.bias is not None:
                found["bias"] = Direct(batch.total(grads.sum(dim=(2, 3))))
            return found

        return terms


def _is_depthwise(module: nn.Conv2d) -> bool:
    return module.groups == module.in_channels == module.out_channels and module.groups > 1


def _padded(module: nn.Conv2d, inputs: Tensor) -> Tensor:
    if type(module).__name__ == "Conv2dSame":
        from timm.layers.padding import pad_same

        padded: Tensor = pad_same(inputs, module.kernel_size, module.stride, module.dilation)
        return padded
    sides = module._reversed_padding_repeated_twice  # what torch itself pads by, for "same" as well
    if not any(sides):
        return inputs
    mode = "constant" if module.padding_mode == "zeros" else module.padding_mode
    return functional.pad(inputs, sides, mode=mode)


def _grouped(module: nn.Conv2d, padded: Tensor, batch: Batch) -> Callable[[Tensor], Outer]:
    groups = module.groups
    read = Inputs(batch.positions(_patches(module, padded)))

    def outer(grads: Tensor) -> Outer:
        rows, width = grads.shape[:2]
        outputs = grads.permute(0, 2, 3, 1).reshape(rows, -1, groups, width // groups).transpose(1, 2)
        return Outer(batch.positions(outputs), read)

    return outer


def _patches(module: nn.Conv2d, padded: Tensor) -> Tensor:
    """(rows, G, T, I): what each output position reads, in the order of the weight's elements."""
    rows, channels = padded.shape[:2]
    groups = module.groups
    if module.kernel_size == (1, 1):
        thinned = padded[:, :, :: module.stride[0], :: module.stride[1]]
        patches = thinned.permute(0, 2, 3, 1).reshape(rows, -1, groups, channels // groups)
        return patches.transpose(1, 2)
    windows = _windows(module, padded)
    return windows.reshape(rows, groups, -1, math.prod(windows.shape[-2:])).mT


def _windows(module: nn.Conv2d, padded: Tensor) -> Tensor:
    """(rows, C, k, k, H, W), a view: several times faster to copy than functional.unfold."""
    rows, channels, high, wide = padded.shape
    shape = [
        (side - dilation * (kernel - 1) - 1) // stride + 1
        for side, kernel, dilation, stride in zip(
            (high, wide), module.kernel_size, module.dilation, module.stride, strict=True
        )
    ]
    row, channel, down, right = padded.stride()
    dilations = (down * module.dilation[0], right * module.dilation[1])
    strides = (down * module.stride[0], right * module.stride[1])
    return padded.as_strided(
        (rows, channels, *module.kernel_size, *shape), (row, channel, *dilations, *strides), padded.storage_offset()
    )


def _depthwise(module: nn.Conv2d, padded: Tensor) -> Callable[[Tensor], Tensor]:
    """The gradient of one kernel is the input of its channel, convolved with the gradient of its output.

    Strides and dilations change places. One convolution with a group for each row and channel does them all.
    """
    kept = Kept(padded)

    def weights(grads: Tensor) -> Tensor:
        inputs = kept.values
        rows, channels, high, wide = grads.shape
        filters = grads.reshape(rows * channels, 1, high, wide)
        read = inputs.reshape(1, rows * channels, *inputs.shape[2:])
        down, right = module.kernel_size
        found = functional.conv2d(read, filters, stride=module.dilation, dilation=module.stride, groups=rows * channels)
        # Where a stride leaves inputs over at the far end, the result is a little too large.
        return found[:, :, :down, :right].reshape(rows, channels, down * right)

    return weights
