"""Which directions on the logits to send back: the class gradients of REGrad, turned so that a few carry most of it.

Row c of the root R = diag(√p) - √p p' is the cotangent of √p_c log p_c, so REGrad of a layer with Jacobian J is
||R J||^2. That is the same for U R with any orthogonal U. With U from the eigenvectors of R R' the rows of U R are
orthogonal and can be sent back largest first; with √p as one row of U that row's product is 0 and need not be sent.
Perturbed copies of an input share U, because the gradients of each class are averaged over them before the norm.
"""

import torch
from torch import Tensor


def root_gram(probabilities: Tensor) -> Tensor:
    """R R' (N, C, C) for probabilities (N, C), in closed form; its eigenvalues are those of diag(p) - p p'."""
    root = probabilities.sqrt()
    product = probabilities * root
    crossed = product[:, :, None] * root[:, None]
    square = probabilities.square().sum(dim=1)[:, None, None]
    return torch.diag_embed(probabilities) - crossed - crossed.mT + square * (root[:, :, None] * root[:, None])


def rotations(probabilities: Tensor) -> tuple[Tensor, Tensor]:
    """Eigenvalues (N, C) and eigenvectors (N, C, C; one a row) of R R', largest first.

    For perturbed inputs, (N, copies, C), those of the mean over the copies.
    """
    copies = probabilities if probabilities.ndim == 3 else probabilities[:, None]
    gram = sum((root_gram(copy) for copy in copies.unbind(1)), torch.zeros((), dtype=copies.dtype)) / copies.shape[1]
    values, vectors = torch.linalg.eigh(gram)
    return values.flip(1).clamp_min(0), vectors.mT.flip(1)


def cotangents(rotation: Tensor, probabilities: Tensor) -> Tensor:
    """(N, ..., C): u' R for one rotation u (N, C) and probabilities (N, ..., C), of each copy its own."""
    root = probabilities.sqrt()
    turned = rotation.reshape(len(rotation), *[1] * (probabilities.ndim - 2), -1) * root
    return turned - turned.sum(dim=-1, keepdim=True) * probabilities


class Reflection:
    """The orthogonal matrix that mirrors √p onto the axis of the most probable class; ±√p is its last row here.

    Rows (N, C) are made when asked for, so a thousand classes take no thousand squared numbers an input.
    """

    def __init__(self, probabilities: Tensor) -> None:
        self._most = probabilities.argmax(dim=1)
        axis = torch.nn.functional.one_hot(self._most, probabilities.shape[1]).to(probabilities)
        self._normal = probabilities.sqrt() + axis  # a sum, so that nothing cancels
        self._scale = 2 / self._normal.square().sum(dim=1)

    def row(self, place: int) -> Tensor:
        """One of C rows; the last is the one along √p."""
        last = self._normal.shape[1] - 1
        here = torch.full_like(self._most, place)
        # The most probable class and the last one change places.
        classes = torch.where(here == last, self._most, torch.where(here == self._most, last, here))
        unit = torch.nn.functional.one_hot(classes, last + 1).to(self._normal)
        component = self._normal.gather(1, classes[:, None])[:, 0]
        return unit - (self._scale * component)[:, None] * self._normal
