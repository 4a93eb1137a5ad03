"""What the perceptrons show: tables, figures, and whether the acceptance checks hold."""

from collections.abc import Callable, Iterator, Mapping, Sequence

from tests.benchmarks.epistemic.figure import Figure
from tests.benchmarks.epistemic.tables import Table
from tests.benchmarks.experiments.cifar10_sets import OUTSIDE
from tests.benchmarks.experiments.experiment import Findings
from tests.benchmarks.experiments.line_chart import line_chart
from tests.benchmarks.experiments.noise_warmup import (
    DEPTHS,
    FEW,
    PLAIN,
    SIZES,
    SMOOTHED,
    WARMED,
    Training,
)
from tests.benchmarks.experiments.results import Difference, Results, compared, interval, shown

MAIN = (6, 4000)  # depth and images of the paper's main comparison
DEEP = 4
CHANCE = 0.1
WAYS = (PLAIN, WARMED, SMOOTHED)
Cells = tuple[int, int]  # depth, images
Row = Sequence[float | str | None]
NEAR_CHANCE, ACCURACY_LOST, SHARE_LOWER, PAIRS = 0.05, 0.005, 0.9, 10  # the checks of acceptance


def findings(results: Results) -> Findings:
    """Of whatever part of the runs is there."""
    tables = [
        _acceptance(results),
        _main_comparison(results),
        _by_cell(results, "ECE 10", "ECE, 10 bins"),
        _by_cell(results, "ECE 15", "ECE, 15 bins"),
        _by_cell(results, "NLL", "NLL"),
        _by_cell(results, "accuracy", "Accuracy"),
        _by_cell(results, "confidence", "Mean confidence"),
        _outside(results),
        _confidence(results),
    ]
    return Findings(tables, list(_figures(results)))


def pair(depth: int, images: int) -> tuple[Training, Training]:
    """Without and with the warm-up."""
    return Training(depth, images, PLAIN), Training(depth, images, WARMED)


def pooled(results: Results, measure: str) -> list[float]:
    """Differences of all pairs that the acceptance checks are about."""
    cells = [pair(depth, images) for depth in DEPTHS if depth >= DEEP for images in SIZES if images <= FEW]
    return [gap for cell in cells for gap in results.differences(*cell, measure)]


def _acceptance(results: Results) -> Table:
    checks = {
        f"confidence after the warm-up at most {NEAR_CHANCE} above chance, noise": _near_chance(results, "noise"),
        f"confidence after the warm-up at most {NEAR_CHANCE} above chance, unseen images": _near_chance(
            results, "image"
        ),
        f"ECE lower in at least {SHARE_LOWER:.0%} of pairs": _share_lower(pooled(results, "ECE 10")),
        f"accuracy at most {ACCURACY_LOST:.1%} lower": _accuracy_kept(pooled(results, "accuracy")),
    }
    checks |= {f"AUROC gained, {name}, depth 6, 4000 images": _gained(results, f"AUROC {name}") for name in OUTSIDE}
    title = f"Acceptance: depth at least {DEEP}, at most {FEW} images, unless said otherwise"
    return Table(title, "check", ["found", "pairs", "Wilcoxon p", "holds"], checks)


def _near_chance(results: Results, what: str) -> Row:
    """The warm-up of a depth and seed is one for all sizes: those of the smallest size are all of them."""
    cells = [pair(depth, SIZES[0])[1] for depth in DEPTHS if depth >= DEEP]
    before, after = (
        [value for cell in cells for value in results.values(cell, f"{what} confidence {when}")]
        for when in ("before", "after")
    )
    if not after:
        return [None] * 4
    found = f"mean {interval(after).value:.4f}, at most {max(after):.4f}; before {interval(before).value:.4f}"
    return [found, str(len(after)), None, _yes(max(after) <= CHANCE + NEAR_CHANCE)]


def _share_lower(gaps: Sequence[float]) -> Row:
    return _judged(
        gaps,
        lambda found: f"{found.lower / found.pairs:.1%}, mean {found}",
        lambda found: found.lower >= SHARE_LOWER * found.pairs,
    )


