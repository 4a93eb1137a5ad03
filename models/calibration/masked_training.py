"""Training under stochastic weight masks (MaC-Cal, arXiv 2508.09116, stage II), on features that are in memory.

The authors released no code. The summaries of the paper give the masks and what moves the retention probability q; the
constants are ours, but for gamma, which a replication of it used.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Literal, get_args

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy, linear

from models.core.method import Dimensions, State

Reading = Literal["additive", "multiplicative", "discounted"]
Gap = Literal["heldout", "train"]
MASKED = ("inner", "outer")  # both weight matrices, no biases
FEWEST_STEPS = 8  # in an epoch


@dataclass(frozen=True, slots=True)
class MacCalOptions:
    """How q follows the gap between mean confidence and accuracy after each epoch, and how the bottleneck is trained.

    `reading` is what gamma does: "additive" q - gamma * gap; "multiplicative" gamma * q where the gap is above 0,
    q / gamma otherwise; "discounted" q - (confidence - gamma * accuracy). q stays in [`lowest_q`, 1]. `width` None:
    see `width_for`. `rescale` divides retained weights by q, so that logits without masks have the scale of those in
    training. `gap` "train" is the paper's; it vanishes on rows that are learnt by heart.

    Ours: 60 epochs of Adam at 0.002 in batches of at most `batch` rows, at least 8 an epoch, since q, which rises at
    first while the new layers are not confident enough, takes some 40 epochs to settle, and 20 epochs at the authors'
    usual 0.0001 leave a few hundred rows hardly learnt.
    """

    reading: Reading = "additive"
    gamma: float = 0.7
    first_q: float = 0.9
    lowest_q: float = 0.1
    width: int | None = None
    rescale: bool = True
    gap: Gap = "heldout"
    epochs: int = 60
    rate: float = 2e-3
    batch: int = 128
    seed: int = 2508

    def __post_init__(self) -> None:
        for name, choices in (("reading", get_args(Reading)), ("gap", get_args(Gap))):
            if getattr(self, name) not in choices:
                raise ValueError(f"{name} is one of {', '.join(choices)}, got {getattr(self, name)!r}")
        if not 0 < self.gamma <= 1:
            raise ValueError(f"gamma must lie above 0 and not above 1, got {self.gamma}")
        if not 0 < self.lowest_q <= self.first_q <= 1:
            raise ValueError(f"0 < lowest_q <= first_q <= 1 must hold, got {self.lowest_q} and {self.first_q}")
        if min(self.epochs, self.batch, 1 if self.width is None else self.width) < 1:
            raise ValueError("epochs, batch and width must be at least 1")
        if not 0 < self.rate <= 0.1:
            raise ValueError(f"rate must lie above 0 and not above 0.1, got {self.rate}")


@dataclass(frozen=True, slots=True)
class LabelledFeatures:
    """`features` (N, D) float32, `labels` (N,) int64."""

    features: Tensor
    labels: Tensor

    def __len__(self) -> int:
        return len(self.labels)


@dataclass(frozen=True, slots=True)
class Epoch:
    """Measured without masks after an epoch whose masks retained weights with probability `q`."""

    q: float
    confidence: float  # mean, of the rows that give the gap
    accuracy: float
    gap: float  # what moves q: confidence - accuracy, with "discounted" confidence - gamma * accuracy
    held_out_nll: float


@dataclass(frozen=True, slots=True)
class Trained:
    """The weights after the epoch of least held-out NLL, `best` its place in `epochs`."""

    weights: State
    epochs: tuple[Epoch, ...]
    best: int

    def record(self) -> dict[str, Any]:
        return {"epochs": [asdict(epoch) for epoch in self.epochs], "kept": self.best}


def width_for(sizes: Dimensions) -> int:
    """Units between the two layers: a quarter of the features, or twice the classes if more, but within the features.

    Ours; where the features are fewer than twice the classes it is the quarter.
    """
    quarter = max(1, sizes.features // 4)
    return max(quarter, 2 * sizes.classes) if 2 * sizes.classes <= sizes.features else quarter


def layer_shapes(sizes: Dimensions, width: int) -> dict[str, tuple[int, ...]]:
    return {
        "inner": (width, sizes.features),
        "inner_offset": (width,),
        "outer": (sizes.classes, width),
        "outer_offset": (sizes.classes,),
    }


def bottleneck_logits(weights: Mapping[str, Tensor], features: Tensor) -> Tensor:
    """(N, C) for features (N, D): two dense layers with ReLU between."""
    inner = linear(features, weights["inner"], weights["inner_offset"]).relu()
    return linear(inner, weights["outer"], weights["outer_offset"])


def draw_masks(weights: Mapping[str, Tensor], q: float, generator: torch.Generator) -> State:
    """A bool mask (True: retained, with probability q) for each weight matrix: one for all rows of a batch."""
    return {name: _drawn(weights[name].shape, q, generator).to(weights[name].device) for name in MASKED}


def masked_step(optimiser: torch.optim.Optimizer, weights: Mapping[str, Tensor], masks: Mapping[str, Tensor]) -> None:
    """The optimiser's step, of which masked weights keep nothing.

    A mask in the forward pass makes their gradient zero, but momentum, moments and weight decay would move them still.
    """
    before = {name: weights[name].detach().clone() for name in masks}
    optimiser.step()
    with torch.no_grad():
        for name, mask in masks.items():
            weights[name].copy_(torch.where(mask, weights[name], before[name]))


def next_q(q: float, gap: float, options: MacCalOptions) -> float:
    """Sparser where the network is too confident, denser where it is not confident enough."""
    if options.reading == "multiplicative":
        moved = options.gamma * q if gap > 0 else q / options.gamma
    else:
        moved = q - (options.gamma if options.reading == "additive" else 1) * gap
    return min(1.0, max(options.lowest_q, moved))


def train(fitting: LabelledFeatures, held_out: LabelledFeatures, sizes: Dimensions, options: MacCalOptions) -> Trained:
    """Train a new bottleneck on `fitting`; `held_out` says which epoch's weights stay, and gives the gap where the
    options say so.

    Draws from a generator of its own: equal rows and options give equal weights on one machine.
    """
    generator = torch.Generator().manual_seed(options.seed)
    weights = _initial(sizes, options, fitting.features.device, generator)
    optimiser = torch.optim.Adam(weights.values(), lr=options.rate, fused=True)
    gap_rows = fitting if options.gap == "train" else held_out
    epochs: list[Epoch] = []
    kept, best, q = _copied(weights), 0, options.first_q
    for _ in range(options.epochs):
        _pass_over(fitting, weights, optimiser, q, options, generator)
        epochs.append(_measured(weights, gap_rows, held_out, q, options))
        if epochs[-1].held_out_nll <= epochs[best].held_out_nll:
            kept, best = _copied(weights), len(epochs) - 1
        q = next_q(q, epochs[-1].gap, options)
    return Trained(kept, tuple(epochs), best)


def _pass_over(
    rows: LabelledFeatures,
    weights: State,
    optimiser: torch.optim.Optimizer,
    q: float,
    options: MacCalOptions,
    generator: torch.Generator,
) -> None:
    size = max(1, min(options.batch, len(rows) // FEWEST_STEPS))
    scale = 1 / q if options.rescale else 1.0
    for batch in torch.split(torch.randperm(len(rows), generator=generator), size):
        masks = draw_masks(weights, q, generator)
        optimiser.zero_grad()
        logits = bottleneck_logits(_retained(weights, masks, scale), rows.features[batch])
        cross_entropy(logits, rows.labels[batch]).backward()  # type: ignore[no-untyped-call]
        masked_step(optimiser, weights, masks)


def _copied(weights: State) -> State:
    return {name: value.detach().clone() for name, value in weights.items()}


def _initial(sizes: Dimensions, options: MacCalOptions, device: torch.device, generator: torch.Generator) -> State:
    """Uniform within ±1 / sqrt(inputs of the layer), as torch's Linear has it."""
    shapes = layer_shapes(sizes, options.width or width_for(sizes))
    state: State = {}
    for name, shape in shapes.items():
        inputs = shapes[name.removesuffix("_offset")][1]
        drawn = (2 * torch.rand(shape, generator=generator) - 1) / inputs**0.5
        state[name] = drawn.to(device).requires_grad_()
    return state


