"""What the language benchmarks compute of their own: the plain ways, the questions, the comparison."""

import pytest
import torch

from models.language.continuations import ChoiceItem
from models.language.multiple_choice import letters
from tests.benchmarks.language import comparison
from tests.benchmarks.language.choices import LOOP, WAYS, timed
from tests.benchmarks.language.few_shot import subject_gap
from tests.benchmarks.language.loss_rank import Passes
from tests.benchmarks.language.mmlu import Asked, asked, some_subjects
from tests.benchmarks.language.usefulness import difference, verdict
from tests.models.language.tiny_model import tiny, tiny_folder, tiny_source

__all__ = ["tiny", "tiny_folder", "tiny_source"]

ITEMS = [ChoiceItem(f"The sea is {'blue ' * number}Answer:", letters(4)) for number in range(10)]
ASKED = Asked(ITEMS, torch.arange(10) % 4, ["sea"] * 10)


@pytest.mark.parametrize("name", sorted(WAYS.keys() - {LOOP}))
def test_every_way_gives_the_answers_of_the_loop(tiny, name):
    expected = timed(WAYS[LOOP], tiny, ASKED).answers
    assert torch.allclose(timed(WAYS[name], tiny, ASKED).answers, expected, atol=1e-4)


@pytest.mark.data
def test_questions_have_five_solved_ones_of_their_subject_before_them():
    (subject,) = some_subjects(1)
    found = asked("mmlu_val", [subject], 3)
    assert len(found.items) == len(found.labels) == 3
    for item in found.items:
        assert item.prompt.startswith("The following are multiple choice questions (with answers) about")
        assert item.prompt.count("\nAnswer:") == 6
        assert item.prompt.endswith("\nAnswer:")


def test_the_gain_is_how_much_lower_the_first_way_s_ece_is_than_the_mean_of_the_other_s():
    sure, right = torch.full((50,), 0.9), torch.ones(50, dtype=torch.bool)
    judged = {
        comparison.DIRECTION: [comparison.Judged(sure, right)],
        comparison.RANDOM: [comparison.Judged(torch.full((50,), each), right) for each in (0.5, 0.7)],
    }
    assert comparison.gain(judged, comparison.DIRECTION, comparison.RANDOM).value == pytest.approx(0.3, abs=1e-6)


def test_the_comparison_tells_errors_and_the_change_of_accuracy_on_the_same_rows():
    sure = torch.full((40,), 0.7)
    before, after = (comparison.Judged(sure, torch.arange(40) < right) for right in (20, 24))
    ece, mce, accuracy, change, confidence = after.row(before)
    assert (accuracy, confidence) == ("0.600", "0.700")
    assert ece.startswith("0.100 (")
    assert mce.startswith("0.100 (")
    assert change.startswith("+0.100 (+")
    assert before.row(before)[3] == ""


def test_a_gap_is_the_mean_over_subjects_of_confidence_off_accuracy():
    domains = torch.tensor([0, 0, 0, 0, 1, 1])
    correct = torch.tensor([True, True, False, False, False, False])
    assert subject_gap(torch.full((6,), 0.8), correct, domains) == pytest.approx((0.3 + 0.8) / 2)


def test_a_score_that_ranks_better_has_a_positive_difference():
    wrong = torch.arange(60) < 30
    good, poor = -torch.arange(60.0), torch.zeros(60)
    assert difference(good, poor, wrong).value == pytest.approx(0.5)
    assert "good against the best of theirs, poor" in (said := verdict({"good": good}, {"poor": poor}, wrong))
    assert said.endswith("ours is better.")


def test_every_pass_has_every_row_once_in_another_order():
    rows = torch.arange(20.0)
    views = Passes(rows[:, None], rows, rows.long())
    first, second = (views.read(start, start + 20).losses for start in (0, 20))
    assert torch.equal(first.sort().values, rows)
    assert torch.equal(second.sort().values, rows)
    assert not torch.equal(first, second)
