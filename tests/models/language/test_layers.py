import pytest
import torch

from models.language.choices import score_next_token
from models.language.continuations import ChoiceItem
from models.language.layers import (
    CorrectionPhase,
    LayerFigures,
    correction_phase,
    layer_curve,
    layer_outputs,
    layer_states,
    recorded,
)
from models.language.multiple_choice import letters
from models.language.next_token import next_token_questions
from tests.oracles import language as oracle

ITEMS = [ChoiceItem(f"The sea is {'blue ' * number}Answer:", letters(2 + number % 3)) for number in range(9)]


def curve(eces, accuracies):
    return [
        LayerFigures(layer, accuracy, 0.5, ece, 0.5)
        for layer, (ece, accuracy) in enumerate(zip(eces, accuracies, strict=True), start=1)
    ]


def test_states_are_what_transformers_records_at_the_last_token(tiny):
    found = layer_states(tiny, next_token_questions(tiny, ITEMS), budget=16)
    assert found.shape == (4, 9, 32)
    for number, item in enumerate(ITEMS):
        before_the_last, _ = oracle.hidden_states(tiny.network, tiny.encode(item.prompt))
        assert torch.allclose(found[:-1, number], torch.stack(before_the_last), atol=1e-4)


def test_the_last_layer_answers_as_the_model_does(tiny):
    questions = next_token_questions(tiny, ITEMS)
    last = list(layer_outputs(tiny, layer_states(tiny, questions), questions.tokens))[-1]
    own = score_next_token(tiny, ITEMS)
    assert torch.allclose(last.logits, own.logits, atol=1e-5)
    assert torch.allclose(last.features, own.features, atol=1e-5)
    assert torch.equal(last.mask, own.mask)


def test_the_curve_counts_right_answers_and_confidence_among_the_choices_an_item_has(tiny):
    questions = next_token_questions(tiny, ITEMS)
    outputs = list(layer_outputs(tiny, layer_states(tiny, questions), questions.tokens))
    labels = outputs[1].masked(outputs[1].logits).argmax(dim=1)
    found = layer_curve(iter(outputs), labels)
    assert [each.layer for each in found] == [1, 2, 3, 4]
    assert found[1].accuracy == 1
    confidences = [float(row[: 2 + n % 3].softmax(dim=0).max()) for n, row in enumerate(outputs[1].logits)]
    assert found[1].confidence == pytest.approx(sum(confidences) / 9)
    assert found[1].ece == pytest.approx(1 - found[1].confidence, abs=1e-6)


def test_nothing_is_recorded_afterwards(tiny):
    with recorded(tiny.network) as record:
        tiny.network(input_ids=torch.tensor([[1, 2]]))
    tiny.network(input_ids=torch.tensor([[1, 2]]))
    assert [state.shape for state in record] == [(1, 2, 32)] * 4


def test_the_phase_is_what_follows_the_peak_of_ece_and_at_most_the_last_tenth():
    rise, fall = [0.1] * 16, [0.1, 0.5, 0.4, 0.3]
    assert correction_phase(curve([*rise, *fall], [0.4] * 20)) == CorrectionPhase(18, (19, 20))
    assert correction_phase(curve([*rise, 0.1, 0.2, 0.5, 0.3], [0.4] * 20)) == CorrectionPhase(19, (20,))


@pytest.mark.parametrize(
    ("eces", "accuracies"),
    [
        ([0.1, 0.2, 0.3, 0.4], [0.4] * 4),  # the peak is the last layer
        ([0.1, 0.2, 0.31, 0.3], [0.4] * 4),  # too small a fall
        ([0.1, 0.2, 0.5, 0.3], [0.2, 0.2, 0.3, 0.4]),  # the answers change meanwhile
    ],
)
def test_no_phase_is_forced(eces, accuracies):
    assert correction_phase(curve(eces, accuracies)) is None
