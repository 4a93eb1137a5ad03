"""The labelled sets as prompts, what is kept of their answers, and steps along the direction from what was kept."""

import pytest
import torch

from models.language.continuations import ChoiceItem
from models.language.direction import STEPS, CalibrationDirection, control_edits, edited_outputs
from models.language.layers import layer_figures
from models.language.multiple_choice import letters
from tests.benchmarks.language import parts as parts_module
from tests.benchmarks.language.comparison import joined
from tests.benchmarks.language.mmlu import Asked
from tests.benchmarks.language.parts import kept, part
from tests.benchmarks.language.sets import FIT, REPORT, SETS, parts
from tests.benchmarks.language.sweeping import answers_under, swept
from tests.models.language.tiny_model import tiny, tiny_folder, tiny_source

__all__ = ["tiny", "tiny_folder", "tiny_source"]

ITEMS = [ChoiceItem(f"The sea is {'blue ' * number}Answer:", letters(4)) for number in range(10)]
ASKED = Asked(ITEMS, torch.arange(10) % 4, ["sea"] * 10)
DIRECTION = CalibrationDirection(torch.nn.functional.normalize(torch.arange(32.0), dim=0), 1.0, torch.full((4,), 3.0))


@pytest.fixture
def found(tiny, tmp_path, monkeypatch):
    monkeypatch.setattr(parts_module, "BUILD", tmp_path)
    return part(tiny, ASKED)


def test_what_was_made_once_is_read_again_for_the_same_prompts_only(tiny, tmp_path, monkeypatch):
    monkeypatch.setattr(parts_module, "BUILD", tmp_path)
    first = kept(tiny, ITEMS, "states", lambda: torch.arange(3.0))
    assert torch.equal(kept(tiny, ITEMS, "states", lambda: torch.zeros(3)), first)
    assert torch.equal(kept(tiny, ITEMS[:9], "states", lambda: torch.zeros(3)), torch.zeros(3))


@pytest.mark.parametrize("layer", [2, 4])
def test_steps_from_the_kept_streams_give_what_a_pass_with_them_gives(tiny, found, layer):
    edits = joined([DIRECTION.edits(layer, [0.3]), *control_edits(DIRECTION, layer, 0.3, seed=0).values()])
    expected = edited_outputs(tiny, found.questions, layer, edits)
    for answers, plain in zip(answers_under(tiny, found, layer, edits), expected, strict=True):
        assert torch.allclose(answers.logits, plain.logits, atol=1e-4)


def test_the_answers_of_the_best_step_come_with_it(tiny, found):
    best = swept(tiny, found, DIRECTION, [3, 4])
    assert len(best.points) == 2 * len(STEPS)
    assert layer_figures(4, best.answers, found.labels) == best.chosen.figures
    assert best.chosen.figures.ece <= min(point.figures.ece for point in best.points if point.step == 0)


@pytest.mark.data
@pytest.mark.parametrize("name", sorted(SETS))
def test_fit_report_and_solved_questions_are_disjoint_and_each_answer_is_shown_as_often(name):
    found = parts(name)
    assert (len(found.fit.items), len(found.report.items)) == (FIT, REPORT)
    prompts = {item.prompt for item in (*found.fit.items, *found.report.items)}
    assert len(prompts) == FIT + REPORT
    *solved, _ = found.report.items[0].prompt.split("\n\n")
    choices = found.report.items[0].choices
    endings = [[each.removesuffix(choice) for each in solved if each.endswith(f":{choice}")] for choice in choices]
    assert [len(each) for each in endings] == [SETS[name].shots] * len(choices)
    assert not any(item.prompt.endswith(ending) for each in endings for ending in each for item in found.fit.items)
