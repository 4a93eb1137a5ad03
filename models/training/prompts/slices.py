"""Rows by slice, which is their task: what a few-shot recalibrator is fitted on, and what it is judged by."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

import torch
from torch import Tensor

from models.core.errors import DataError
from models.language.few_shot_recalibration import DomainRows, FewShotRecalibrator, read_curves
from models.language.layer_study_comparison import Judged
from models.language.pipeline import LanguagePipeline
from models.training.prompts.version import PromptPart, served_outputs

FEWEST_SLICES = 2


def slices_of(tasks: Sequence[str | None], shown: int, role: str) -> tuple[str, ...]:
    """The tasks of these rows of which some are left when `shown` were. Raises DataError for fewer than two."""
    counts = Counter(task for task in tasks if task is not None)
    found = tuple(sorted(task for task, rows in counts.items() if rows > shown))
    if len(found) < FEWEST_SLICES:
        raise DataError(
            f"{len(found)} tasks have more than {shown} rows to {role} on, at least {FEWEST_SLICES} are needed: send"
            " more rows of each task, and name it in their `task` or `subject`"
        )
    return found


@dataclass(frozen=True, slots=True)
class SlicedRows:
    """N rows of slices with more rows than are `shown` of each; the domains of `rows` are places in `slices`."""

    slices: tuple[str, ...]
    rows: DomainRows
    shown: int

    @classmethod
    def of(cls, serves: LanguagePipeline, part: PromptPart, shown: int) -> Self:
        """With the confidences of the version that `serves`. Raises DataError for fewer than two slices."""
        slices = slices_of(part.serving.tasks, shown, part.part.role)
        numbers = {task: number for number, task in enumerate(slices)}
        domains = torch.tensor([-1 if task is None else numbers.get(task, -1) for task in part.serving.tasks])
        kept = (domains >= 0).nonzero()[:, 0]
        outputs = served_outputs(serves, part).take(kept)
        judged = Judged.of(outputs.calibrated_log_probabilities(), part.labels[kept])
        confidence = judged.confidence.clamp(max=1)
        rows = DomainRows(confidence, outputs.require_features(), judged.correct, domains[kept])
        return cls(slices, rows, shown)

    def shown_rows(self, number: int) -> Tensor:
        """(shown,): places of the rows of a slice that are read without their labels."""
        return self._places(number)[: self.shown]

    def judged_rows(self, number: int) -> Tensor:
        """Places of the others."""
        return self._places(number)[self.shown :]

    def recalibrated(self, method: FewShotRecalibrator) -> Tensor:
        """(N,) chances of being right: those of a slice are by its curve, which is read from the rows shown of it."""
        rows, found = self.rows, self.rows.confidences.clone()
        for number in range(len(self.slices)):
            some, here = self.shown_rows(number), self._places(number)
            curve = method.curve(rows.confidences[some], rows.embeddings[some])
            found[here] = read_curves(curve, rows.confidences[here])
        return found

    def _places(self, number: int) -> Tensor:
        return (self.rows.domains == number).nonzero()[:, 0]
