import pytest
import torch

from models.calibration.g_layers import GLayers
from models.calibration.temperature import Temperature
from models.core.method import Dimensions
from models.core.outputs import ModelOutputs
from models.metrics.proper import negative_log_likelihood
from tests.fixtures.logits import too_confident

DIMENSIONS = Dimensions(classes=4, features=1)


def test_learns_an_offset_that_a_temperature_cannot():
    calibrated, labels = too_confident(2000, seed=12, factor=1.0)
    outputs = ModelOutputs(3 * (calibrated + torch.tensor([2.0, 0.0, 0.0, -2.0])))
    fitting, judging = torch.arange(1500), torch.arange(1500, 2000)
    losses = {}
    for kind in (Temperature, GLayers):
        method = kind(DIMENSIONS).fit(outputs.take(fitting), labels[fitting])
        losses[kind] = negative_log_likelihood(method.transform(outputs.take(judging)).calibrated, labels[judging])
    assert losses[GLayers] < losses[Temperature] - 0.2
    assert losses[GLayers] < negative_log_likelihood(calibrated[judging], labels[judging]) + 0.05


@pytest.mark.parametrize("rows", [1, 4])
def test_with_nothing_held_out_it_stays_temperature_scaling(rows):
    logits, labels = too_confident(rows, seed=13)
    outputs = ModelOutputs(logits)
    expected = Temperature(DIMENSIONS).fit(outputs, labels).transform(outputs).calibrated
    torch.testing.assert_close(GLayers(DIMENSIONS).fit(outputs, labels).transform(outputs).calibrated, expected)


def test_labels_of_pure_chance_leave_nothing_to_learn():
    logits, _ = too_confident(300, seed=14)
    labels = torch.randint(0, 4, (600,), generator=torch.Generator().manual_seed(15))
    method = GLayers(DIMENSIONS).fit(ModelOutputs(logits), labels[:300])
    others, _ = too_confident(300, seed=16)
    calibrated = method.transform(ModelOutputs(others)).calibrated
    assert negative_log_likelihood(calibrated, labels[300:]) < torch.tensor(4.0).log() + 0.06


def test_transform_is_the_temperature_and_two_dense_layers():
    logits, labels = too_confident(400, seed=17)
    logits[:, 0] += 4
    method = GLayers(DIMENSIONS).fit(ModelOutputs(logits), labels)
    state = method.state()
    layers = torch.nn.Sequential(torch.nn.Linear(4, 8), torch.nn.ReLU(), torch.nn.Linear(8, 4))
    for parameter, name in zip(layers.parameters(), ("inner", "inner_offset", "outer", "outer_offset"), strict=True):
        parameter.data.copy_(state[name])
    assert float(state["outer"].abs().max()) > 0.01
    torch.testing.assert_close(state["mean"], logits.mean(dim=0))
    standardised = (logits - logits.mean(dim=0)) / logits.std(dim=0, correction=0)
    expected = logits / state["temperature"] + layers(standardised).detach()
    torch.testing.assert_close(method.transform(ModelOutputs(logits)).calibrated, expected, rtol=1e-5, atol=1e-5)


def test_the_width_is_bounded():
    shapes = GLayers(Dimensions(classes=1000, features=1)).state_shapes()
    assert (shapes["inner"], shapes["outer"]) == ((256, 1000), (1000, 256))
    assert GLayers(DIMENSIONS).state_shapes()["inner"] == (8, 4)
