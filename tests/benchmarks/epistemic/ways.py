"""Ways to the epistemic score of a batch, from one backward pass a class and image to the fast form."""

from collections.abc import Callable

import torch
from pytorch_ood.detector import GradNorm
from torch import Tensor, nn
from torch.func import functional_call, grad, vmap

from models.core.gradient_plan import GradientPlan
from models.core.outputs import LinearHead
from models.gradients.class_roots import cotangents, rotations
from models.gradients.exact import ExactGradients
from models.gradients.family import PRESETS, layer_weights
from models.gradients.fast import FastGradients
from models.gradients.layer_kind import Batch
from models.gradients.layers import find_layers
from tests.benchmarks.epistemic.subject import Subject

Way = Callable[[Tensor], Tensor]
DECAY = PRESETS["regrad"].decay
LEADING, PROBES = 20, 12


def weighted(energies: Tensor, layers: int) -> Tensor:
    """(N,): REGrad of energies (N, depth) of the last layers."""
    return energies.double() @ layer_weights(DECAY, layers)[-energies.shape[1] :]


def parameter_weights(subject: Subject) -> dict[str, float]:
    """What the squared norm of each parameter's gradient is weighed by."""
    layers = subject.gradients.layers
    weights = layer_weights(DECAY, len(layers))
    return {
        f"{member.name}.{name}": float(weights[member.layer])
        for member in layers.members
        for name, _ in member.module.named_parameters(recurse=False)
    }


def naive(subject: Subject, classes: int) -> Way:
    """One image and one class at a time, gradients of all parameters; the first so many classes alone."""
    network, weights = subject.network, parameter_weights(subject)
    parameters = {name: parameter.detach().clone().requires_grad_() for name, parameter in network.named_parameters()}

    def score(images: Tensor) -> Tensor:
        found = []
        for image in images:
            logs = functional_call(network, parameters, (image[None],)).log_softmax(dim=1)[0]
            total = torch.zeros((), dtype=torch.float64)
            for log in logs[:classes]:
                gradients = torch.autograd.grad(log, list(parameters.values()), retain_graph=True)
                squares = [
                    weights[name] * each.square().sum() for name, each in zip(parameters, gradients, strict=True)
                ]
                total += log.detach().exp() * torch.stack(squares).sum()
            found.append(total)
        return torch.stack(found)

    return score


def vectorised(subject: Subject, classes: int) -> Way:
    """`vmap(grad)` over the images, a class at a time."""
    network, weights = subject.network, parameter_weights(subject)
    parameters = {name: parameter.detach() for name, parameter in network.named_parameters()}

    def log_probability(values: dict[str, Tensor], image: Tensor, label: int) -> Tensor:
        logits: Tensor = functional_call(network, values, (image[None],))
        return logits.log_softmax(dim=1)[0, label]

    def score(images: Tensor) -> Tensor:
        with torch.no_grad():
            probabilities = network(images).softmax(dim=1)
        total = torch.zeros(len(images), dtype=torch.float64)
        for label in range(classes):
            gradients = vmap(grad(log_probability), in_dims=(None, 0, None))(parameters, images, label)
            squares = [weights[name] * each.flatten(1).square().sum(dim=1) for name, each in gradients.items()]
            total += probabilities[:, label] * torch.stack(squares).sum(dim=0)
        return total

    return score


def gradnorm(subject: Subject) -> Way:
    """pytorch-ood's GradNorm over all parameters: one backward pass an image, and another score."""
    detector = GradNorm(subject.network, param_filter=lambda _: True)

    def score(images: Tensor) -> Tensor:
        subject.network.requires_grad_(True)
        found = detector.predict(images)
        subject.network.requires_grad_(False)
        return found

    return score


def exact(subject: Subject, images: Tensor) -> Way:
    found = ExactGradients(subject.network, images[:2], GradientPlan(depth=2, directions=1))

    def score(images: Tensor) -> Tensor:
        rows = [row for row in found.energies(images) if row is not None]
        return weighted(torch.cat([row.energies for row in rows]), len(found.layers))

    return score


def fast(trunk: nn.Module, head: LinearHead, plan: GradientPlan, example: Tensor) -> Way:
    layers = find_layers(trunk, lambda: trunk(example))
    gradients = FastGradients(trunk, layers, head, plan, example)
    return lambda images: weighted(gradients.outputs(images)[1].energies, len(layers) + 1)


def near_exact(subject: Subject, images: Tensor, seed: int) -> tuple[Tensor, Tensor]:
    """Two unbiased estimates (N,) for many classes, each of LEADING directions and half of PROBES random ones.

    The probes are of all directions but the leading ones, at all layers.
    """
    parts = [_near_exact(subject, part, seed) for part in images.split(4)]
    return torch.cat([one for one, _ in parts]), torch.cat([other for _, other in parts])


def _near_exact(subject: Subject, images: Tensor, seed: int) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)

    def directions(logits: Tensor) -> list[Tensor]:
        probabilities = logits.double().softmax(dim=1)
        _, rotation = rotations(probabilities)
        leading = [rotation[:, place] for place in range(LEADING)]
        signs = torch.randint(0, 2, (PROBES, rotation.shape[1] - LEADING), generator=generator).double() * 2 - 1
        random = [torch.einsum("r,nrc->nc", sign, rotation[:, LEADING:]) for sign in signs]
        return [cotangents(each, probabilities).float() for each in (*leading, *random)]

    _, norms = subject.gradients.norms(images, Batch(len(images)), directions)
    sure, halves = norms[:LEADING].sum(dim=0), norms[LEADING:].chunk(2)
    one, other = (weighted(sure + half.mean(dim=0), len(subject.gradients.layers)) for half in halves)
    return one, other
