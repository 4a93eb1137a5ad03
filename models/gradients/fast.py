"""The fast form of REGrad: E_l = sum_c p_c ||g_c^(l)||^2 of the last layers, from a few backward passes whatever C is.

Cut the network at its features h, the input of the last linear layer W. For one input sum_c p_c ||g_c^(l)||^2 is
tr(F Q_l): F = W' (diag(p) - p p') W is the Fisher matrix of h, and v' Q_l v the squared gradient norm of layer l when
v is sent back from h. The last layer has it in closed form, (1 + ||h||^2)(1 - ||p||^2). For the others K directions v_k
are sent back, made of the leading eigenvectors of diag(p) - p p' among the most probable classes, and

    E_l ≈ tr(F C) · sum_k v_k' Q_l v_k / sum_k v_k' C v_k

with a control C = diag(R) that is known for certain: R_d is the squared gradient norm of channel d of the layer before
the last, where every channel of it feeds one feature alone (convolution or linear layer, norm, activation, pooling).
There E of that layer comes out exactly. Elsewhere R = 1. Noisy copies of the input, where the plan has them, share v_k
and the gradients of the trunk; the last layer's is that of the input itself. The estimator is ours; the benchmarks say
how good it is.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from models.core.errors import UnsupportedError
from models.core.gradient_plan import GradientPlan
from models.core.outputs import LayerGradients, LinearHead
from models.gradients.class_roots import cotangents, rotations
from models.gradients.family import Family, with_perturbed
from models.gradients.last_layer import FisherDiagonal, last_layer_energy
from models.gradients.layer_kind import Batch, Terms
from models.gradients.layers import Layers, Member
from models.gradients.recording import Recorder, Recording
from models.gradients.terms import Direct, Outer, Term, wide

SEEN_CLASSES = 32  # the most probable ones, that directions are made of
DIAGONAL = 0.02  # by how much two directions' findings may differ: a few roundings of bfloat16
TINY = 1e-30  # keeps 0 / 0 from being NaN where an input has no gradient at all


class FastGradients:
    """Sits on a trunk in eval mode whose parameters require no gradients; threads may share it."""

    def __init__(self, trunk: nn.Module, layers: Layers, head: LinearHead, plan: GradientPlan, example: Tensor) -> None:
        self.trunk = trunk
        self.layers = layers  # of the trunk: the head is one more
        self.head = head
        self.plan = plan
        self.depth = min(plan.depth - 1, len(layers))
        self._fisher = FisherDiagonal(head.weight)
        check_unshared(layers, self.depth)
        self._recorder = Recorder(layers.last(self.depth))
        self.diagonal = self._is_diagonal(example)

    def outputs(self, images: Tensor) -> tuple[Tensor, LayerGradients]:
        """Features (N, D) float32 of images (N, 3, H, W), and the gradients of their predictions."""
        copies = 1 + self.plan.perturbations
        family = Family(perturbations=self.plan.perturbations, sigma=self.plan.sigma)
        rows = with_perturbed(images, family, self.plan.seed).flatten(0, 1)
        with self._recorder.record(Batch(len(images), copies)) as recording:
            traced = self.trunk(rows)
        features = wide(traced.detach()).reshape(len(images), copies, -1)
        directions = top_directions(self.head, features, self.plan.directions)
        sent = [self._send(recording, traced, direction.flatten(0, 1) / copies) for direction in directions]
        first = features[:, 0]
        return first, self._combine(first, [direction[:, 0] for direction in directions], sent)

    def _is_diagonal(self, images: Tensor) -> bool:
        """Whether each channel of the layer before the last feeds one feature: two random directions must agree."""
        with self._recorder.record(Batch(len(images))) as recording:
            traced = self.trunk(images)
        generator = torch.Generator().manual_seed(0)
        found = []
        for _ in range(2):
            direction = torch.randn(traced.shape, generator=generator).to(traced.device)
            channels = self._send(recording, traced, direction).channels
            if any(channel.shape != traced.shape for channel in channels):
                return False
            found.append(torch.stack(channels).sum(dim=0) / direction.square())
        one, other = found
        return bool((one - other).abs().sum() < DIAGONAL * (one + other).sum())

    def _send(self, recording: Recording, traced: Tensor, direction: Tensor) -> "_Sent":
        sent = _Sent(direction.new_zeros(recording.batch.samples, self.depth), [])
        first, last = len(self.layers) - self.depth, len(self.layers) - 1

        def deliver(member: Member, terms: Terms) -> None:
            for term in terms.values():
                if member.layer == last:
                    channels = channel_norms(term)
                    sent.channels.append(channels)
                    sent.energies[:, -1] += channels.sum(dim=1)
                else:
                    sent.energies[:, member.layer - first] += term.square_norms()

        recording.backward(traced, direction.to(traced.dtype), deliver)
        return sent

    def _combine(self, features: Tensor, directions: Sequence[Tensor], sent: Sequence["_Sent"]) -> LayerGradients:
        probabilities = self.head.logits(features).double().softmax(dim=1)
        fisher = self._fisher.of(probabilities)
        squares = torch.stack([direction.square() for direction in directions]).sum(dim=0)
        control = torch.ones_like(features)
        if self.diagonal:
            control = torch.stack([channels for each in sent for channels in each.channels]).sum(dim=0)
            control = control / squares.clamp_min(TINY)
        scale = (fisher * control).sum(dim=1) / (squares * control).sum(dim=1).clamp_min(TINY)
        energies = torch.stack([each.energies for each in sent]).sum(dim=0) * scale[:, None]
        last = last_layer_energy(probabilities, features).to(features)
        return LayerGradients(torch.cat([energies, last[:, None]], dim=1), len(self.layers) + 1)


def check_unshared(layers: Layers, depth: int) -> None:
    """Raises UnsupportedError for a parameter with several uses in the last layers: their gradients add up first."""
    for member in layers.last(depth):
        if any(id(parameter) in layers.shared for parameter in member.module.parameters(recurse=False)):
            raise UnsupportedError(f"{member.name} shares its parameters with another layer; the fast form cannot")


@dataclass(frozen=True, slots=True)
class _Sent:
    energies: Tensor  # (N, depth): squared gradient norms of each layer of the trunk
    channels: list[Tensor]  # (N, O) each: those of each channel of its last layer, by parameter


def top_directions(head: LinearHead, features: Tensor, count: int) -> list[Tensor]:
    """At most `count` directions (N, copies, D) for features of that shape, the largest first.

    They are REGrad's class gradients among the most probable classes of the first copy, turned by `rotations`.
    """
    probabilities = head.logits(features).double().softmax(dim=2)
    seen = min(SEEN_CLASSES, probabilities.shape[2])
    _, classes = probabilities[:, 0].topk(seen, dim=1)
    some = probabilities.gather(2, classes[:, None].expand(-1, features.shape[1], -1))
    _, rotation = rotations(some)
    weights = head.weight[classes]  # (N, seen, D)
    sent = [cotangents(rotation[:, place], some).to(features) for place in range(min(count, seen))]
    return [torch.einsum("nkc,ncd->nkd", each, weights) for each in sent]


def channel_norms(term: Term) -> Tensor:
    """(N, O): squared gradient norms of each output channel of a layer."""
    if isinstance(term, Outer):
        # sum_ts o_td o_sd (i_t · i_s): the Gram form of one channel, as in `Outer`.
        products = term.outputs * (term.inputs.gram() @ term.outputs)
        return wide(products).sum(dim=2).flatten(1).clamp_min(0)
    assert isinstance(term, Direct)
    return wide(term.values).square().flatten(2).sum(dim=2) if term.values.ndim > 2 else wide(term.values).square()
