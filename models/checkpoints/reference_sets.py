"""The reference answers that `smollm2-135m` has its token temperature by: right choices of questions asked without any.

Fitted on rows of three sets, judged on other rows of them and on one more set.
"""

import gzip
import json
import random
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from models.core.checkpoint import file_sha256
from models.data.questions import AskedQuestion

SETS = {  # file to fit on → file to report on, whose rows are others
    "mmlu_val": "mmlu_test_shared",
    "arc_easy_test_shared": "arc_easy_test_shared",
    "commonsenseqa_train2500": "commonsenseqa_dev_shared",
}
MORE = "openbookqa_test_shared"
ROWS = 300  # of each part of a set. Ours
NOTE, NOTE_MORE = "other rows of a set that was fitted on", "a set that nothing was fitted on"


@dataclass(frozen=True, slots=True)
class Answered:
    """Rows of one file for one part of a version's data."""

    name: str
    sha256: str
    role: str  # fit | report
    rows: dict[str, AskedQuestion]
    note: str


def answered_rows(data: Path, seed: int) -> Iterator[Answered]:
    """Those to fit on first."""
    for name in SETS:
        yield _answered(data, name, "fit", seed, 0, "fitted on these rows: not evidence")
    for fitted, name in SETS.items():
        yield _answered(data, name, "report", seed, ROWS if name == fitted else 0, NOTE)
    yield _answered(data, MORE, "report", seed, 0, NOTE_MORE)


def _answered(data: Path, name: str, role: str, seed: int, begin: int, note: str) -> Answered:
    path = data / f"{name}.jsonl.gz"
    with gzip.open(path, "rt", encoding="utf-8") as file:
        rows = [json.loads(line) for line in file]
    random.Random(seed).shuffle(rows)
    asked = {
        row["id"]: AskedQuestion(row["question"], tuple(row["choices"]), row["answer"], None, lettered=True)
        for row in rows[begin : begin + ROWS]
    }
    return Answered(name, file_sha256(path), role, asked, note)
