"""Calibrating a slice of prompts by a few of them without labels (Li et al. 2024, arXiv 2403.18286), in a small form.

A network reads how sure the model is of some items of the slice, and where they lie on average, and gives the slice's
calibration curve. It learns from synthetic slices, mixtures of domains with known answers. Ours, where the paper's text
could not be had: the curve's form, the network, the loss (the NLL of being right on other items of the same slice).
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Self

import torch
from torch import Tensor, nn
from torch.nn.functional import linear, one_hot, relu, softplus

from models.core.errors import CheckpointError, DataError

POINTS = 10
LEAST_SPREAD = 1e-4  # of that along the first direction; along others rows are alike, but for rounding
FEW_SHOT = "few_shot"  # among a version's tensors, and the part of its report


@dataclass(frozen=True, slots=True)
class DomainRows:
    """N items: `confidences` (N,) in [0, 1], `embeddings` (N, D), whether each answer is `correct` (N,) bool, and the
    number of each one's domain (N,) int64."""

    confidences: Tensor
    embeddings: Tensor
    correct: Tensor
    domains: Tensor


@dataclass(frozen=True, slots=True)
class FewShotPlan:
    """All ours. A slice mixes up to `most_domains` with random weights; `shown` of its items are read without labels,
    up to `asked` others are predicted. `directions` principal components of the embeddings are read."""

    shown: int = 6
    asked: int = 16
    most_domains: int = 3
    slices: int = 32
    steps: int = 300
    directions: int = 8
    width: int = 16
    rate: float = 3e-3
    weight_decay: float = 0.1
    seed: int = 0


class FewShotRecalibrator:
    """`state` has the embeddings' `mean` (D,) and `components` (D, directions), two layers' weights and biases, and how
    many items are `shown` of a slice."""

    def __init__(self, state: Mapping[str, Tensor]) -> None:
        self.state = dict(state)

    @classmethod
    def fit(cls, rows: DomainRows, plan: FewShotPlan) -> Self:
        """Raises DataError for fewer than two domains, or one with too few items to show some and predict others."""
        _check(rows, plan)
        generator = torch.Generator().manual_seed(plan.seed)
        principal = _principal(rows.embeddings, plan.directions)
        inputs = POINTS + principal["components"].shape[1]
        layers = {name: nn.Parameter(value) for name, value in _initial(plan, inputs, rows, generator).items()}
        optimiser = torch.optim.AdamW(layers.values(), lr=plan.rate, weight_decay=plan.weight_decay)
        for _ in range(plan.steps):
            shown, asked, there = _drawn(rows.domains, plan, generator)
            curves = _curves({**principal, **layers}, rows.confidences[shown], rows.embeddings[shown])
            chances = read_curves(curves, rows.confidences[asked])
            loss = nn.functional.binary_cross_entropy(chances[there], rows.correct[asked][there].float())
            optimiser.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            optimiser.step()
        fitted = principal | {name: layer.detach() for name, layer in layers.items()}
        return cls({**fitted, "shown": torch.tensor(plan.shown)})

    @classmethod
    def load(cls, state: Mapping[str, Tensor], width: int) -> Self:
        """Raises CheckpointError for other tensors than `fit` gives of embeddings (N, `width`)."""
        hidden = len(state.get("bias.0", ()))
        directions = state["components"].shape[-1] if "components" in state else 0
        _check_state(state, _shapes(width, directions, hidden))
        return cls(state)

    @property
    def shown(self) -> int:
        """The fewest items that a slice's curve is to be read from: it learnt from as many."""
        return int(self.state["shown"])

    def curve(self, confidences: Tensor, embeddings: Tensor) -> Tensor:
        """(10,), never falling: the chance of being right at confidences 0, 1/9, ..., 1, from k items (k,), (k, D)."""
        return _curves(self.state, confidences[None], embeddings[None])[0]


def read_curves(curves: Tensor, confidences: Tensor) -> Tensor:
    """Curves (..., 10) at confidences (..., N) in [0, 1], with straight lines between the points."""
    places = confidences.clamp(0, 1) * (POINTS - 1)  # rounding may take a probability over 1
    left = places.floor().clamp(0, POINTS - 2).long()
    low, high = curves.gather(-1, left), curves.gather(-1, left + 1)
    return low + (places - left) * (high - low)


