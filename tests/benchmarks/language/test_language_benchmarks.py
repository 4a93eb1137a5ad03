"""What the language benchmarks compute of their own: the plain ways, the questions, the comparison."""

import pytest
import torch

from models.language.continuations import ChoiceItem
from models.language.layer_study_comparison import NOTHING, RANDOM, TEMPERATURE, Judged
from models.language.multiple_choice import letters
from tests.benchmarks.language import parts as parts_module
from tests.benchmarks.language.choices import LOOP, WAYS, timed
from tests.benchmarks.language.comparison import CONTROLS, OTHERS, aim_words, comparison_table, with_other_calibrators
from tests.benchmarks.language.epistemic_forms import LAST, LAYERS, cost, of_set
from tests.benchmarks.language.few_shot import subject_gap
from tests.benchmarks.language.loss_rank import PARAMS, trained
from tests.benchmarks.language.mmlu import Asked, asked, some_subjects
from tests.benchmarks.language.parts import part
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


@pytest.fixture
def found(tiny, tmp_path, monkeypatch):
    monkeypatch.setattr(parts_module, "BUILD", tmp_path)
    return part(tiny, ASKED)


def judged(confidence, right):
    return Judged(torch.full((40,), confidence), torch.arange(40) < right)


def test_the_comparison_tells_errors_and_the_change_of_accuracy_on_the_same_rows():
    ways = {NOTHING: [judged(0.7, 20)], TEMPERATURE: [judged(0.7, 24)], RANDOM: [judged(0.7, 20), judged(0.9, 20)]}
    rows = comparison_table(ways).rows
    assert list(rows) == [NOTHING, TEMPERATURE, "random (2 directions)"]
    assert rows[NOTHING][1:4] == ["0.200", "0.500", "0.700"]
    assert rows[NOTHING][4] == "+0.000 (+0.000 to +0.000)"
    ece, mce, accuracy, _, change = rows[TEMPERATURE]
    assert (mce, accuracy) == ("0.100", "0.600")
    assert ece.startswith("0.100 (")
    assert change.startswith("+0.100 (+")
    assert rows["random (2 directions)"][0] == "0.300 (0.200 to 0.400 of them)"


def test_the_aim_is_asked_of_every_way_but_the_controls():
    ways = {NOTHING: [judged(0.7, 20)], TEMPERATURE: [judged(0.5, 20)]} | {name: [judged(0.5, 20)] for name in CONTROLS}
    assert aim_words(ways) == "Aim of ECE at most 0.05: nothing 0.200 (not met), temperature 0.000 (met)."


def test_every_calibrator_of_logits_stands_beside_the_ways_of_a_study(found):
    own = Judged.of(found.answers().log_probabilities(), found.labels)
    ways = with_other_calibrators({NOTHING: [own], TEMPERATURE: [own], "direction": [own]}, found, found)
    assert list(ways) == [NOTHING, TEMPERATURE, *OTHERS, "direction"]
    assert {"beta", "vector", "g_layers"} <= OTHERS.keys()
    (vector,) = ways["vector"]
    assert vector.figures()["ece"] < own.figures()["ece"]


def test_a_head_is_trained_as_long_as_the_job_trains_it_by_itself(found):
    steps = -(-len(ITEMS) * PARAMS["views"] // 256) * PARAMS["passes"]
    assert trained(found).curve[-1].step == steps


def test_forms_of_the_epistemic_score_stand_beside_the_plain_scores(tiny):
    outputs, more = cost(tiny, ASKED)
    table, said = of_set("sea", outputs, outputs.logits.argmax(dim=1).where(torch.arange(10) % 2 == 0, -1))
    assert said == "10 questions, accuracy 0.500"
    assert table.rows[LAYERS][2] == "1.000"
    assert table.rows[LAST][1] is None
    assert more > -1


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
