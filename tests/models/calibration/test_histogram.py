import pytest
import torch

from models.calibration.histogram import BINS, Histogram
from models.core.method import Dimensions
from models.core.outputs import ModelOutputs
from tests.fixtures.logits import too_confident
from tests.oracles.calibration import bin_accuracies

DIMENSIONS = Dimensions(classes=4, features=1)


def test_gives_every_row_the_accuracy_of_its_bin():
    logits, labels = too_confident(20 * BINS, seed=1)
    outputs = ModelOutputs(logits)
    found = Histogram(DIMENSIONS).fit(outputs, labels).transform(outputs).calibrated_log_probabilities().exp()
    confidences = logits.double().softmax(dim=1).amax(dim=1).tolist()
    right = (logits.argmax(dim=1) == labels).tolist()
    expected = bin_accuracies(confidences, right, BINS)
    shown = [min(max(expected[row], 1 / 22), 21 / 22) for row in range(len(labels))]
    # Below one half the runner-up may hold the confidence up.
    free = [row for row in range(len(labels)) if shown[row] > 0.5]
    assert len(free) > 200
    assert found.amax(dim=1)[free].tolist() == pytest.approx([shown[row] for row in free], abs=1e-5)


def test_rows_beyond_the_fitted_confidences_fall_into_the_outer_bins():
    logits, labels = too_confident(300, seed=2)
    method = Histogram(DIMENSIONS).fit(ModelOutputs(logits), labels)
    sure = method.transform(ModelOutputs(torch.tensor([[500.0, 0.0, 0.0, 0.0]]))).calibrated_log_probabilities()
    assert float(sure.exp().amax()) == pytest.approx(float(method.state()["log_odds"][-1].sigmoid()), abs=1e-6)


def test_bins_without_rows_give_the_accuracy_of_all():
    logits = torch.tensor([[2.0, 0.0, 0.0, 0.0]]).repeat(8, 1)
    labels = torch.tensor([0, 0, 0, 0, 0, 0, 1, 2])
    method = Histogram(DIMENSIONS).fit(ModelOutputs(logits), labels)
    assert method.state()["log_odds"].sigmoid().tolist() == pytest.approx([0.75] * BINS)
