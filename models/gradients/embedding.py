"""Embeddings: the gradient is zero but for the rows that were looked up."""

from collections.abc import Callable

import torch
from torch import Tensor, nn

from models.core.errors import UnsupportedError
from models.gradients.kept import Kept
from models.gradients.layer_kind import Batch, LayerKind, Terms
from models.gradients.looked_up import looked_up


class EmbeddingKind(LayerKind):
    """Rows of a table for ids (rows, ...), or for (1, ...) that are the same for every input."""

    handles = ("torch.nn.modules.sparse.Embedding",)
    carrier = True
    reads_constants = True

    def read(self, module: nn.Module, inputs: Tensor, batch: Batch) -> Callable[[Tensor], Terms]:
        assert isinstance(module, nn.Embedding)
        if module.max_norm is not None or module.scale_grad_by_freq or module.sparse:
            raise UnsupportedError("embeddings with max_norm, scale_grad_by_freq or sparse gradients are not known")
        kept = Kept(inputs)

        def terms(grads: Tensor) -> Terms:
            ids = kept.values.expand(batch.rows, *kept.values.shape[1:]).reshape(batch.samples, -1)
            values = grads.reshape(batch.samples, -1, module.embedding_dim)
            if module.padding_idx is not None:  # torch leaves that row as it is
                values = torch.where(ids[..., None] == module.padding_idx, 0, values)
            return {"weight": looked_up(ids, values, module.num_embeddings)}

        return terms
