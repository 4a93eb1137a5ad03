import subprocess
import sys

import numpy as np
import pytest
import torch

from models.calibration.isotonic import KNOTS, Isotonic, interpolated
from models.core.method import Dimensions
from models.core.outputs import ModelOutputs
from tests.fixtures.logits import too_confident
from tests.oracles.calibration import isotonic_accuracies

DIMENSIONS = Dimensions(classes=4, features=1)


@pytest.mark.parametrize("rows", [1, 5, 60, 400])
def test_gives_every_row_the_accuracy_of_its_flat_stretch(rows):
    logits, labels = too_confident(rows, seed=rows)
    outputs = ModelOutputs(logits)
    method = Isotonic(DIMENSIONS).fit(outputs, labels)
    found = method.transform(outputs).calibrated_log_probabilities().exp().amax(dim=1)
    confidences = logits.double().softmax(dim=1).amax(dim=1).tolist()
    expected = isotonic_accuracies(confidences, (logits.argmax(dim=1) == labels).tolist())
    shown = [min(max(expected[row], 1 / (rows + 2)), (rows + 1) / (rows + 2)) for row in range(rows)]
    free = [row for row in range(rows) if shown[row] > 0.5]
    assert len(free) >= rows // 2
    assert found[free].tolist() == pytest.approx([shown[row] for row in free], abs=1e-5)


def test_never_falls_with_the_networks_confidence():
    logits, labels = too_confident(300, seed=3)
    method = Isotonic(DIMENSIONS).fit(ModelOutputs(logits), labels)
    grid = torch.zeros(2000, 4)
    grid[:, 0] = torch.linspace(0.01, 60, 2000)
    found = method.transform(ModelOutputs(grid)).calibrated_log_probabilities().exp()[:, 0]
    assert bool((found.diff() >= -1e-6).all())
    assert float(found[-1]) <= 301 / 302 + 1e-6


def test_reads_between_knots_as_numpy_does():
    knots = torch.cat([torch.tensor([-1.0, 0.5, 2.0, 7.0]), torch.full((KNOTS - 4,), 7.0)])
    values = torch.cat([torch.tensor([0.1, 0.1, 0.6, 0.9]), torch.full((KNOTS - 4,), 0.9)])
    positions = torch.linspace(-3, 9, 101)
    expected = np.interp(positions.numpy(), [-1, 0.5, 2, 7], [0.1, 0.1, 0.6, 0.9])
    assert interpolated(positions, knots, values).tolist() == pytest.approx(expected.tolist(), abs=1e-6)
    assert interpolated(positions, torch.full((KNOTS,), 3.0), torch.full((KNOTS,), 0.4)).tolist() == pytest.approx(
        [0.4] * 101
    )


def test_more_stretches_than_knots_are_thinned():
    generator = torch.Generator().manual_seed(0)
    margin = torch.linspace(0.1, 6, 40_000)
    logits = torch.stack([margin, torch.zeros(40_000)], dim=1)
    labels = (torch.rand(40_000, generator=generator) > margin.sigmoid()).long()
    outputs = ModelOutputs(logits)
    method = Isotonic(Dimensions(classes=2, features=1)).fit(outputs, labels)
    found = method.transform(outputs).calibrated_log_probabilities().exp()[:, 0]
    assert method.state()["knots"].shape == (KNOTS,)
    assert float((found - margin.sigmoid()).abs().mean()) < 0.01


def test_serving_does_not_load_scikit_learn():
    code = "import sys, models.calibration; sys.exit('sklearn' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], timeout=60, check=False).returncode == 0
