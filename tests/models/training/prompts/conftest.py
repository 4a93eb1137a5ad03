"""The tiny language model, and rows for it."""

import pytest

from models.data.open_dataset import open_dataset
from models.training.prompts.rows import QuestionRows
from tests.fixtures.questions import jsonl
from tests.models.language.tiny_model import tiny, tiny_folder, tiny_source

__all__ = ["tiny", "tiny_folder", "tiny_source"]


@pytest.fixture
def rows_of(tmp_path):
    """`rows_of(rows)`: as a job sees them."""

    def rows_of(rows):
        (tmp_path / "q.jsonl").write_bytes(jsonl(rows))
        return QuestionRows.of(open_dataset(tmp_path / "q.jsonl"))

    return rows_of
