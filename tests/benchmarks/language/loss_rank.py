"""A loss-rank head for one set of prompts: trained on the final states of the fit split, as on an image's features."""

import torch
from torch import Tensor

from models.core.method import Dimensions
from models.core.outputs import ModelOutputs
from models.feature_cache.view_rows import ViewRows
from models.training.head_plan import HeadPlan
from models.training.loss_rank_head import train_head
from models.uncertainty.loss_rank import LossRank
from tests.benchmarks.language.mmlu import SEED

HELD_OUT = 5  # every fifth row tells when to stop
PASSES = 100
PLAN = HeadPlan(batch=64, checks=50, patience=15)


class Passes:
    """The same rows again and again, each time in another order."""

    def __init__(self, features: Tensor, losses: Tensor, labels: Tensor) -> None:
        generator = torch.Generator().manual_seed(SEED)
        self.order = torch.cat([torch.randperm(len(features), generator=generator) for _ in range(PASSES)])
        self.rows = ViewRows(features, losses, labels, torch.arange(len(features)))

    @property
    def total(self) -> int:
        return len(self.order)

    def read(self, start: int, stop: int) -> ViewRows:
        chosen, rows = self.order[start:stop], self.rows
        return ViewRows(rows.features[chosen], rows.losses[chosen], rows.labels[chosen], rows.images[chosen])


def trained(outputs: ModelOutputs, labels: Tensor) -> LossRank:
    features = outputs.require_features()
    losses = -outputs.log_probabilities().gather(1, labels[:, None])[:, 0]
    held_out = torch.arange(len(labels)) % HELD_OUT == 0
    views = Passes(features[~held_out], losses[~held_out], labels[~held_out])
    sizes = Dimensions(outputs.logits.shape[1], features.shape[1])
    return train_head(views, (features[held_out], losses[held_out]), sizes, PLAN, None, lambda *_: None).head
