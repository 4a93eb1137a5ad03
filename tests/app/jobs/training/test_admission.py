"""What of a job `train` is refused before it is queued, with a pointer to what to change."""

import pytest

from models.core.errors import UnknownNameError
from tests.fixtures.coloured_zip import COLOURS, coloured_zip
from tests.fixtures.tables import outputs_table


@pytest.fixture
def admit(admit):
    """`admit(content, **params)`: check a job that trains the model `new` on this archive."""

    def admit_train(content=None, model="new", name="colours.zip", **params):
        admit(content or coloured_zip(rows=60), "train", model, name, **params)

    return admit_train


def test_new_and_known_models_are_admitted(admit):
    admit()
    admit(model="tiny")
    admit(start_from={"model": "tiny"})
    admit(network={"kind": "timm", "name": "resnet18"})


def test_a_name_that_is_none(refused):
    pointer, detail = refused(model="New Model")
    assert pointer == "/model"
    assert "lower-case letters" in detail


def test_a_version_to_start_from_has_to_be_there(admit):
    with pytest.raises(UnknownNameError, match="unknown model 'new'"):
        admit(start_from={})
    with pytest.raises(UnknownNameError, match="version of tiny '9'"):
        admit(start_from={"model": "tiny", "version": 9})


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (coloured_zip(rows=59), "at least 60 rows are needed"),
        (coloured_zip(rows=60, colours={"red": COLOURS["red"]}), "send rows of at least two classes"),
        (coloured_zip(rows=60, colours=dict.fromkeys(map(str, range(60)), (0, 0, 0))), "fewer than 2 rows"),
        (coloured_zip(rows=60, colours=dict.fromkeys(("0", "2"), (0, 0, 0))), "and none is 1: number the classes"),
        (coloured_zip(rows=60, colours=dict.fromkeys(("0", "red"), (0, 0, 0))), "labels mix class names and class"),
    ],
)
def test_data_that_do_not_do(refused, content, told):
    pointer, detail = refused(content)
    assert pointer == "/dataset"
    assert told in detail


def test_a_table_has_no_images(refused):
    assert "send the images themselves" in refused(outputs_table(80), name="outputs.csv")[1]


@pytest.mark.parametrize(
    ("network", "told"),
    [
        ({"name": "resnet10"}, "unknown network of howsure 'resnet10'"),
        ({"arguments": {"widths": [4, 4]}}, "resnet9 does not take"),
        ({"arguments": {"widths": [-1, 4, 4, 4]}}, "negative dimension"),
        ({"name": "perceptron", "arguments": {"depth": 1}}, "2 to 1202 linear layers"),
    ],
)
def test_a_network_that_cannot_be_built(refused, network, told):
    pointer, detail = refused(network=network)
    assert pointer == "/params/network"
    assert told in detail
