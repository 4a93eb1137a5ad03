"""The labelled sets as prompts, and what is kept of what was read of them."""

import pytest
import torch

from models.language.continuations import ChoiceItem
from models.language.multiple_choice import letters
from tests.benchmarks.language import parts as parts_module
from tests.benchmarks.language.parts import kept
from tests.benchmarks.language.sets import FIT, REPORT, SETS, parts
from tests.models.language.tiny_model import tiny, tiny_folder, tiny_source

__all__ = ["tiny", "tiny_folder", "tiny_source"]

ITEMS = [ChoiceItem(f"The sea is {'blue ' * number}Answer:", letters(4)) for number in range(10)]


def test_what_was_made_once_is_read_again_for_the_same_prompts_only(tiny, tmp_path, monkeypatch):
    monkeypatch.setattr(parts_module, "BUILD", tmp_path)
    first = kept(tiny, ITEMS, "states", lambda: torch.arange(3.0))
    assert torch.equal(kept(tiny, ITEMS, "states", lambda: torch.zeros(3)), first)
    assert torch.equal(kept(tiny, ITEMS[:9], "states", lambda: torch.zeros(3)), torch.zeros(3))


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
