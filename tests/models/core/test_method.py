import pytest
import torch

from models.calibration.vector import Vector
from models.core.errors import CheckpointError
from models.core.method import Dimensions

DIMENSIONS = Dimensions(classes=3, features=5)
STATE = {"scale": torch.tensor([1.0, 2.0, 3.0]), "offset": torch.zeros(3)}


@pytest.mark.parametrize(
    ("state", "message"),
    [
        ({"scale": STATE["scale"]}, "expected tensors"),
        (STATE | {"extra": torch.zeros(1)}, "extra"),
        (STATE | {"scale": torch.ones(4)}, r"\(4,\)"),
        (STATE | {"scale": torch.ones(3, 1)}, r"\(3, 1\)"),
        (STATE | {"offset": torch.tensor([0.0, float("nan"), 0.0])}, "'offset' holds NaN"),
        (STATE | {"scale": torch.tensor([1.0, float("inf"), 0.0])}, "'scale' holds NaN or infinity"),
    ],
)
def test_load_state_refuses_what_does_not_fit(state, message):
    method = Vector(DIMENSIONS)
    with pytest.raises(CheckpointError, match=message):
        method.load_state(state)
    assert not method.fitted


def test_state_goes_out_as_it_came_in():
    method = Vector(DIMENSIONS).load_state({name: value.double() for name, value in STATE.items()})
    assert method.fitted
    state = method.to(torch.device("cpu")).state()
    assert state.keys() == STATE.keys()
    assert all(torch.equal(value, STATE[name]) for name, value in state.items())


@pytest.mark.parametrize(("classes", "features"), [(1, 5), (0, 5), (2, 0)])
def test_sizes_of_no_classifier_are_refused(classes, features):
    with pytest.raises(ValueError, match="at least"):
        Dimensions(classes, features)
