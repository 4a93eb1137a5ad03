import math
import time
from dataclasses import replace

import pytest
import torch

from models.calibration import CALIBRATORS, Temperature
from models.core.errors import UnknownNameError
from models.core.method import Dimensions
from models.core.outputs import ModelOutputs, Needs
from models.metrics.proper import row_losses
from models.training.select import select_calibrator
from tests.fixtures.logits import too_confident


@pytest.fixture(scope="module")
def drawn():
    logits, labels = too_confident(400, seed=30)
    return ModelOutputs(logits), labels


def test_a_temperature_wins_where_nothing_else_is_wrong(drawn):
    found = select_calibrator(*drawn, seed=0)
    assert found.chosen == "temperature"
    rows = {row.name: row for row in found.table}
    featureless = [name for name, kind in CALIBRATORS.items() if Needs.FEATURES not in kind.needs]
    assert list(rows) == ["none", *featureless]
    assert rows["none"].behind > 3 * rows["none"].behind_error
    assert "temperature" in found.reason
    assert f"{rows['temperature'].nll:.4f}" in found.reason


def test_an_offset_is_worth_more_than_a_temperature(drawn):
    outputs, labels = drawn
    leaning = ModelOutputs(outputs.logits + torch.tensor([9.0, 0.0, 0.0, -9.0]))
    found = select_calibrator(leaning, labels, seed=0)
    assert found.chosen in {"vector", "matrix", "g_layers"}
    rows = {row.name: row for row in found.table}
    assert rows[found.chosen].nll < rows["temperature"].nll - 0.3


def test_the_figures_are_those_of_folds_fitted_one_by_one(drawn):
    outputs, labels = drawn[0].take(torch.arange(100)), drawn[1][:100]
    (none, temperature) = select_calibrator(outputs, labels, seed=3, folds=4, candidates=["temperature"]).table
    fold = torch.randperm(100, generator=torch.Generator().manual_seed(3)) % 4
    losses = torch.empty(100, dtype=torch.float64)
    for row in range(100):
        others = fold != fold[row]
        fitted = Temperature(Dimensions(4, 1)).fit(outputs.take(others), labels[others])
        alone = torch.tensor([row])
        losses[row] = row_losses(fitted.transform(outputs.take(alone)).calibrated, labels[alone])[0]
    assert temperature.nll == pytest.approx(float(losses.mean()), rel=1e-6)
    assert temperature.standard_error == pytest.approx(float(losses.std()) / 10, rel=1e-6)
    behind = row_losses(outputs.logits, labels) - losses
    assert (none.behind, none.behind_error) == pytest.approx((float(behind.mean()), float(behind.std()) / 10), rel=1e-5)
    assert (temperature.behind, temperature.behind_error) == (0, 0)


def test_a_simpler_one_within_the_error_wins_and_the_reason_says_so(drawn):
    found = select_calibrator(*drawn, seed=0)
    tried = [row for row in found.table if row.name != "none"]
    best = min(tried, key=lambda row: row.nll)
    expected = next(row for row in tried if row.behind <= row.behind_error)
    assert found.chosen == expected.name
    if best.name != expected.name:
        assert f"simpler than {best.name}" in found.reason


def test_the_same_seed_gives_the_same_selection(drawn):
    first, again, other = (select_calibrator(*drawn, seed=seed, candidates=["g_layers"]) for seed in (1, 1, 2))
    assert first == again
    assert first.table != other.table


def test_what_cannot_be_fitted_is_skipped_with_the_reason(drawn, digits):
    outputs, labels = drawn
    headless = select_calibrator(replace(outputs, features=torch.zeros(400, 2)), labels, seed=0)
    assert "Needs.HEAD" in headless.skipped["feature_clipping"]
    images, digit_labels = digits.calibration
    whole = digits.outputs(images)
    clipping = {"seed": 0, "candidates": ["feature_clipping"]}
    assert not select_calibrator(whole, digit_labels, **clipping).skipped
    featureless = select_calibrator(replace(whole, features=None), digit_labels, **clipping)
    assert "Needs.FEATURES" in featureless.skipped["feature_clipping"]
    mask = torch.ones_like(outputs.logits, dtype=torch.bool)
    masked = select_calibrator(replace(outputs, mask=mask), labels, seed=0)
    assert masked.skipped.keys() == {name for name, kind in CALIBRATORS.items() if not kind.takes_masks}
    assert masked.chosen == "temperature"


def test_only_the_named_are_tried_and_temperature(drawn):
    found = select_calibrator(*drawn, seed=0, candidates=["isotonic"])
    assert [row.name for row in found.table] == ["none", "temperature", "isotonic"]
    with pytest.raises(UnknownNameError, match="hope"):
        select_calibrator(*drawn, seed=0, candidates=["hope"])


@pytest.mark.parametrize("folds", [1, 6])
def test_folds_without_rows_are_refused(drawn, folds):
    outputs, labels = drawn
    with pytest.raises(ValueError, match=r"2\.\.5"):
        select_calibrator(outputs.take(torch.arange(5)), labels[:5], seed=0, folds=folds)


def test_labels_outside_the_classes_are_refused(drawn):
    outputs, labels = drawn
    with pytest.raises(ValueError, match=r"0\.\.3"):
        select_calibrator(outputs, labels + 4, seed=0)


@pytest.mark.slow
def test_a_thousand_classes_take_seconds():
    generator = torch.Generator().manual_seed(31)
    calibrated = 3 * torch.randn(250, 1000, generator=generator)
    labels = torch.multinomial(calibrated.softmax(dim=1), 1, generator=generator)[:, 0]
    start = time.perf_counter()
    found = select_calibrator(ModelOutputs(2 * calibrated), labels, seed=0)
    assert time.perf_counter() - start < 60
    assert all(math.isfinite(row.nll) for row in found.table)
