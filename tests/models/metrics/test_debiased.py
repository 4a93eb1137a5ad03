import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from models.metrics.calibration import expected_calibration_error
from models.metrics.debiased import debiased_calibration_error
from tests.oracles import metrics_debiased as oracle

CONFIDENCE = st.one_of(st.floats(0, 1), st.integers(0, 10).map(lambda k: k / 10))
ROWS = st.lists(st.tuples(CONFIDENCE, st.booleans()), min_size=1, max_size=20)
BINNING = st.sampled_from(["width", "mass"])
DOUBLE = torch.float64


@settings(deadline=None, max_examples=40)
@given(rows=ROWS, bins=st.sampled_from([1, 3, 10]), binning=BINNING)
def test_equals_the_definition(rows, bins, binning):
    confidence, correct = map(list, zip(*rows, strict=True))
    drawn = debiased_calibration_error(
        torch.tensor(confidence, dtype=DOUBLE), torch.tensor(correct), bins=bins, binning=binning
    )
    assert drawn == pytest.approx(oracle.debiased_calibration_error(confidence, correct, bins, binning), abs=1e-5)


@pytest.mark.parametrize("binning", ["width", "mass"])
def test_is_nearer_to_the_error_of_endless_rows_than_the_plain_error(binning):
    generator = torch.Generator().manual_seed(0)
    confidence, chance = torch.rand(2, 500_000, generator=generator, dtype=DOUBLE)
    endless = expected_calibration_error(confidence, chance < confidence**1.2, binning=binning)
    plain, debiased = [], []
    for part, drawn in zip(confidence[:20_000].split(400), chance[:20_000].split(400), strict=True):
        correct = drawn < part**1.2
        plain.append(expected_calibration_error(part, correct, binning=binning))
        debiased.append(debiased_calibration_error(part, correct, binning=binning))
    bias = sum(plain) / len(plain) - endless
    assert bias > 0.015
    assert abs(sum(debiased) / len(debiased) - endless) < 0.4 * bias


def test_bins_that_are_all_right_keep_their_gap():
    confidence, correct = torch.full((5,), 0.75, dtype=DOUBLE), torch.ones(5, dtype=torch.bool)
    assert debiased_calibration_error(confidence, correct) == 0.25


@pytest.mark.parametrize(
    ("confidence", "correct", "options", "message"),
    [
        (torch.tensor([1.01]), torch.ones(1, dtype=torch.bool), {}, r"in \[0, 1\]"),
        (torch.tensor([0.5]), torch.ones(1), {}, "bool tensor"),
        (torch.tensor([0.5]), torch.ones(1, dtype=torch.bool), {"bins": 0}, "bins must be at least 1"),
        (torch.tensor([0.5]), torch.ones(1, dtype=torch.bool), {"binning": "equal"}, "'width' or 'mass'"),
    ],
)
def test_refuses_bad_input(confidence, correct, options, message):
    with pytest.raises(ValueError, match=message):
        debiased_calibration_error(confidence, correct, **options)
