"""MaC-Cal on features of groups: what it corrects, its guard, its state and its record."""

import json

import pytest
import torch

from models.calibration.mac_cal import MacCal
from models.calibration.masked_training import MacCalOptions
from models.calibration.temperature import Temperature
from models.core.errors import CheckpointError
from models.core.method import Dimensions
from models.core.outputs import LinearHead, ModelOutputs
from models.metrics.calibration import expected_calibration_error
from models.metrics.proper import accuracy

SIZES = Dimensions(classes=4, features=8)
QUICK = MacCalOptions(epochs=20, rate=0.01)


def grouped(rows, seed, factor=4.0):
    """Outputs of a head that knows the groups' centres, its logits `factor` times those that are calibrated."""
    generator = torch.Generator().manual_seed(seed)
    labels = torch.randint(0, 4, (rows,), generator=generator)
    centres = 2 * torch.eye(4, 8)
    features = centres[labels] + torch.randn(rows, 8, generator=generator)
    head = LinearHead(factor * centres, torch.zeros(4))
    return ModelOutputs(head.logits(features), features=features, head=head), labels


def calibration_error(logits, labels):
    confidence, label = logits.softmax(dim=1).max(dim=1)
    return expected_calibration_error(confidence, label == labels)


def test_halves_the_error_of_a_head_that_is_too_confident_and_keeps_its_accuracy():
    fitting, judging = grouped(1500, 1), grouped(1500, 2)
    method = MacCal(SIZES).fit(*fitting, options=QUICK)
    assert method.record["guard"]["held"]
    found = method.transform(judging[0]).calibrated
    before = calibration_error(judging[0].logits, judging[1])
    assert calibration_error(found, judging[1]) < before / 2
    assert accuracy(found, judging[1]) > accuracy(judging[0].logits, judging[1]) - 0.01
    tempered = Temperature(SIZES).fit(*fitting).transform(judging[0]).calibrated
    assert calibration_error(tempered, judging[1]) < before / 2, "the plain baseline does it too"


def test_a_loss_of_accuracy_leaves_the_networks_own_logits():
    outputs, labels = grouped(300, 3)
    shuffled = outputs.features[torch.randperm(300, generator=torch.Generator().manual_seed(4))]
    blind = ModelOutputs(outputs.logits, features=shuffled)
    method = MacCal(SIZES).fit(blind, labels, options=QUICK)
    guard = method.record["guard"]
    assert not guard["held"]
    assert guard["accuracy"]["own"] - guard["accuracy"]["new"] > guard["largest_drop"]
    assert torch.equal(method.transform(blind).calibrated, outputs.logits)
    loaded = MacCal(SIZES).load_state(method.state())
    assert torch.equal(loaded.transform(blind).calibrated, outputs.logits)


def test_a_loss_of_likelihood_alone_does_so_too():
    outputs, labels = grouped(300, 5, factor=1.0)
    untrained = MacCalOptions(epochs=1, rate=0.01)
    guard = MacCal(SIZES).fit(outputs, labels, options=untrained).record["guard"]
    assert guard["nll"]["new"] > guard["nll"]["own"]
    assert not guard["held"]


def test_too_few_rows_to_hold_any_out_leave_the_networks_own_logits():
    outputs, labels = grouped(4, 6)
    method = MacCal(SIZES).fit(outputs, labels)
    assert method.record["guard"] == {"held": False}
    assert method.record["rows"] == {"fitted": 4, "held_out": 0}
    assert torch.equal(method.transform(outputs).calibrated, outputs.logits)


def test_transform_is_two_dense_layers_on_scaled_features():
    outputs, labels = grouped(400, 7)
    method = MacCal(SIZES).fit(outputs, labels, options=QUICK)
    assert method.record["guard"]["held"]
    state = method.state()
    layers = torch.nn.Sequential(torch.nn.Linear(8, 8), torch.nn.ReLU(), torch.nn.Linear(8, 4))
    for parameter, name in zip(layers.parameters(), ("inner", "inner_offset", "outer", "outer_offset"), strict=True):
        parameter.data.copy_(state[name])
    assert float(state["scale"]) == pytest.approx(float(outputs.features.square().mean().sqrt()), rel=0.05)
    expected = layers(outputs.features / state["scale"]).detach()
    torch.testing.assert_close(method.transform(outputs).calibrated, expected, rtol=1e-5, atol=1e-5)


def test_another_seed_gives_another_head_and_a_loaded_one_brings_its_width():
    outputs, labels = grouped(200, 8)
    first, again, other = (
        MacCal(SIZES).fit(outputs, labels, options=MacCalOptions(seed=seed, epochs=3, width=5)) for seed in (1, 1, 2)
    )
    assert first.record == again.record
    assert torch.equal(first.state()["inner"], again.state()["inner"])
    assert not torch.equal(first.state()["inner"], other.state()["inner"])
    assert MacCal(SIZES).load_state(first.state()).width == 5
    with pytest.raises(CheckpointError, match="mac_cal"):
        MacCal(SIZES).load_state({**first.state(), "outer": torch.zeros(4, 6)})


def test_the_record_is_json_with_an_entry_an_epoch():
    outputs, labels = grouped(100, 9)
    method = MacCal(SIZES).fit(outputs, labels, options=QUICK)
    record = json.loads(json.dumps(method.record, allow_nan=False))
    assert [set(epoch) for epoch in record["epochs"]] == [
        {"q", "confidence", "accuracy", "gap", "held_out_nll"}
    ] * QUICK.epochs
    assert record["options"]["width"] == 8
    assert record["rows"] == {"fitted": 80, "held_out": 20}
    assert MacCal(SIZES).load_state(method.state()).record == {}


@pytest.mark.parametrize(
    ("features", "told"),
    [(torch.full((4, 8), torch.nan), "features hold NaN"), (torch.zeros(4, 7), "8 features, got 7")],
)
def test_features_that_cannot_be_fitted_are_refused(features, told):
    with pytest.raises(ValueError, match=told):
        MacCal(SIZES).fit(ModelOutputs(torch.zeros(4, 4), features=features), torch.arange(4))
