import time

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from models.metrics.calibration import expected_calibration_error
from models.metrics.smooth import smooth_calibration_error
from tests.oracles import metrics_smooth as oracle

CONFIDENCE = st.one_of(st.floats(0, 1), st.sampled_from([0.0, 0.5, 1.0]))
DOUBLE = torch.float64


@settings(deadline=None, max_examples=15)
@given(rows=st.lists(st.tuples(CONFIDENCE, st.booleans()), min_size=1, max_size=6))
def test_equals_the_definition(rows):
    confidence, correct = map(list, zip(*rows, strict=True))
    drawn = smooth_calibration_error(torch.tensor(confidence, dtype=DOUBLE), torch.tensor(correct))
    assert drawn == pytest.approx(oracle.smooth_calibration_error(confidence, correct), abs=5e-4)


def test_reads_the_error_of_an_overconfident_model_and_little_of_a_calibrated_one():
    generator = torch.Generator().manual_seed(0)
    confidence, chance = torch.rand(2, 20_000, generator=generator, dtype=DOUBLE)
    correct = chance < confidence**2
    error = expected_calibration_error(confidence, correct)
    assert smooth_calibration_error(confidence, correct) == pytest.approx(error, abs=0.005)
    assert smooth_calibration_error(confidence, chance < confidence) < 0.02


def test_a_row_that_moves_over_the_edge_of_a_bin_changes_it_little():
    correct = torch.tensor([True, False])
    below, above = (torch.tensor([0.5 - 1e-6, 0.5 + shift], dtype=DOUBLE) for shift in (-1e-6, 1e-6))
    jump = expected_calibration_error(above, correct, bins=2) - expected_calibration_error(below, correct, bins=2)
    assert jump > 0.4
    change = smooth_calibration_error(above, correct) - smooth_calibration_error(below, correct)
    assert abs(change) < 2e-3  # it grows with the square root of the move


def test_certain_and_right_is_no_error_and_certain_and_wrong_a_large_one():
    certain = torch.tensor([1.0, 1.0])
    assert smooth_calibration_error(certain, torch.tensor([True, True])) < 1e-5
    assert smooth_calibration_error(certain, torch.tensor([False, False])) > 0.9


def test_fifty_thousand_rows_take_a_fraction_of_a_second():
    confidence = torch.rand(50_000, generator=torch.Generator().manual_seed(0), dtype=DOUBLE)
    start = time.perf_counter()
    smooth_calibration_error(confidence, confidence > 0.5)
    assert time.perf_counter() - start < 1


@pytest.mark.parametrize(
    ("confidence", "correct", "message"),
    [
        (torch.empty(0), torch.empty(0, dtype=torch.bool), "one value per row"),
        (torch.tensor([-0.1]), torch.ones(1, dtype=torch.bool), r"in \[0, 1\]"),
        (torch.tensor([0.5]), torch.ones(1), "bool tensor"),
        (torch.ones(2), torch.ones(3, dtype=torch.bool), "lengths differ"),
    ],
)
def test_refuses_bad_input(confidence, correct, message):
    with pytest.raises(ValueError, match=message):
        smooth_calibration_error(confidence, correct)
