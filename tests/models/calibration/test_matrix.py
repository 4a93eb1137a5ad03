import pytest
import torch

from models.calibration.matrix import Matrix
from models.calibration.temperature import Temperature
from models.core.method import Dimensions
from models.core.outputs import ModelOutputs
from models.metrics.proper import negative_log_likelihood
from tests.fixtures.logits import too_confident
from tests.oracles.calibration import matrix_logits, matrix_objective

DIMENSIONS = Dimensions(classes=4, features=1)
MIXED = torch.tensor([[0.7, 0.3, 0, 0], [0, 1.0, 0, 0], [0, 0, 1.4, -0.4], [0.5, 0, 0, 0.5]])


def inverse_temperature(outputs, labels):
    return float(1 / Temperature(DIMENSIONS).fit(outputs, labels).state()["temperature"])


@pytest.mark.parametrize("prior", [0.1, 1.0])
@pytest.mark.parametrize("rows", [8, 100])
def test_is_at_a_minimum_of_the_penalised_likelihood(rows, prior):
    logits, labels = too_confident(rows, seed=7)
    outputs = ModelOutputs(logits)
    state = Matrix(DIMENSIONS).fit(outputs, labels, prior=prior).state()
    inverse = inverse_temperature(outputs, labels)

    def objective(weight, offset):
        return matrix_objective(weight.tolist(), offset.tolist(), inverse, logits.tolist(), labels.tolist(), prior)

    lowest = objective(state["weight"], state["offset"])
    assert lowest < objective(torch.eye(4) * inverse, torch.zeros(4))
    for step in (-0.01, 0.01):
        for index in range(16):
            moved = state["weight"].flatten().clone()
            moved[index] += step * inverse
            assert objective(moved.view(4, 4), state["offset"]) > lowest - 1e-6
        for index in range(4):
            assert objective(state["weight"], state["offset"] + step * torch.eye(4)[index]) > lowest - 1e-6


def test_transform_is_the_matrix_on_centred_logits():
    logits, labels = too_confident(20, seed=8)
    method = Matrix(DIMENSIONS).fit(ModelOutputs(logits), labels)
    state = method.state()
    expected = matrix_logits(state["weight"].tolist(), state["offset"].tolist(), logits.tolist())
    torch.testing.assert_close(method.transform(ModelOutputs(logits)).calibrated, torch.tensor(expected))
    moved = method.transform(ModelOutputs(logits + 100)).calibrated
    torch.testing.assert_close(moved, torch.tensor(expected), rtol=1e-3, atol=1e-3)


def test_undoes_a_mix_of_classes_that_a_temperature_cannot():
    calibrated, labels = too_confident(4000, seed=9, factor=1.0)
    outputs = ModelOutputs(3 * calibrated @ torch.linalg.inv(MIXED).T)
    fitting, judging = torch.arange(3000), torch.arange(3000, 4000)
    methods = {
        "temperature": Temperature(DIMENSIONS).fit(outputs.take(fitting), labels[fitting]),
        "matrix": Matrix(DIMENSIONS).fit(outputs.take(fitting), labels[fitting]),
        "wide": Matrix(DIMENSIONS).fit(outputs.take(fitting), labels[fitting], prior=1.0),
    }
    best = negative_log_likelihood(calibrated[judging], labels[judging])
    lost = {
        name: negative_log_likelihood(method.transform(outputs.take(judging)).calibrated, labels[judging]) - best
        for name, method in methods.items()
    }
    assert lost["wide"] < 0.01
    assert lost["wide"] < lost["matrix"] < lost["temperature"] / 2


def test_a_narrow_prior_is_temperature_scaling():
    logits, labels = too_confident(200, seed=10)
    outputs = ModelOutputs(logits)
    state = Matrix(DIMENSIONS).fit(outputs, labels, prior=1e-3).state()
    expected = torch.eye(4) * inverse_temperature(outputs, labels)
    torch.testing.assert_close(state["weight"], expected, rtol=0.01, atol=1e-3)
    assert float(state["offset"].abs().max()) < 1e-3


def test_more_classes_than_rows_stay_near_temperature_scaling():
    generator = torch.Generator().manual_seed(11)
    calibrated = 3 * torch.randn(200, 300, generator=generator)
    labels = torch.multinomial(calibrated.softmax(dim=1), 1, generator=generator)[:, 0]
    outputs, sizes = ModelOutputs(2 * calibrated), Dimensions(classes=300, features=1)
    fitting, judging = torch.arange(100), torch.arange(100, 200)
    losses = []
    for kind in (Temperature, Matrix):
        method = kind(sizes).fit(outputs.take(fitting), labels[fitting])
        losses.append(negative_log_likelihood(method.transform(outputs.take(judging)).calibrated, labels[judging]))
    assert losses[1] < losses[0] + 0.1
