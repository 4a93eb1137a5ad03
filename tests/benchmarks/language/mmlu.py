"""MMLU as few-shot prompts: five solved questions of the same subject before each question."""

import gzip
import json
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from models.data.splits import split
from models.language.continuations import ChoiceItem
from models.language.multiple_choice import Question, about_subject, lettered_item

DATA = Path(os.environ.get("HOWSURE_TEST_DATA", "../shared/data"))
SHOTS = 5
SEED = 20261122


@dataclass(frozen=True, slots=True)
class Asked:
    """N items and the places (N,) of their right choices."""

    items: Sequence[ChoiceItem]
    labels: Tensor
    subjects: Sequence[str]


def asked(name: str, subjects: Sequence[str], most: int) -> Asked:
    """At most so many seeded questions of each subject of the set `name`, subject by subject."""
    shots = _by_subject(rows("mmlu_dev"))
    by_subject = _by_subject(rows(name))
    chosen = [row for subject in subjects for row in some(by_subject[subject], most)]
    items = [
        lettered_item(question(row), about_subject(row["subject"]), [question(shot) for shot in shots[row["subject"]]])
        for row in chosen
    ]
    return Asked(items, torch.tensor([row["answer"] for row in chosen]), [row["subject"] for row in chosen])


def some_subjects(count: int) -> tuple[str, ...]:
    """Seeded; all 57 at most."""
    subjects = {row["subject"] for row in rows("mmlu_dev")}
    return split(subjects, SEED, min(count, len(subjects)))[0]


def some(found: Sequence[dict], most: int) -> list[dict]:
    """At most so many, seeded."""
    named = {row["id"]: row for row in found}
    return [named[name] for name in split(named, SEED, min(most, len(named)))[0]]


def question(row: dict) -> Question:
    return Question(row["question"], tuple(row["choices"]), row["answer"])


def _by_subject(rows: Sequence[dict]) -> dict[str, list[dict]]:
    found: dict[str, list[dict]] = {}
    for row in rows:
        found.setdefault(row["subject"], []).append(row)
    return found


def rows(name: str) -> list[dict]:
    with gzip.open(DATA / f"{name}.jsonl.gz", "rt", encoding="utf-8") as file:
        return [json.loads(line) for line in file]
