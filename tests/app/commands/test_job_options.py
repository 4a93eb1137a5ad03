"""What `jobs submit` takes for a parameter, a model and a dataset, and what it refuses."""

import pytest
import typer

from app.client import Client
from app.commands.job_options import dataset_id, only_model, parse_params, require_model


@pytest.mark.parametrize(
    ("settings", "params"),
    [
        ([], {}),
        (["method=auto", "seed=3", "fit_share=0.5", "promote=false"],
         {"method": "auto", "seed": 3, "fit_share": 0.5, "promote": False}),
        (["gate.max_ece_increase=0.01", "gate.max_nll_increase=0", "version=null"],
         {"gate": {"max_ece_increase": 0.01, "max_nll_increase": 0}, "version": None}),
        (['name="7"', "note=a=b", "empty="], {"name": "7", "note": "a=b", "empty": ""}),
        (["a=NaN", "b=-Infinity"], {"a": "NaN", "b": "-Infinity"}),
    ],
)  # fmt: skip
def test_parameters_are_json_with_dotted_names(settings, params):
    assert parse_params(settings) == params


@pytest.mark.parametrize(
    ("settings", "complaint"),
    [
        (["method"], "write a parameter as name=value"),
        (["=1"], "write a parameter as name=value"),
        (["gate.=1"], "write a parameter as name=value"),
        (["a=1", "a=2"], "a is given twice"),
        (["gate.x=1", "gate.x=1"], "gate.x is given twice"),
        (["gate.x=1", "gate=1"], "gate is given twice"),
        (["gate=1", "gate.x=1"], "gate is given as a value and as a group"),
    ],
)
def test_what_is_no_parameter(settings, complaint, capsys):
    with pytest.raises(typer.Exit) as raised:
        parse_params(settings)
    assert raised.value.exit_code == 2
    assert complaint in capsys.readouterr().err


@pytest.mark.parametrize(("names", "told"), [((), "there are: none"), (("a", "b"), "there are: a, b")])
def test_no_model_is_guessed(scripted, capsys, names, told):
    there = scripted((200, {}, {"data": [{"id": name, "status": "ready"} for name in names], "has_more": False}))
    with Client(there.url) as client, pytest.raises(typer.Exit):
        only_model(client)
    assert told in capsys.readouterr().err


def test_what_is_to_be_trained_has_to_be_named(capsys):
    require_model("train", "cats")
    require_model("calibrate", None)
    with pytest.raises(typer.Exit):
        require_model("train", None)
    assert "the name of a new model" in capsys.readouterr().err


def test_what_is_neither_a_path_nor_an_id(scripted, capsys):
    there = scripted((404, {}, {}))
    with Client(there.url) as client:
        assert dataset_id(client, "ds_1") == "ds_1"
        with pytest.raises(typer.Exit):
            dataset_id(client, "digits.zpi")
    assert there.asked == []
    assert "there is no file or folder digits.zpi here" in capsys.readouterr().err
