"""Readings on disk are those of the model, whoever made them and however often he was ended."""

import pytest
import safetensors.torch
import torch

from models.core.prompt_spec import Readout
from models.language.reading import ResidualStep, read_items
from models.training.prompts import kept_readings
from models.training.prompts.kept_readings import KeptReadings, step_digest
from tests.fixtures.questions import lettered_rows, prompt_rows

OF_GRADIENTS = ("own.energies", "own.layers")
STEP = ResidualStep(torch.nn.functional.normalize(torch.arange(32.0), dim=0), 2, 3.0)


@pytest.fixture(autouse=True)
def small_chunks(monkeypatch):
    monkeypatch.setattr(kept_readings, "CHUNK", 4)


@pytest.fixture
def read(monkeypatch):
    """How many items each call to the model had."""
    counts = []

    def counted(model, items, *given, **options):
        counts.append(len(items))
        return read_items(model, items, *given, **options)

    monkeypatch.setattr(kept_readings, "read_items", counted)
    return counts


def test_it_is_what_the_model_reads_in_any_order(tiny, rows_of, tmp_path):
    rows = rows_of(lettered_rows(6))
    kept = KeptReadings(tmp_path / "kept", rows, Readout.NEXT_TOKEN, STEP)
    assert list(kept.fill(tiny)) == [(4, {}), (6, {})]
    names = ("row 6", "row 1", "row 5")
    found, expected = kept.take(names), read_items(tiny, rows.named(names).items, Readout.NEXT_TOKEN, STEP)
    for part in ("outputs", "moved"):
        one, other = getattr(found, part), getattr(expected, part)
        assert torch.equal(one.mask, other.mask)
        torch.testing.assert_close(one.logits, other.logits, atol=1e-4, rtol=0)
        torch.testing.assert_close(one.features, other.features, atol=1e-4, rtol=0)
    assert not torch.equal(found.outputs.logits, found.moved.logits)
    assert found.tasks == ("the sand", "the sea", "the sea")


def test_gradients_are_kept_where_the_model_gives_them(tiny, rows_of, tmp_path):
    given = [{"prompt": f"number {n}. Answer:", "choices": [" A", " B"], "answer": 0} for n in range(10)]
    for row in given[:4]:  # a whole chunk
        row["choices"] = [" A", " is blue"]
    rows = rows_of(given)
    kept = KeptReadings(tmp_path / "kept", rows, Readout.NEXT_TOKEN)
    assert [len(bad) for _, bad in kept.fill(tiny)] == [4, 0, 0]
    names = kept.readable(rows.names)
    found, expected = kept.take(names), read_items(tiny, rows.named(names).items, Readout.NEXT_TOKEN, gradients=True)
    ours, theirs = found.outputs.gradients, expected.outputs.gradients
    torch.testing.assert_close(ours.energies, theirs.energies, atol=1e-4, rtol=1e-3)
    assert ours.layers == theirs.layers
    last = max((tmp_path / "kept").iterdir())  # as an earlier release left it
    tensors = safetensors.torch.load_file(last)
    safetensors.torch.save_file({key: tensors[key] for key in tensors if key not in OF_GRADIENTS}, last)
    assert KeptReadings(kept.folder, rows, Readout.NEXT_TOKEN).take(names).outputs.gradients is None


def test_nothing_is_read_twice(tiny, rows_of, tmp_path, read):
    rows = rows_of(prompt_rows(10))
    begun = KeptReadings(tmp_path / "kept", rows, Readout.TEXT).fill(tiny)
    assert next(begun) == (4, {})
    again = KeptReadings(tmp_path / "kept", rows, Readout.TEXT)
    assert [done for done, _ in again.fill(tiny)] == [4, 8, 10]
    assert read == [4, 4, 2]
    assert list(KeptReadings(tmp_path / "kept", rows, Readout.TEXT).fill(tiny))[-1] == (10, {})
    assert read == [4, 4, 2]


def test_rows_that_cannot_be_read_are_left_out_with_the_reason(tiny, rows_of, tmp_path):
    rows = [{"prompt": f"number {n}. Answer:", "choices": [" A", " B"], "answer": 0} for n in range(9)]
    rows[1]["prompt"] = "the sea " * 200
    for number in range(4, 8):  # a whole chunk
        rows[number]["choices"] = [" A", " is blue"]
    kept = KeptReadings(tmp_path / "kept", rows_of(rows), Readout.NEXT_TOKEN)
    bad = {place: reason for _, more in kept.fill(tiny) for place, reason in more.items()}
    assert bad.keys() == {1, 4, 5, 6, 7}
    assert bad[1].startswith("402 tokens with the choice, the model's context is 256")
    assert bad[4].startswith("not every choice is one token")
    assert kept.readable(("row 9", "row 2", "row 5", "row 4")) == ("row 9", "row 4")
    expected = read_items(tiny, [kept.rows.items[8], kept.rows.items[3]], Readout.NEXT_TOKEN).outputs.logits
    torch.testing.assert_close(kept.take(("row 9", "row 4")).outputs.logits, expected, atol=1e-4, rtol=0)


def test_a_step_has_its_own_name():
    assert step_digest(STEP) == step_digest(ResidualStep(STEP.vector.clone(), 2, 3.0))
    others = (
        None,
        ResidualStep(STEP.vector, 3, 3.0),
        ResidualStep(STEP.vector, 2, 3.1),
        ResidualStep(-STEP.vector, 2, 3.0),
    )
    assert len({step_digest(STEP), *map(step_digest, others)}) == 5