def _drawn(shape: torch.Size, q: float, generator: torch.Generator) -> Tensor:
    # 16 random bits a weight: four times as fast as a float32 each, and q to 1 / 65536.
    words = torch.empty(-(-shape.numel() // 4), dtype=torch.int64).random_(-(2**63), None, generator=generator)
    return words.view(torch.int16)[: shape.numel()].view(shape) <= round(q * 2**16) - 2**15 - 1


def _retained(weights: Mapping[str, Tensor], masks: Mapping[str, Tensor], scale: float) -> State:
    return {**weights, **{name: weights[name] * (mask * scale) for name, mask in masks.items()}}


@torch.no_grad()
def _measured(
    weights: State, gap_rows: LabelledFeatures, held_out: LabelledFeatures, q: float, options: MacCalOptions
) -> Epoch:
    judged = bottleneck_logits(weights, gap_rows.features)
    top = judged.softmax(dim=1).max(dim=1)
    confidence, accuracy = float(top.values.mean()), float((top.indices == gap_rows.labels).double().mean())
    target = options.gamma * accuracy if options.reading == "discounted" else accuracy
    loss = cross_entropy(bottleneck_logits(weights, held_out.features), held_out.labels)
    return Epoch(q, confidence, accuracy, confidence - target, float(loss))
