import pytest
import torch

from models.language import anatomy
from models.language.choices import score_next_token
from models.language.continuations import ChoiceItem
from models.language.direction import (
    CalibrationDirection,
    SweepPoint,
    best_point,
    calibration_direction,
    control_edits,
    edited_outputs,
)
from models.language.edits import Edits, edited_states
from models.language.layers import CorrectionPhase, LayerFigures, layer_states
from models.language.multiple_choice import letters
from models.language.next_token import next_token_questions
from models.language.tree_forward import states_at
from tests.oracles import language as oracle

ITEMS = [ChoiceItem(f"The sea is {'blue ' * number}Answer:", letters(2 + number % 3)) for number in range(6)]
LABELS = torch.tensor([0, 1, 2, 0, 1, 2])


@pytest.fixture(scope="module")
def questions(tiny):
    return next_token_questions(tiny, ITEMS)


@pytest.fixture(scope="module")
def direction(tiny, questions):
    return calibration_direction(layer_states(tiny, questions), CorrectionPhase(2, (3, 4)))


def test_is_the_mean_of_the_changes_of_the_mean_stream_each_of_length_one(tiny, direction):
    streams = [oracle.hidden_states(tiny.network, tiny.encode(item.prompt))[0] for item in ITEMS]
    second, third = (torch.stack([stream[layer - 1] for stream in streams]).mean(dim=0) for layer in (2, 3))
    found = calibration_direction(layer_states(tiny, next_token_questions(tiny, ITEMS)), CorrectionPhase(2, (3,)))
    assert torch.allclose(found.vector, torch.nn.functional.normalize(third - second, dim=0), atol=1e-5)
    assert found.agreement == pytest.approx(1)
    assert 0 < direction.agreement < 1
    assert float(direction.vector.norm()) == pytest.approx(1)
    assert found.scale(2) == pytest.approx(sum(float(stream[1].norm()) for stream in streams) / 6, rel=1e-5)


def test_a_step_of_nothing_is_bit_for_bit_no_change(tiny, questions, direction):
    nothing, something = edited_states(tiny, questions, 3, direction.edits(3, [0.0, 0.2]))
    without = edited_states(tiny, questions, 3, direction.edits(3, [0.0, 0.0]))[0]
    nodes, places = questions.nodes()
    assert torch.equal(nothing, without)
    assert torch.allclose(nothing, states_at(tiny.network, questions.tree, nodes)[places], atol=1e-5)
    assert not torch.allclose(something, nothing, atol=1e-2)
    states = torch.randn(5, 32)
    assert torch.equal(direction.edits(3, [0.0]).applied(states, torch.zeros(5, dtype=torch.int64)), states)


@pytest.mark.parametrize("layer", [1, 3, 4])
@pytest.mark.parametrize("budget", [8, 256])
def test_each_change_gives_what_one_plain_pass_with_it_gives(tiny, questions, direction, layer, budget):
    edits = Edits(
        torch.stack([direction.vector, -direction.vector, direction.vector]),
        torch.tensor([1.5, 0.5, 0.0]),
        torch.tensor([False, False, True]),
    )
    found = edited_states(tiny, questions, layer, edits, budget)
    for number, item in enumerate(ITEMS):
        for place in range(3):
            expected = _plain_pass(tiny, tiny.encode(item.prompt), layer, edits, place)
            assert torch.allclose(found[place, number], expected, atol=1e-4)


def _plain_pass(tiny, tokens, layer, edits, place):
    vector, step, removed = edits.vectors[place], float(edits.steps[place]), bool(edits.removed[place])

    def change(_block, _inputs, output):
        last = output[0, -1]
        output[0, -1] = last + step * vector - (removed * (last @ vector)) * vector
        return output

    handle = anatomy.blocks(tiny.network)[layer - 1].register_forward_hook(change)
    try:
        return oracle.hidden_states(tiny.network, tokens)[1]
    finally:
        handle.remove()


def test_the_network_is_left_as_it_was(tiny, questions, direction):
    before = score_next_token(tiny, ITEMS).logits
    edited_outputs(tiny, questions, 3, direction.edits(3, [0.5]))
    assert torch.equal(score_next_token(tiny, ITEMS).logits, before)


def test_the_best_point_does_not_pay_with_accuracy():
    def point(step, ece, accuracy):
        return SweepPoint(3, step, LayerFigures(4, accuracy, 0.5, ece, 0.5))

    assert best_point([point(0, 0.3, 0.5), point(0.1, 0.2, 0.496), point(0.2, 0.1, 0.49)]).step == 0.1
    assert best_point([point(-0.1, 0.3, 0.5), point(0, 0.3, 0.5), point(0.1, 0.3, 0.5)]).step == 0


def test_controls_have_the_step_s_length_and_ablation_leaves_nothing_along_the_direction():
    vector = torch.nn.functional.normalize(torch.arange(1.0, 9.0), dim=0)
    direction = CalibrationDirection(vector, 0.9, torch.tensor([2.0, 4.0]))
    controls = control_edits(direction, layer=2, step=0.25, seed=0)
    states = torch.randn(20, 8, generator=torch.Generator().manual_seed(1))
    moved = controls["random"].applied(states, torch.arange(20)) - states
    assert torch.allclose(moved.norm(dim=1), torch.ones(20), atol=1e-5)
    assert len(torch.unique(moved, dim=0)) == 20
    first = torch.zeros(20, dtype=torch.int64)
    assert torch.allclose(controls["opposite"].applied(states, first), states - vector, atol=1e-6)
    assert torch.allclose(controls["ablated"].applied(states, first) @ vector, torch.zeros(20), atol=1e-5)


@pytest.mark.parametrize("layer", [0, 5])
def test_a_layer_that_is_not_there_is_refused(tiny, questions, direction, layer):
    with pytest.raises(ValueError, match="1 to 4"):
        edited_states(tiny, questions, layer, direction.edits(1, [0.1]))


def test_a_phase_from_the_first_layer_on_is_refused(tiny, questions):
    with pytest.raises(ValueError, match="layer 2 or later"):
        calibration_direction(layer_states(tiny, questions), CorrectionPhase(1, (1, 2)))
