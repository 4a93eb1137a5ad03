"""Questions with their choices and the right one: what language models are calibrated on and judged by."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from models.data.dataset import Dataset, Source
from models.data.inspection import Findings, Inspection

FEWEST_CHOICES, MOST_CHOICES, MOST_LETTERS = 2, 64, 26


@dataclass(frozen=True, slots=True)
class AskedQuestion:
    """`answer` is the place of the right choice, which is the only one where a row has a reference answer alone.

    The `text` of a `lettered` one is a question without its choices, which are to be put below it as A, B, …; else it
    is the whole prompt, and one of the choices follows it as it is. The `subject` is named before a lettered one, and
    the `task` is what it has a temperature by.
    """

    text: str
    choices: tuple[str, ...]
    answer: int
    task: str | None
    lettered: bool
    subject: str | None = None


class AskedDataset(Dataset):
    """Rows are asked of a language model; labels are the places of the right choices."""

    def __init__(self, source: Source, questions: Mapping[str, AskedQuestion], findings: Findings) -> None:
        super().__init__(source, {name: question.answer for name, question in questions.items()}, findings)
        self._questions = questions

    def questions(self, names: Sequence[str]) -> list[AskedQuestion]:
        """Those of these rows, in that order."""
        return [self._questions[name] for name in names]

    def tasks(self) -> dict[str, int]:
        """Rows on offer by task, in the order of names; those without a task are not counted."""
        found = Counter(question.task for question in self.questions(self.names) if question.task is not None)
        return dict(sorted(found.items()))

    def inspect(self) -> Inspection:
        """Every row was checked when the file was read."""
        return self.findings.inspection(self.labels)


class QuestionDataset(AskedDataset):
    """Rows have choices, all of them lettered or none."""

    kind = "questions"

    @property
    def lettered(self) -> bool:
        return next(iter(self._questions.values())).lettered


class CompletionDataset(AskedDataset):
    """Rows are prompts with a reference answer."""

    kind = "completions"
