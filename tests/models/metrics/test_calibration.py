import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torchmetrics.functional.classification import binary_calibration_error

from models.metrics.calibration import (
    ReliabilityBin,
    expected_calibration_error,
    maximum_calibration_error,
    noise_floor,
    reliability_bins,
)
from tests.oracles import metrics as oracle

# Half of the confidences lie on edges of some binning, where off-by-one-bin mistakes and ties live.
CONFIDENCE = st.one_of(
    st.floats(0, 1), st.integers(0, 30).map(lambda k: k / 30), st.integers(0, 10).map(lambda k: k / 10)
)
ROWS = st.lists(st.tuples(CONFIDENCE, st.booleans()), min_size=1, max_size=40)
BINS = st.sampled_from([1, 2, 3, 10, 15, 30])
BINNING = st.sampled_from(["width", "mass"])
DOUBLE = torch.float64


@settings(deadline=None)
@given(rows=ROWS, bins=BINS, binning=BINNING)
def test_errors_and_bins_equal_the_definition(rows, bins, binning):
    confidence, correct = map(list, zip(*rows, strict=True))
    arguments = torch.tensor(confidence, dtype=DOUBLE), torch.tensor(correct)
    expected = oracle.bin_means(confidence, correct, bins, binning)
    drawn = reliability_bins(*arguments, bins=bins, binning=binning)

    assert [part.count for part in drawn] == [count for count, _, _ in expected]
    assert [part.confidence for part in drawn] == pytest.approx([mean for _, mean, _ in expected], abs=1e-12)
    assert [part.accuracy for part in drawn] == pytest.approx([right for _, _, right in expected], abs=1e-12)
    assert expected_calibration_error(*arguments, bins=bins, binning=binning) == pytest.approx(
        oracle.expected_calibration_error(confidence, correct, bins, binning), abs=1e-12
    )
    assert maximum_calibration_error(*arguments, bins=bins, binning=binning) == pytest.approx(
        oracle.maximum_calibration_error(confidence, correct, bins, binning), abs=1e-12
    )


def test_a_confidence_on_an_edge_belongs_to_the_bin_below():
    confidence = torch.tensor([0.0, 0.1, 0.3, 0.31, 0.7, 1.0], dtype=DOUBLE)
    correct = torch.tensor([False, False, True, False, True, True])
    assert reliability_bins(confidence, correct, bins=10) == (
        ReliabilityBin(0.0, 0.1, 2, 0.05, 0.0),
        ReliabilityBin(0.2, 0.3, 1, 0.3, 1.0),
        ReliabilityBin(0.3, 0.4, 1, 0.31, 0.0),
        ReliabilityBin(0.6, 0.7, 1, 0.7, 1.0),
        ReliabilityBin(0.9, 1.0, 1, 1.0, 1.0),
    )


@pytest.mark.parametrize("bins", [10, 15, 30, 100])
def test_every_rounded_edge_falls_in_its_own_bin(bins):
    confidence = torch.tensor([(index + 1) / bins for index in range(bins)], dtype=DOUBLE)
    drawn = reliability_bins(confidence, torch.ones(bins, dtype=torch.bool), bins=bins)
    assert [part.upper for part in drawn] == confidence.tolist()


def test_equal_mass_bins_run_from_lowest_to_highest_confidence():
    confidence = torch.tensor([0.9, 0.2, 0.6, 0.5, 0.3], dtype=DOUBLE)
    drawn = reliability_bins(confidence, torch.ones(5, dtype=torch.bool), bins=2, binning="mass")
    assert [(part.lower, part.upper, part.count) for part in drawn] == [(0.2, 0.5, 3), (0.6, 0.9, 2)]


