import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from models.metrics import local_calibration
from models.metrics.calibration import maximum_calibration_error
from models.metrics.local_calibration import local_calibration_error
from models.metrics.reduced_features import reduced_features
from tests.oracles import metrics_groups as oracle

DOUBLE = torch.float64
ROWS = st.lists(
    st.tuples(st.lists(st.floats(-2, 2), min_size=2, max_size=2), st.floats(0, 1), st.booleans()),
    min_size=1,
    max_size=12,
)


@settings(deadline=None)
@given(rows=ROWS, bins=st.sampled_from([1, 3]), bandwidth=st.sampled_from([0.2, 5.0]))
def test_equals_the_definition(rows, bins, bandwidth):
    features, confidence, correct = map(list, zip(*rows, strict=True))
    arguments = (torch.tensor(values, dtype=DOUBLE) for values in (features, confidence))
    drawn = local_calibration_error(*arguments, torch.tensor(correct), bins=bins, bandwidth=bandwidth)
    expected = oracle.local_errors(features, confidence, correct, bins, bandwidth)
    assert drawn.mean == pytest.approx(sum(expected) / len(expected), abs=1e-9)
    assert drawn.maximum == pytest.approx(max(expected), abs=1e-9)


def test_finds_opposite_errors_that_cancel_in_the_average():
    generator = torch.Generator().manual_seed(0)
    features = torch.randn(2000, 6, generator=generator)
    features[:, 0] *= 5
    confidence = torch.full((2000,), 0.6, dtype=DOUBLE)
    chance = torch.rand(2000, generator=generator)
    reduced = reduced_features(features)
    opposite = local_calibration_error(reduced, confidence, chance < torch.where(features[:, 0] > 0, 0.9, 0.3))
    calibrated = local_calibration_error(reduced, confidence, chance < 0.6)
    assert opposite.mean > 2 * opposite.mean_floor
    assert calibrated.mean == pytest.approx(calibrated.mean_floor, rel=0.2)
    assert calibrated.maximum == pytest.approx(calibrated.maximum_floor, rel=0.2)


def test_a_wide_bandwidth_gives_the_gap_of_the_bin():
    generator = torch.Generator().manual_seed(0)
    confidence, chance = torch.rand(2, 50, generator=generator, dtype=DOUBLE)
    features, correct = torch.randn(50, 2, generator=generator), chance < 0.5
    drawn = local_calibration_error(features, confidence, correct, bins=4, bandwidth=1e9)
    assert drawn.maximum == pytest.approx(maximum_calibration_error(confidence, correct, bins=4))


def test_the_size_of_the_chunks_plays_no_part(monkeypatch):
    generator = torch.Generator().manual_seed(0)
    features, confidence = torch.randn(40, 3, generator=generator), torch.rand(40, generator=generator)
    correct = torch.arange(40) % 2 == 0
    whole = local_calibration_error(features, confidence, correct, bins=2)
    monkeypatch.setattr(local_calibration, "WEIGHTS_AT_ONCE", 1)
    by_row = local_calibration_error(features, confidence, correct, bins=2)
    assert (by_row.mean, by_row.maximum_floor) == pytest.approx((whole.mean, whole.maximum_floor), abs=1e-12)


@pytest.mark.parametrize(
    ("features", "options", "message"),
    [
        (torch.ones(3), {}, r"features must have shape \(N, D\)"),
        (torch.ones(2, 2), {}, "lengths differ"),
        (torch.ones(3, 2), {"bandwidth": 0.0}, "bandwidth must be above 0"),
        (torch.ones(3, 2), {"resamples": 0}, "resamples must be at least 1"),
        (torch.ones(3, 2), {"bins": 0}, "bins must be at least 1"),
    ],
)
def test_refuses_bad_input(features, options, message):
    with pytest.raises(ValueError, match=message):
        local_calibration_error(features, torch.ones(3), torch.ones(3, dtype=torch.bool), **options)
