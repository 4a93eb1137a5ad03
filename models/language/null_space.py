"""What the unembedding hardly sees, and neurons that write there (Stolfo et al. 2024, arXiv 2406.16254).

Such neurons change the length of the residual stream, hence through the final norm how sure the model is, and hardly
which token it prefers. The final norm's gain is taken into the unembedding here.
"""

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from models.core.errors import UnsupportedError
from models.language import anatomy
from models.language.causal_lm import CausalLM

SHARE_OF_WIDTH = 0.01  # how many directions count as null: 40 of 4,096 in the paper


@dataclass(frozen=True, slots=True)
class LastNeurons:
    """Of the last layer's M neurons: length of the output weight, its share in the null space (0 to 1), and the
    variance over the vocabulary of the cosine between it and a token's row; each (M,) float32."""

    lengths: Tensor
    null_shares: Tensor
    logit_variances: Tensor

    def entropy_neurons(self, count: int) -> Tensor:
        """Those with the largest null share among the longest quarter, the strongest first (ours: the paper picks them
        by eye off both axes)."""
        longest = self.lengths >= self.lengths.quantile(0.75)
        return self.null_shares.masked_fill(~longest, -1).argsort(descending=True)[:count]


def null_basis(model: CausalLM) -> Tensor:
    """(D, k) orthonormal: the directions of the residual stream that change logits least, one in a hundred of them."""
    weight = _gained_unembedding(model).double()
    count = max(1, round(SHARE_OF_WIDTH * model.width))
    _, vectors = torch.linalg.eigh(weight.T @ weight)  # eigenvalues ascend
    basis: Tensor = vectors[:, :count].float()
    return basis


def null_share(vectors: Tensor, basis: Tensor) -> Tensor:
    """Length of the part of each vector (..., D) in the null space over its whole length; sqrt(k / D) by chance."""
    share: Tensor = torch.linalg.vector_norm(vectors @ basis, dim=-1) / torch.linalg.vector_norm(vectors, dim=-1)
    return share


def last_neurons(model: CausalLM) -> LastNeurons:
    """Raises UnsupportedError where the last layer does not end in a linear layer back to the residual stream."""
    written = _last_output(model).T
    rows = nn.functional.normalize(_gained_unembedding(model), dim=1)
    cosines = rows @ nn.functional.normalize(written, dim=1).T
    return LastNeurons(written.norm(dim=1), null_share(written, null_basis(model)), cosines.var(dim=0))


def _gained_unembedding(model: CausalLM) -> Tensor:
    gain = getattr(anatomy.final_norm(model.network), "weight", None)
    weight = model.unembedding.weight.detach().float()
    return weight if gain is None else weight * gain.detach().float()


def _last_output(model: CausalLM) -> Tensor:
    linear = [module for module in anatomy.blocks(model.network)[-1].modules() if isinstance(module, nn.Linear)]
    if not linear or linear[-1].out_features != model.width:
        raise UnsupportedError(f"{model.network.config.model_type}: the last block does not end in a linear layer")
    return linear[-1].weight.detach().float()