def _accuracy_kept(gaps: Sequence[float]) -> Row:
    return _judged(gaps, str, lambda found: found.mean.value >= -ACCURACY_LOST)


def _gained(results: Results, measure: str) -> Row:
    gaps = results.differences(*pair(*MAIN), measure)
    return _judged(gaps, str, lambda found: found.mean.value > 0 and found.pairs >= PAIRS)


def _judged(gaps: Sequence[float], told: Callable[[Difference], str], holds: Callable[[Difference], bool]) -> Row:
    if not gaps:
        return [None] * 4
    found = compared(gaps)
    return [told(found), str(found.pairs), f"{found.p:.2g}", _yes(holds(found))]


def _yes(holds: bool) -> str:
    return "yes" if holds else "no"


def _main_comparison(results: Results) -> Table:
    """All ways on the half of the test rows that no temperature was fitted on."""
    depth, images = MAIN
    rows = {
        f"{way}{name}": [shown(results.mean(Training(depth, images, way), f"{part} {measure}")) for measure in COLUMNS]
        for way in WAYS
        for part, name in (("half", ""), ("scaled", ", temperature"))
    }
    return Table("Depth 6, 4000 images, on half of the test rows: mean [95 % interval]", "way", COLUMNS, rows)


COLUMNS = ["ECE 10", "ECE 15", "NLL", "accuracy", "confidence"]


def _by_cell(results: Results, measure: str, title: str) -> Table:
    rows: dict[str, Row] = {}
    for depth, images in _there(results):
        plain, warm = pair(depth, images)
        gap = results.difference(plain, warm, measure)
        means = [shown(results.mean(cell, measure)) for cell in (plain, warm, Training(depth, images, SMOOTHED))]
        rows[f"depth {depth}, {images} images"] = [*means, *_gap_cells(gap)]
    columns = [*WAYS, "warm-up less plain", "lower in", "Wilcoxon p"]
    return Table(f"{title}: mean [95 % interval] over seeds", "cell", columns, rows)


def _gap_cells(gap: Difference | None) -> Row:
    return [None] * 3 if gap is None else [str(gap), f"{gap.lower} of {gap.pairs}", f"{gap.p:.2g}"]


def _there(results: Results) -> list[Cells]:
    """Cells that were run, shallow ones first."""
    every = [(depth, images) for depth in sorted(DEPTHS) for images in SIZES]
    return [cell for cell in every if any(results.values(way, "accuracy") for way in pair(*cell))]


def _outside(results: Results) -> Table:
    """AUROC gains of the warm-up."""
    rows = {
        f"depth {depth}, {images} images": [
            None if gap is None else f"{gap}, p {gap.p:.2g}"
            for gap in (results.difference(*pair(depth, images), f"AUROC {name}") for name in OUTSIDE)
        ]
        for depth, images in _there(results)
    }
    return Table("AUROC against other sets, warm-up less plain", "cell", list(OUTSIDE), rows)


def _confidence(results: Results) -> Table:
    names = [f"{what} confidence {when}" for what in ("noise", "image") for when in ("before", "after")]
    rows = {
        f"depth {depth}": [shown(results.mean(pair(depth, SIZES[0])[1], name)) for name in names]
        for depth in sorted(DEPTHS)
        if results.values(pair(depth, SIZES[0])[1], names[0])
    }
    return Table("Confidence before and after the warm-up, on fresh noise and on unseen images", "depth", names, rows)


def _figures(results: Results) -> Iterator[Figure]:
    for measure, up in (("ECE 10", "ECE, 10 bins"), ("NLL", "NLL"), ("accuracy", "accuracy")):
        by_size: Mapping[str, Mapping[str, Training]] = {
            way: {str(images): Training(6, images, way) for images in SIZES} for way in WAYS
        }
        by_depth: Mapping[str, Mapping[str, Training]] = {
            way: {str(depth): Training(depth, 4000, way) for depth in sorted(DEPTHS)} for way in WAYS[:2]
        }
        for title, across, rows in (
            (f"{up} at depth 6", "training images", by_size),
            (f"{up} with 4000 images", "depth", by_depth),
        ):
            found = line_chart(results, title, across, (measure, up), rows)
            if found is not None:
                yield found
