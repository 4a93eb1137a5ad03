"""Every loss equals its definition row by row, and can be descended from where probabilities are 0 or 1."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from models.training.classifier.losses import LOSSES, smoothed
from tests.oracles import training as oracle

ORACLES = {"cross_entropy": oracle.cross_entropy} | {
    name: getattr(oracle, name) for name in ("focal", "flsd53", "focal_calibration")
}
LOGITS = st.lists(st.lists(st.floats(-6, 6), min_size=4, max_size=4), min_size=1, max_size=5)


def test_every_loss_has_an_oracle():
    assert ORACLES.keys() == LOSSES.keys()


@settings(deadline=None)
@given(logits=LOGITS, label=st.integers(0, 3))
@pytest.mark.parametrize("name", LOSSES)
def test_equals_the_definition(name, logits, label):
    rows = torch.tensor(logits, dtype=torch.float64)
    found = LOSSES[name](rows, torch.full((len(rows),), label))
    assert found.tolist() == pytest.approx([ORACLES[name](row, label) for row in logits], rel=1e-6, abs=1e-9)


@pytest.mark.parametrize("p", [0.19, 0.21, 0.6])
def test_flsd53_has_the_greater_gamma_for_doubtful_labels_alone(p):
    logits = torch.tensor([[p, 1 - p]], dtype=torch.float64).log()
    gamma = 5 if p < 0.2 else 3
    assert float(LOSSES["flsd53"](logits, torch.tensor([0]))) == pytest.approx(
        oracle.focal(logits[0].tolist(), 0, gamma)
    )


@settings(deadline=None)
@given(logits=LOGITS, label=st.integers(0, 3), share=st.sampled_from([0.05, 0.1, 0.5]))
def test_smoothing_spreads_a_share_of_the_label(logits, label, share):
    rows = torch.tensor(logits, dtype=torch.float64)
    found = smoothed(share)(rows, torch.full((len(rows),), label))
    assert found.tolist() == pytest.approx([oracle.smoothed(row, label, share) for row in logits])


@pytest.mark.parametrize("name", LOSSES)
def test_a_row_that_is_surely_right_or_surely_wrong_has_a_finite_gradient(name):
    logits = torch.tensor([[80.0, -80.0], [-80.0, 80.0]], requires_grad=True)
    LOSSES[name](logits, torch.tensor([0, 0])).sum().backward()
    assert bool(logits.grad.isfinite().all())
