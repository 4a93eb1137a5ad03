"""Held-out figures are those of all rows at once, and of the network in eval mode."""

import pytest
import torch

from models.metrics.calibration import expected_calibration_error
from models.training.classifier.judging import judge
from tests.models.training.classifier.small_trainings import CPU, coloured, with_dropout
from tests.oracles import training as oracle


def test_judges_all_rows_however_many_at_once(monkeypatch):
    network, rows = with_dropout(), coloured(40)
    monkeypatch.setattr("models.training.classifier.judging.ROWS_AT_ONCE", 7)
    found = judge(network.train(), rows, CPU, "float32")
    assert not network.training
    with torch.no_grad():
        logits = network(rows.images(torch.from_numpy(rows.pixels), CPU)).double()
    pairs = list(zip(logits.tolist(), rows.labels.tolist(), strict=True))
    assert found.nll == pytest.approx(sum(oracle.cross_entropy(*pair) for pair in pairs) / 40, rel=1e-5)
    assert found.accuracy == sum(max(row) == row[label] for row, label in pairs) / 40
    assert found.confidence == pytest.approx(sum(max(oracle.probabilities(row)) for row, _ in pairs) / 40, rel=1e-5)
    confidence, predicted = logits.softmax(dim=1).max(dim=1)
    assert found.ece == pytest.approx(expected_calibration_error(confidence, predicted == rows.labels), rel=1e-5)
