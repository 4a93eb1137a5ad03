"""Which rows make a slice, which of them are shown, and whose confidences they have."""

import pytest
import torch

from models.core.errors import DataError
from models.core.prompt_spec import PromptSpec, Readout
from models.language.calibrators import prompt_calibrator
from models.language.few_shot_recalibration import DomainRows, FewShotPlan, FewShotRecalibrator, read_curves
from models.language.pipeline import LanguagePipeline, language_dimensions
from models.language.reading import read_items
from models.training.build import Part
from models.training.labelled_outputs import LabelledOutputs
from models.training.prompts.slices import SlicedRows, slices_of
from models.training.prompts.version import PromptPart
from tests.fixtures.questions import lettered_rows

TASKS = ["b", None, "a", "b", "small", "a", "b", "a"]


def test_a_slice_has_rows_left_when_some_were_shown():
    assert slices_of(TASKS, 2, "fit") == ("a", "b")
    with pytest.raises(DataError, match="0 tasks have more than 3 rows to fit on, at least 2 are needed: send more"):
        slices_of(TASKS, 3, "fit")


@pytest.fixture
def part(tiny, rows_of):
    """As many rows as there are tasks, read by the tiny model; every answer is the second choice."""
    rows = rows_of(
        [{**row, "answer": 1, "subject": task or "none"} for row, task in zip(lettered_rows(8), TASKS, strict=True)]
    )
    reading = read_items(tiny, rows.items, Readout.NEXT_TOKEN, tasks=TASKS)
    found = Part("made up", "0" * 64, "report", rows.names, LabelledOutputs(reading.outputs, rows.labels))
    return PromptPart(found, reading, reading)


def test_rows_are_those_of_slices_as_the_version_answers_them(tiny, part):
    prompts = PromptSpec(Readout.NEXT_TOKEN)
    hot = prompt_calibrator("temperature", language_dimensions(tiny), prompts)
    hot.load_state({"temperature": torch.tensor(3.0)})
    sliced = SlicedRows.of(LanguagePipeline(tiny, prompts, hot, {}), part, 2)
    places = [0, 2, 3, 5, 6, 7]
    outputs = part.serving.outputs
    expected = (outputs.masked(outputs.logits)[places] / 3).softmax(dim=1).max(dim=1)
    assert torch.allclose(sliced.rows.confidences, expected.values, atol=1e-6)
    assert sliced.rows.correct.tolist() == (expected.indices == 1).tolist()
    assert torch.equal(sliced.rows.embeddings, outputs.require_features()[places])
    assert sliced.rows.domains.tolist() == [1, 0, 1, 0, 1, 0]
    assert (sliced.shown_rows(1).tolist(), sliced.judged_rows(1).tolist()) == ([0, 2], [4])
    assert (sliced.shown_rows(0).tolist(), sliced.judged_rows(0).tolist()) == ([1, 3], [5])


def test_each_slice_has_a_curve_of_the_rows_shown_of_it_alone():
    generator = torch.Generator().manual_seed(0)
    confidences, embeddings = torch.rand(20, generator=generator), torch.randn(20, 4, generator=generator)
    rows = DomainRows(confidences, embeddings, confidences > 0.5, torch.arange(20) % 2)
    plan = FewShotPlan(shown=3, steps=5, directions=2)
    method = FewShotRecalibrator.fit(rows, plan)
    found = SlicedRows(("a", "b"), rows, 3).recalibrated(method)
    for number in (0, 1):
        own = confidences[number::2]
        curve = method.curve(own[:3], embeddings[number::2][:3])
        assert torch.equal(found[number::2], read_curves(curve, own))
    assert not torch.equal(found, confidences)
