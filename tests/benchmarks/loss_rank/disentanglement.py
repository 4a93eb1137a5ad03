"""Is loss rank of the image and epistemic of the domain? `python -m tests.benchmarks.loss_rank.disentanglement`.

Entropy, the epistemic score as served and the shipped head's loss rank: on photographs that nothing was fitted on, on
the same photographs blurred, cropped and reduced, and on images of other domains. A minute on one core once the views
of the upstream images are cached.
"""

import argparse
import io
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import combinations

import numpy as np
import torch
from PIL import Image, ImageFilter
from torch import Tensor

from models.checkpoints.efficientnet_lite0 import INPUT_SPEC, NAME, plan
from models.checkpoints.efficientnet_lite0_head import train
from models.checkpoints.shipped import FOLDER
from models.core.checkpoint import read_version
from models.core.reference import Reference
from models.feature_cache.counted_noise import uniforms
from models.metrics.aleatoric import auroc_ood, crop_test
from models.metrics.ranking import spearman
from models.pipeline import Pipeline, assemble
from models.uncertainty.loss_rank import LossRank
from tests.benchmarks.epistemic.cifar10_network import DATA
from tests.benchmarks.epistemic.detection import Draws, middle_95
from tests.benchmarks.epistemic.sets import SEED, Rows, archive_rows
from tests.benchmarks.epistemic.tables import Report, Table
from tests.benchmarks.loss_rank import RESULTS
from tests.benchmarks.loss_rank.heat_map import HeatMap, heat_maps
from tests.benchmarks.loss_rank.upstream import CACHE, described, lite0, upstream_rows

SCORES = ("loss_rank", "epistemic", "entropy")
CLEAN, OUTSIDE = "photographs", ("textures", "cars")
REDUCED = "reduced to the cars' size"
SMALL, QUALITY = 168, 80  # side of the input that the cars' 192 pixels fill, and the quality of their JPEG files
RADII = (2, 4)  # pixels of the network's input
CROPS = (0.1, 0.75)  # of the side, drawn evenly, as URL's crop test has it
NEAR = 0.1  # to 0.5
ROWS_AT_A_TIME = 16

Scores = Mapping[str, Tensor]  # (N,) by name
Change = Callable[[Image.Image, int], Image.Image]


def blurred(radius: int) -> Change:
    return lambda image, row: image.filter(ImageFilter.GaussianBlur(radius))


def cropped(image: Image.Image, row: int) -> Image.Image:
    """A square in the middle, enlarged to the whole; its side is drawn by the row's number."""
    share = CROPS[0] + (CROPS[1] - CROPS[0]) * float(uniforms((SEED, row), 1)[0])
    left, top = (side * (1 - share) / 2 for side in image.size)
    return image.resize(image.size, Image.Resampling.BICUBIC, (left, top, image.width - left, image.height - top))


def reduced(image: Image.Image, row: int) -> Image.Image:
    """Stored as the cars are, whose files have fewer pixels than the photographs': what is left then is the domain."""
    file = io.BytesIO()
    image.resize((SMALL, SMALL), Image.Resampling.BICUBIC).save(file, "JPEG", quality=QUALITY)
    return Image.open(file).convert("RGB").resize(image.size, Image.Resampling.BICUBIC)


def changed(rows: Rows, name: str, change: Change) -> Rows:
    images = (Image.fromarray(pixels.permute(1, 2, 0).numpy()) for pixels in rows.pixels)
    found = np.stack([np.asarray(change(image, row)) for row, image in enumerate(images)])
    return replace(rows, name=name, pixels=torch.from_numpy(found).permute(0, 3, 1, 2))


def all_rows(most: int) -> list[Rows]:
    """The photographs first; `most` of each set."""
    report = set(plan(DATA).judge[0].names)
    path = DATA / "imagenet_nips17dev_shared.zip"
    clean = archive_rows(path, CLEAN, INPUT_SPEC, min(most, len(report)), keep=lambda row: row["file"] in report)[0]
    outside = [
        archive_rows(DATA / file, name, INPUT_SPEC)[0]
        for name, file in zip(OUTSIDE, ("dtd_textures10_shared.zip", "cars196_shared.zip"), strict=True)
    ]
    return [
        clean,
        *(changed(clean, f"blurred, radius {radius}", blurred(radius)) for radius in RADII),
        changed(clean, "cropped", cropped),
        changed(clean, REDUCED, reduced),
        *(replace(rows, pixels=rows.pixels[:most], labels=rows.labels[:most]) for rows in outside),
    ]


def scores_of(pipeline: Pipeline, head: LossRank, rows: Rows) -> Scores:
    """As they are served: entropy after calibration, the fast form of the epistemic score."""
    parts = []
    for pixels in rows.pixels.permute(0, 2, 3, 1).split(ROWS_AT_A_TIME):
        outputs = pipeline.calibrate(pipeline.network.outputs(pixels.contiguous().numpy(), gradients=True))
        served = {name: pipeline.scores[name].score.score(outputs) for name in ("epistemic", "entropy")}
        parts.append(served | {"loss_rank": head.score(outputs)})
    return {name: torch.cat([part[name] for part in parts]) for name in SCORES}


