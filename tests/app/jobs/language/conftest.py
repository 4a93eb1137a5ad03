"""A store whose model `tiny` is a tiny language model that nothing was fitted for, and questions that it half knows.

Its version serves in one precision only: that is enough here, and quick.
"""

import shutil
from dataclasses import replace

import pytest
import torch

from models.core.checkpoint import Version
from models.core.golden import Golden
from models.core.prompt_spec import Readout
from models.core.store import CheckpointStore
from models.data.open_dataset import open_dataset
from models.language.causal_lm import load_causal_lm
from models.language.reading import read_items
from models.language.registration import register_language
from models.training.prompts.rows import QuestionRows
from tests.fixtures.questions import jsonl, lettered_rows
from tests.models.language.tiny_model import tiny_source

__all__ = ["tiny_source"]
ROWS = 120
PRECISION = "float32"


@pytest.fixture(autouse=True)
def one_thread(monkeypatch):
    monkeypatch.setenv("HOWSURE_THREADS", "1")


@pytest.fixture(scope="session")
def language_root(tiny_source, tmp_path_factory):
    root = tmp_path_factory.mktemp("languages") / "store"
    store = CheckpointStore(root)
    found = store.read("both", register_language(store, "both", tiny_source))
    manifest = replace(found.manifest, precisions=(PRECISION,))
    golden = Golden(found.golden.seeds, {PRECISION: found.golden.rows[PRECISION]})
    store.activate("tiny", store.publish("tiny", Version(manifest, {}, golden)), actor="test", reason="first")
    return root


@pytest.fixture
def store(language_root, tmp_path):
    shutil.copytree(language_root, tmp_path / "store")
    return CheckpointStore(tmp_path / "store")


@pytest.fixture(scope="session")
def language(language_root):
    store = CheckpointStore(language_root)
    folder = store.language_folder(store.read_manifest("tiny", 1).backbone.sha256)
    return load_causal_lm(folder, torch.device("cpu"), PRECISION)


@pytest.fixture(scope="session")
def questions(language, tmp_path_factory):
    """The bytes of lettered questions whose answers are drawn from the model's own letters, made much less sure."""
    rows = lettered_rows(ROWS)
    path = tmp_path_factory.mktemp("questions") / "questions.jsonl"
    path.write_bytes(jsonl(rows))
    outputs = read_items(language, QuestionRows.of(open_dataset(path)).items, Readout.NEXT_TOKEN).outputs
    drawn = (outputs.masked(outputs.logits) / 4).softmax(dim=1)
    answers = torch.multinomial(drawn, 1, generator=torch.Generator().manual_seed(0))[:, 0].tolist()
    return jsonl([{**row, "answer": answer} for row, answer in zip(rows, answers, strict=True)])


@pytest.fixture
def question_job(staged_job, questions):
    """`question_job(type, content, **params)`: on the questions, or on others."""

    def question_job(type="calibrate", content=questions, **params):
        return staged_job(content, type, name="questions.jsonl", **params)

    return question_job