@pytest.mark.parametrize(("norm", "measure"), [("l1", expected_calibration_error), ("max", maximum_calibration_error)])
def test_agrees_with_torchmetrics_away_from_edges(norm, measure):
    generator = torch.Generator().manual_seed(3)
    confidence = torch.rand(500, generator=generator, dtype=DOUBLE)
    correct = torch.rand(500, generator=generator, dtype=DOUBLE) < confidence.sqrt()
    peer = binary_calibration_error(confidence, correct.long(), n_bins=15, norm=norm)
    assert measure(confidence, correct, bins=15) == pytest.approx(float(peer), abs=1e-12)


@settings(deadline=None, max_examples=20)
@given(confidence=st.lists(CONFIDENCE, min_size=1, max_size=6), bins=st.sampled_from([1, 3, 10]), binning=BINNING)
def test_noise_floor_is_the_expected_error_over_all_outcomes(confidence, bins, binning):
    drawn = noise_floor(torch.tensor(confidence, dtype=DOUBLE), bins=bins, binning=binning, resamples=4000)
    # ECE lies in [0, 1], so the standard error of 4000 draws is below 0.008.
    assert drawn == pytest.approx(oracle.noise_floor(confidence, bins, binning), abs=0.04)


def test_noise_floor_is_repeatable_and_follows_the_seed():
    confidence = torch.linspace(0.3, 0.9, 50)
    assert noise_floor(confidence, seed=1) == noise_floor(confidence, seed=1) != noise_floor(confidence, seed=2)


@pytest.mark.parametrize("binning", ["width", "mass"])
def test_a_calibrated_model_reads_its_floor_and_an_overconfident_one_more(binning):
    generator = torch.Generator().manual_seed(0)
    calibrated, overconfident = [], []
    for _ in range(40):
        confidence, chance = torch.rand(2, 300, generator=generator, dtype=DOUBLE)
        floor = noise_floor(confidence, binning=binning)
        calibrated.append(expected_calibration_error(confidence, chance < confidence, binning=binning) / floor)
        overconfident.append(expected_calibration_error(confidence, chance < confidence**2, binning=binning) / floor)

    assert sum(calibrated) / 40 == pytest.approx(1, abs=0.1)
    assert sum(overconfident) / 40 > 2


@pytest.mark.parametrize(
    ("confidence", "correct", "options", "message"),
    [
        (torch.empty(0), torch.empty(0, dtype=torch.bool), {}, "one value per row"),
        (torch.ones(2, 1), torch.ones(2, dtype=torch.bool), {}, "one value per row"),
        (torch.ones(2), torch.ones(3, dtype=torch.bool), {}, "lengths differ"),
        (torch.tensor([0.5, float("nan")]), torch.ones(2, dtype=torch.bool), {}, "NaN"),
        (torch.tensor([1.01]), torch.ones(1, dtype=torch.bool), {}, r"in \[0, 1\]"),
        (torch.tensor([-0.01]), torch.ones(1, dtype=torch.bool), {}, r"in \[0, 1\]"),
        (torch.tensor([0.5]), torch.ones(1), {}, "bool tensor"),
        (torch.tensor([0.5]), torch.ones(1, dtype=torch.bool), {"bins": 0}, "bins must be at least 1"),
        (torch.tensor([0.5]), torch.ones(1, dtype=torch.bool), {"binning": "equal"}, "'width' or 'mass'"),
    ],
)
@pytest.mark.parametrize("measure", [expected_calibration_error, maximum_calibration_error, reliability_bins])
def test_refuses_bad_input(measure, confidence, correct, options, message):
    with pytest.raises(ValueError, match=message):
        measure(confidence, correct, **options)


@pytest.mark.parametrize(
    ("confidence", "options", "message"),
    [
        (torch.tensor([2.0]), {}, r"in \[0, 1\]"),
        (torch.tensor([0.5]), {"bins": 0}, "bins must be at least 1"),
        (torch.tensor([0.5]), {"resamples": 0}, "resamples must be at least 1"),
    ],
)
def test_noise_floor_refuses_bad_input(confidence, options, message):
    with pytest.raises(ValueError, match=message):
        noise_floor(confidence, **options)