@dataclass(frozen=True, slots=True)
class Found:
    """Scores of every set by its name, the photographs among them; `paired` sets have their rows in the same order."""

    sets: Mapping[str, Scores]

    @property
    def others(self) -> dict[str, Scores]:
        return {name: scores for name, scores in self.sets.items() if name != CLEAN}

    @property
    def paired(self) -> dict[str, Scores]:
        return {name: scores for name, scores in self.others.items() if name not in OUTSIDE}

    def interval(self, score: str, name: str, beside: str = CLEAN) -> tuple[float, float]:
        """Middle 95 % of the AUROC over draws of rows."""
        clean, other = self.sets[beside][score], self.sets[name][score]
        return middle_95(Draws.of(len(clean), [len(other)]).aurocs(clean, [other])[0])

    def auroc(self, score: str, name: str, beside: str = CLEAN) -> float:
        """Of this set's rows above those `beside`."""
        return auroc_ood(self.sets[beside][score], self.sets[name][score])

    def matrix(self, name: str) -> HeatMap:
        scores = self.sets[name]
        return HeatMap(name, SCORES, [[spearman(scores[one], scores[other]) for other in SCORES] for one in SCORES])


def tables(found: Found) -> list[Table]:
    pairs = list(combinations(SCORES, 2))
    together = {
        name: [spearman(scores[one], scores[other]) for one, other in pairs] for name, scores in found.sets.items()
    }
    clean = {score: Reference.fit(values) for score, values in found.sets[CLEAN].items()}
    percentiles = {
        name: [clean[score].percentile(scores[score]).mean().item() for score in SCORES]
        for name, scores in found.sets.items()
    }
    return [
        Table("Spearman's correlation of two scores", "set", [" and ".join(pair) for pair in pairs], together),
        Table("Mean percentile among the photographs", "set", SCORES, percentiles),
        Table("AUROC: a row of the set above a photograph (95 % interval)", "set", SCORES, _aurocs(found)),
        Table(
            "Share of photographs whose score rises when they are changed",
            "set",
            SCORES,
            {
                name: [crop_test(scores[score], found.sets[CLEAN][score]) for score in SCORES]
                for name, scores in found.paired.items()
            },
        ),
    ]


def _aurocs(found: Found) -> dict[str, list[str]]:
    rows = {name: [_with_interval(found, score, name) for score in SCORES] for name in found.others}
    return rows | {
        f"cars, above photographs {REDUCED}": [_with_interval(found, score, "cars", REDUCED) for score in SCORES]
    }


def _with_interval(found: Found, score: str, name: str, beside: str = CLEAN) -> str:
    low, high = found.interval(score, name, beside)
    return f"{found.auroc(score, name, beside):.4f} ({low:.4f} to {high:.4f})"


def words(found: Found) -> list[str]:
    """What the figures say of the claim, score by score."""
    return [*(_of_score(found, score) for score in SCORES), _claim(found), _at_equal_size(found), _apart(found)]


def _of_score(found: Found, score: str) -> str:
    told = [f"{name} {found.auroc(score, name):.3f}, {_direction(found, score, name)}" for name in found.others]
    return f"{score}, AUROC against the photographs: {'; '.join(told)}."


def _direction(found: Found, score: str, name: str) -> str:
    low, high = found.interval(score, name)
    if low > 0.5:
        return "higher"
    return "lower" if high < 0.5 else "not told apart"


def _claim(found: Found) -> str:
    rises = [name for name in found.paired if _direction(found, "loss_rank", name) == "higher"]
    near = [name for name in OUTSIDE if abs(found.auroc("loss_rank", name) - 0.5) <= NEAR]
    return (
        f"The claim for loss rank: it rises on {_counted(rises, found.paired)} of the changed photographs, and stays"
        f" within {NEAR} of 0.5 on {_counted(near, OUTSIDE)} of the other domains."
    )


def _at_equal_size(found: Found) -> str:
    told = [f"{score} {_with_interval(found, score, 'cars', REDUCED)}" for score in SCORES]
    return f"Cars against photographs stored with as few pixels: {', '.join(told)}."


def _counted(held: Sequence[str], of: Sequence[str] | Mapping[str, Scores]) -> str:
    named = f" ({'; '.join(held)})" if held else ""
    return f"{len(held)} of {len(of)} sets{named}"


def _apart(found: Found) -> str:
    aligned = {name: spearman(scores["loss_rank"], scores["epistemic"]) for name, scores in found.sets.items()}
    most, least = max(aligned, key=aligned.__getitem__), min(aligned, key=aligned.__getitem__)
    return (
        f"Loss rank and the epistemic score: Spearman from {aligned[least]:.2f} ({least}) to {aligned[most]:.2f}"
        f" ({most}); {aligned[CLEAN]:.2f} on the photographs. Independent scores would have 0."
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=400, help="at most, of each set")
    given = parser.parse_args()
    torch.set_num_threads(1)
    began = time.perf_counter()
    head = train(DATA, upstream_rows(), CACHE, 1).head
    pipeline = assemble(lite0(), read_version(FOLDER / NAME))
    rows = all_rows(given.rows)
    found = Found({part.name: scores_of(pipeline, head, part) for part in rows})
    about = {
        **described(),
        "head": f"the one that is shipped, trained anew: {head.depth} hidden layers of {head.width}",
        "data": "; ".join(part.describe() for part in rows),
        "other domains": "ImageNet has no class for textures; it has kinds of cars, though none by make and year",
        "changes": f"on the network's input: Gaussian blur; a centre crop of {CROPS[0]} to {CROPS[1]} of the side;"
        f" {SMALL} pixels a side, as JPEG of quality {QUALITY}, and back",
        "seed": str(SEED),
        "took": f"{time.perf_counter() - began:.0f} s, with the head and without the cache",
    }
    command = "python -m tests.benchmarks.loss_rank.disentanglement"
    made = Report("disentanglement", "Which uncertainty a score is of", command, about, tables(found), words(found))
    made.write(RESULTS)
    maps = [found.matrix(name) for name in found.sets]
    (RESULTS / "disentanglement.svg").write_text(heat_maps("Spearman's correlation of the scores, by set", maps))
    print(made.markdown())


if __name__ == "__main__":
    main()
