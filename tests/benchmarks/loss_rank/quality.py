"""How well a head's u works on data that it has not seen: `python -m tests.benchmarks.loss_rank.quality`.

Embeddings are EfficientNet-Lite0's. Nothing is trained on the sets that are judged, and their labels only judge. Heads
differ in their seed, the one of their first weights: they read the same views in the same order.
"""

import argparse
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from statistics import mean

import torch

from models.checkpoints.efficientnet_lite0_head import PLAN
from models.core.method import Dimensions
from models.core.outputs import ModelOutputs
from models.feature_cache.image_rows import ImageRows
from models.feature_cache.view_rows import ViewSource
from models.metrics.aleatoric import auroc_ood, crop_test
from models.metrics.ranking import auroc
from models.metrics.retrieval import nearest_is_right, safe_retrieval
from models.training.held_out_views import held_out_views
from models.training.loss_rank_head import train_head
from models.uncertainty.loss_rank import LossRank
from tests.benchmarks.epistemic.sets import SEED
from tests.benchmarks.epistemic.tables import Report, Table
from tests.benchmarks.loss_rank import RESULTS
from tests.benchmarks.loss_rank.human_doubt import human_table
from tests.benchmarks.loss_rank.judged_sets import cropped, judged_sets, reported_rows
from tests.benchmarks.loss_rank.runs import spread
from tests.benchmarks.loss_rank.scores import baselines
from tests.benchmarks.loss_rank.upstream import (
    Places,
    described,
    outputs_of,
    upstream_rows,
    upstream_views,
)

SEEDS = 5
AIM, CROP_AIM = 0.55, 0.75


@dataclass(frozen=True, slots=True)
class Found:
    """Of one data set; a list has a figure a head, a mapping one a baseline."""

    recall: float
    r_auroc: Sequence[float]
    r_auroc_baselines: Mapping[str, float]
    safe: Sequence[float]
    safe_entropy: float
    crop: Sequence[float]
    ood: Sequence[float]

    @property
    def is_met(self) -> bool:
        """The aim of R-AUROC: above .55 and above the entropy of the classifier, in the mean."""
        return mean(self.r_auroc) > max(AIM, self.r_auroc_baselines["entropy"])


def trained_heads(views: ViewSource, stop: Sequence[int], dimensions: Dimensions, seeds: int) -> list[LossRank]:
    held = held_out_views(views, stop)
    plans = [replace(PLAN, seed=SEED + number) for number in range(seeds)]
    return [train_head(views, held, dimensions, plan, None, lambda *_: None, stop).head for plan in plans]


def judge(rows: ImageRows, heads: Sequence[LossRank], inside: ModelOutputs) -> Found:
    """`inside` are outputs for images of the classifier's own kind."""
    outputs, crops, labels = outputs_of(rows), outputs_of(cropped(rows)), torch.from_numpy(rows.labels)
    features = outputs.require_features()
    right = nearest_is_right(features, labels)
    values = [head.score(outputs) for head in heads]
    plain = baselines(outputs)
    return Found(
        recall=float(right.double().mean()),
        r_auroc=[auroc(-u, right) for u in values],
        r_auroc_baselines={name: auroc(-u, right) for name, u in plain.items()},
        safe=[safe_retrieval(features, labels, u) for u in values],
        safe_entropy=safe_retrieval(features, labels, plain["entropy"]),
        crop=[crop_test(head.score(crops), u) for head, u in zip(heads, values, strict=True)],
        ood=[auroc_ood(head.score(inside), u) for head, u in zip(heads, values, strict=True)],
    )


def report(found: Mapping[str, Found], human: Table, seeds: int, about: Mapping[str, str]) -> Report:
    columns = [
        "recall at 1",
        "R-AUROC, loss rank",
        "R-AUROC, entropy",
        "R-AUROC, 1 - max probability",
        "crop test",
        "recall at 1 without the tenth of highest loss rank",
        "of highest entropy",
        "AUROC against photographs",
    ]
    rows = {
        name: [
            each.recall,
            spread(each.r_auroc),
            each.r_auroc_baselines["entropy"],
            each.r_auroc_baselines["max_prob"],
            spread(each.crop),
            spread(each.safe),
            each.safe_entropy,
            spread(each.ood),
        ]
        for name, each in found.items()
    }
    return Report(
        name="quality",
        title="Loss rank on data that the head has not seen",
        command="python -m tests.benchmarks.loss_rank.quality",
        about={**about, "seeds": f"{seeds} heads; mean ± deviation", "plan of a head": repr(PLAN)},
        tables=[Table("EfficientNet-Lite0, heads trained on the upstream images", "data", columns, rows), human],
        words=_words(found),
    )


def _words(found: Mapping[str, Found]) -> list[str]:
    met = [name for name, each in found.items() if each.is_met]
    above = [name for name, each in found.items() if mean(each.r_auroc) > AIM]
    crops = [name for name, each in found.items() if mean(each.crop) > CROP_AIM]
    near = [f"{name} {mean(each.ood):.2f}" for name, each in found.items()]
    return [
        f"R-AUROC is above {AIM} on {len(above)} of {len(found)} sets ({', '.join(above) or 'none'}), and above that of"
        f" entropy as well on {len(met)} ({', '.join(met) or 'none'}); the aim was three.",
        f"The crop test is above {CROP_AIM} on {len(crops)} of {len(found)} sets ({', '.join(crops) or 'none'}).",
        "An aleatoric score should not tell these sets from the classifier's own photographs, which would be an AUROC"
        f" of .5: it is {', '.join(near)}.",
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=SEEDS)
    seeds = parser.parse_args().seeds
    torch.set_num_threads(1)
    inside = outputs_of(reported_rows())
    dimensions = Dimensions(classes=inside.logits.shape[1], features=inside.require_features().shape[1])
    heads = trained_heads(upstream_views(), Places.of(upstream_rows()).stop, dimensions, seeds)
    found = {name: judge(rows, heads, inside) for name, rows in judged_sets().items()}
    report(found, human_table(heads, seeds), seeds, described()).write(RESULTS)


if __name__ == "__main__":
    main()
