import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from models.calibration.top_label import bounded_log_odds, top_label, with_log_odds
from models.core.outputs import ModelOutputs
from tests.oracles.calibration import respread

ROWS = 3 * torch.randn(40, 5, generator=torch.Generator().manual_seed(0))


def changed(logits, confidence, mask=None):
    outputs = ModelOutputs(logits, mask=mask)
    log_odds = torch.logit(torch.full((len(logits),), confidence, dtype=torch.float64))
    return with_log_odds(outputs, top_label(outputs), log_odds)


def test_log_odds_are_those_of_the_largest_probability():
    top = top_label(ModelOutputs(ROWS))
    confidence = ROWS.double().softmax(dim=1).amax(dim=1)
    torch.testing.assert_close(top.log_odds.sigmoid(), confidence, rtol=1e-6, atol=0)
    assert torch.equal(top.index, ROWS.argmax(dim=1))


@pytest.mark.parametrize("confidence", [0.6, 0.9, 0.999])
def test_the_others_share_the_rest_in_their_old_proportions(confidence):
    found = changed(ROWS, confidence).calibrated_log_probabilities().exp()
    expected = [respread(row, confidence) for row in ROWS.double().softmax(dim=1).tolist()]
    torch.testing.assert_close(found, torch.tensor(expected), rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize("confidence", [1e-9, 0.05, 0.3])
def test_a_low_confidence_stops_at_the_runner_up(confidence):
    calibrated = changed(ROWS, confidence)
    found = calibrated.calibrated_log_probabilities().exp()
    assert torch.equal(calibrated.calibrated.argmax(dim=1), ROWS.argmax(dim=1))
    lowest = torch.tensor([respread(row, confidence) for row in ROWS.double().softmax(dim=1).tolist()]).amax(dim=1)
    stopped = found.amax(dim=1) > confidence + 1e-6
    assert stopped.any()
    two = found[stopped].topk(2, dim=1).values
    torch.testing.assert_close(two[:, 0], two[:, 1], rtol=1e-5, atol=0)
    assert bool((lowest[stopped] > confidence).all())


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.lists(st.floats(-1e4, 1e4, width=32), min_size=3, max_size=3), min_size=1, max_size=4),
    st.floats(-50, 50),
)
def test_logits_are_finite_and_the_label_stays(rows, log_odds):
    outputs = ModelOutputs(torch.tensor(rows))
    found = with_log_odds(outputs, top_label(outputs), torch.full((len(rows),), log_odds, dtype=torch.float64))
    assert found.calibrated.dtype == torch.float32
    assert bool(found.calibrated.isfinite().all())
    assert torch.equal(found.calibrated.argmax(dim=1), outputs.logits.argmax(dim=1))


def test_absent_choices_are_no_runner_up_and_take_no_share():
    logits = torch.tensor([[0.0, 90.0, 1.0, 0.5], [9.0, 90.0, torch.inf, torch.nan]])
    mask = torch.tensor([[True, False, True, True], [True, False, False, False]])
    found = changed(logits, 0.7, mask)
    expected = respread(torch.tensor([0.0, 1.0, 0.5]).softmax(dim=0).tolist(), 0.7)
    probabilities = found.calibrated_log_probabilities().exp()
    torch.testing.assert_close(probabilities[0], torch.tensor([expected[0], 0.0, *expected[1:]]))
    assert probabilities[1].tolist() == [1, 0, 0, 0]
    assert bool(found.calibrated.isfinite().all())


def test_accuracies_of_few_rows_are_bounded_by_the_rule_of_succession():
    found = bounded_log_odds(torch.tensor([0.0, 0.4, 1.0, 1.0]), torch.tensor([8, 8, 8, 98])).sigmoid()
    assert found.tolist() == pytest.approx([1 / 10, 0.4, 9 / 10, 99 / 100])
