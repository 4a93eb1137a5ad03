import pytest
import torch

from models.calibration.temperature import Temperature
from models.calibration.vector import Vector
from models.core.method import Dimensions
from models.core.outputs import ModelOutputs
from tests.oracles.calibration import vector_objective

DIMENSIONS = Dimensions(classes=3, features=1)


def drawn(rows, seed=0):
    """Logits (N, 3) that are 3 times too large and lean towards class 0 by 1, and labels."""
    generator = torch.Generator().manual_seed(seed)
    calibrated = 2 * torch.randn(rows, 3, generator=generator)
    labels = torch.multinomial(calibrated.softmax(dim=1), 1, generator=generator)[:, 0]
    return 3 * (calibrated + torch.tensor([1.0, 0.0, 0.0])), labels


def objective(state, logits, labels, prior):
    scale = state["scale"].tolist()
    common = 1 / float(Temperature(DIMENSIONS).fit(ModelOutputs(logits), labels).state()["temperature"])
    return vector_objective(scale, state["offset"].tolist(), common, logits.tolist(), labels.tolist(), prior)


@pytest.mark.parametrize("rows", [5, 50, 500])
@pytest.mark.parametrize("prior", [0.1, 1.0])
def test_is_at_a_minimum_of_the_penalised_likelihood(rows, prior):
    logits, labels = drawn(rows)
    state = Vector(DIMENSIONS).fit(ModelOutputs(logits), labels, prior=prior).state()
    lowest = objective(state, logits, labels, prior)

    temperature = Temperature(DIMENSIONS).fit(ModelOutputs(logits), labels).state()["temperature"]
    only_temperature = {"scale": (1 / temperature).expand(3), "offset": torch.zeros(3)}
    assert lowest <= objective(only_temperature, logits, labels, prior) + 1e-7
    for name in state:
        for index in range(3):
            for step in (0.97, 1.03):
                moved = {key: value.clone() for key, value in state.items()}
                moved[name][index] = moved[name][index] * step if name == "scale" else moved[name][index] + step - 1
                assert objective(moved, logits, labels, prior) > lowest - 1e-7


def test_recovers_factor_and_offset_from_many_rows():
    logits, labels = drawn(20_000)
    state = Vector(DIMENSIONS).fit(ModelOutputs(logits), labels, prior=1.0).state()
    assert state["scale"].tolist() == pytest.approx([1 / 3] * 3, rel=0.05)
    assert (state["offset"] - state["offset"].mean()).tolist() == pytest.approx([-2 / 3, 1 / 3, 1 / 3], abs=0.08)


def test_a_narrow_prior_is_temperature_scaling():
    logits, labels = drawn(200)
    state = Vector(DIMENSIONS).fit(ModelOutputs(logits), labels, prior=1e-3).state()
    temperature = float(Temperature(DIMENSIONS).fit(ModelOutputs(logits), labels).state()["temperature"])
    assert state["scale"].tolist() == pytest.approx([1 / temperature] * 3, rel=0.01)
    assert state["offset"].tolist() == pytest.approx([0] * 3, abs=0.001)


def test_a_class_without_rows_stays_near_the_others():
    logits, labels = drawn(200)
    kept = labels != 2
    state = Vector(DIMENSIONS).fit(ModelOutputs(logits[kept]), labels[kept]).state()
    assert abs(float(state["offset"][2])) < 0.5
    assert 0.5 < float(state["scale"][2] / state["scale"][:2].mean()) < 2


def test_rows_that_are_all_right_do_not_drive_the_scale_to_infinity():
    logits = 4 * torch.eye(3).repeat(20, 1)
    state = Vector(DIMENSIONS).fit(ModelOutputs(logits), torch.arange(3).repeat(20)).state()
    assert float(state["scale"].max()) < 60


def test_whatever_stands_for_an_absent_choice_does_not_reach_the_factors():
    logits, labels = drawn(60)
    kept = labels != 2
    logits, labels, mask = logits[kept], labels[kept], torch.tensor([True, True, False]).repeat(int(kept.sum()), 1)
    states = [
        Vector(DIMENSIONS).fit(ModelOutputs(logits.masked_fill(~mask, fill), mask=mask), labels).state()
        for fill in (0.0, -torch.inf, torch.nan)
    ]
    for state in states[1:]:
        assert all(torch.equal(value, states[0][name]) for name, value in state.items())
