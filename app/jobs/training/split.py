"""Which rows a classifier is trained on, which are held out of it, and which it is only reported on.

A manifest keeps the splits of its training, so that later jobs never fit on a row that the network was trained on.
"""

from collections.abc import Collection
from dataclasses import dataclass

from models.core.errors import DataError
from models.core.manifest import Manifest
from models.data.splits import split

FEWEST_ROWS = 20  # ours: of each part


@dataclass(frozen=True, slots=True)
class TrainSplit:
    """Of the rows of one data set; `held_out` and `report` are numbers of rows, the others are trained on."""

    data: str
    sha256: str
    seed: int
    rows: int
    held_out: int
    report: int

    def parts(self, names: Collection[str]) -> tuple[tuple[str, ...], tuple[str, ...], tuple[str, ...]]:
        """Names held out, of the report, and trained on. The held-out ones are the first of what is not trained on."""
        trained = self.rows - self.held_out - self.report
        held_out, report, rest = split(names, self.seed, self.held_out, self.report, trained)
        return held_out, report, rest


def sizes(rows: int, held_out_share: float, report_share: float) -> tuple[int, int]:
    """Rows to hold out and to report on. Raises DataError where too few are left to train on."""
    held_out, report = (max(FEWEST_ROWS, round(rows * share)) for share in (held_out_share, report_share))
    if rows - held_out - report < FEWEST_ROWS:
        raise DataError(
            f"{rows} rows are too few with {held_out} held out and {report} to report on: at least {3 * FEWEST_ROWS}"
            f" rows are needed, {FEWEST_ROWS} of each sort; send more rows, or lower the shares"
        )
    return held_out, report


def splits_of(manifest: Manifest) -> tuple[TrainSplit, ...]:
    """How the data were split that the version's network was trained on by jobs; nothing where it came trained."""
    return tuple(TrainSplit(**found) for found in manifest.report.get("training", {}).get("splits", ()))


def split_of(manifest: Manifest, sha256: str) -> TrainSplit | None:
    """Of these data; None where the network was not trained on them."""
    return next((found for found in splits_of(manifest) if found.sha256 == sha256), None)


def trained_count(manifest: Manifest, sha256: str) -> int:
    """Rows of these data that the network was trained on."""
    found = split_of(manifest, sha256)
    return 0 if found is None else found.rows - found.held_out - found.report