def _curves(state: Mapping[str, Tensor], confidences: Tensor, embeddings: Tensor) -> Tensor:
    """(S, 10) for S slices of k items: confidences (S, k), embeddings (S, k, D)."""
    bins = (confidences * POINTS).long().clamp(max=POINTS - 1)
    histogram = one_hot(bins, POINTS).float().mean(dim=1)
    place = (embeddings.mean(dim=1) - state["mean"]) @ state["components"]
    hidden = relu(linear(torch.cat([histogram, place], dim=1), state["weight.0"], state["bias.0"]))
    first, *rises = linear(hidden, state["weight.1"], state["bias.1"]).unbind(dim=1)
    log_odds = torch.stack([first, *(softplus(rise) for rise in rises)], dim=1).cumsum(dim=1)
    return log_odds.sigmoid()


def _initial(plan: FewShotPlan, inputs: int, rows: DomainRows, generator: torch.Generator) -> dict[str, Tensor]:
    """Uniform within ±1 / sqrt(inputs); the first curve is nearly flat, at the accuracy of all rows."""

    def drawn(made: int, given: int) -> Tensor:
        values: Tensor = (2 * torch.rand(made, given, generator=generator) - 1) / given**0.5
        return values

    bias = torch.full((POINTS,), -2.0)  # softplus(-2) is a small rise
    bias[0] = torch.logit(rows.correct.float().mean(), eps=1e-3)
    return {
        "weight.0": drawn(plan.width, inputs),
        "bias.0": torch.zeros(plan.width),
        "weight.1": 0.1 * drawn(POINTS, plan.width),
        "bias.1": bias,
    }


def _principal(embeddings: Tensor, directions: int) -> dict[str, Tensor]:
    """Components (D, at most `directions`) scaled so that rows have variance 1 along each that they differ along."""
    mean = embeddings.mean(dim=0)
    _, sizes, vectors = torch.linalg.svd(embeddings - mean, full_matrices=False)
    sizes = sizes[:directions]
    scale = torch.where(sizes > LEAST_SPREAD * sizes[0], len(embeddings) ** 0.5 / sizes, 0)
    return {"mean": mean, "components": vectors[:directions].T * scale}


def _drawn(domains: Tensor, plan: FewShotPlan, generator: torch.Generator) -> tuple[Tensor, Tensor, Tensor]:
    """Row numbers of the items shown (S, k) and asked (S, q), never the same ones, and which of the asked are there."""
    names, places, counts = torch.unique(domains, return_inverse=True, return_counts=True)
    mixed = torch.randint(1, plan.most_domains + 1, (plan.slices, 1), generator=generator)
    order = torch.rand(plan.slices, len(names), generator=generator).argsort(dim=1).argsort(dim=1)
    weights = torch.rand(plan.slices, len(names), generator=generator) / counts * (order < mixed)
    # Rows in order of exponential arrival times are a draw without replacement by weight.
    arrivals = torch.empty(plan.slices, len(domains)).exponential_(generator=generator) / weights[:, places]
    found = arrivals.topk(min(plan.shown + plan.asked, len(domains)), dim=1, largest=False)
    return found.indices[:, : plan.shown], found.indices[:, plan.shown :], found.values[:, plan.shown :].isfinite()


def _check(rows: DomainRows, plan: FewShotPlan) -> None:
    _, counts = torch.unique(rows.domains, return_counts=True)
    if len(counts) < 2:
        raise DataError("few-shot recalibration learns from at least two domains; name more of them")
    if int(counts.min()) <= plan.shown:
        raise DataError(f"a domain has {int(counts.min())} items; send more than the {plan.shown} shown of each slice")


def _shapes(width: int, directions: int, hidden: int) -> dict[str, tuple[int, ...]]:
    return {
        "mean": (width,),
        "components": (width, directions),
        "weight.0": (hidden, POINTS + directions),
        "bias.0": (hidden,),
        "weight.1": (POINTS, hidden),
        "bias.1": (POINTS,),
        "shown": (),
    }


def _check_state(state: Mapping[str, Tensor], shapes: Mapping[str, tuple[int, ...]]) -> None:
    found = {name: tuple(tensor.shape) for name, tensor in state.items()}
    if found != shapes or not all(bool(torch.isfinite(tensor).all()) for tensor in state.values()):
        raise CheckpointError(f"{FEW_SHOT}: expected finite tensors {dict(shapes)}, found {found}: fit it anew")
