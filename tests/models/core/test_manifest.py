import json

import pytest

from models.core.atomic import json_bytes
from models.core.errors import CheckpointError, UnsupportedError
from models.core.gradient_plan import GradientPlan
from models.core.manifest import Manifest
from models.core.prompt_spec import PromptSpec, Readout
from tests.fixtures.made_version import made_version


@pytest.fixture
def fields():
    return json.loads(json_bytes(made_version().manifest.to_dict()))


def test_survives_json(fields):
    manifest = made_version().manifest
    assert Manifest.from_json(json_bytes(manifest.to_dict())) == manifest
    fields["backbone"]["origin"] = {"package": "a", "file": "b", "sha256": "c"}
    assert json.loads(json_bytes(Manifest.from_json(json.dumps(fields)).to_dict())) == fields


@pytest.mark.parametrize("content", ["", "{", "[]", "null", "3", '"text"', "{}", '{"format": "1"}', b"\xff\xfe"])
def test_what_is_no_manifest_is_refused(content):
    with pytest.raises(CheckpointError, match="manifest"):
        Manifest.from_json(content)


@pytest.mark.parametrize("number", [0, 4, None, "1"])
def test_another_format_is_refused_by_its_number(fields, number):
    with pytest.raises(CheckpointError, match=f"format {number!r} is not readable"):
        Manifest.from_json(json.dumps(fields | {"format": number}))


def test_an_unknown_field_is_named(fields):
    with pytest.raises(CheckpointError, match="colour"):
        Manifest.from_json(json.dumps(fields | {"colour": 3}))


@pytest.mark.parametrize("name", [name for name in made_version().manifest.to_dict() if name != "format"])
def test_a_missing_field_is_named(fields, name):
    del fields[name]
    with pytest.raises(CheckpointError, match=name):
        Manifest.from_json(json.dumps(fields))


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("backbone", {}),
        ("backbone", None),
        ("backbone", {"kind": "timm", "name": "x", "arguments": {}, "sha256": "0", "origin": {"package": "x"}}),
        ("input_spec", {"height": 3}),
        ("input_spec", None),
        ("classes", None),
        ("classes", "tench"),
        ("classes", ["tench", 3]),
        ("scores", "entropy"),
        ("precisions", {}),
        ("calibrator", 3),
        ("data", [{"name": "x"}]),
        ("data", None),
        ("files", None),
        ("files", ["golden.json"]),
        ("report", []),
        ("seeds", None),
    ],
)
def test_a_field_of_another_shape_is_refused(fields, name, value):
    with pytest.raises(CheckpointError, match=r"manifest\.json"):
        Manifest.from_json(json.dumps(fields | {name: value}))


def test_a_manifest_of_the_first_format_has_no_gradients(fields):
    del fields["gradients"]
    old = fields | {"format": 1}
    assert Manifest.from_json(json.dumps(old)).gradients is None
    with pytest.raises(CheckpointError, match="gradients"):
        Manifest.from_json(json.dumps(old | {"format": 2}))


def test_a_gradient_plan_survives_json_and_is_checked(fields):
    fields["gradients"] = {"depth": 3, "directions": 2, "perturbations": 1, "sigma": 0.1, "seed": 4}
    read = Manifest.from_json(json.dumps(fields))
    assert read.gradients == GradientPlan(3, 2, 1, 0.1, 4)
    assert json.loads(json_bytes(read.to_dict())) == fields
    with pytest.raises(CheckpointError, match="depth"):
        Manifest.from_json(json.dumps(fields | {"gradients": fields["gradients"] | {"depth": 0}}))


def test_a_version_for_images_is_written_so_that_older_releases_can_read_it(fields):
    assert fields["format"] == 2
    assert "prompts" not in fields


def test_the_manifest_of_a_language_model_survives_json(fields):
    prompts = {"readout": "next_token", "tasks": ["mmlu", "sst2"], "token_temperatures": {"float32": 1.25}}
    told = fields | {"format": 3, "input_spec": None, "prompts": prompts, "classes": []}
    read = Manifest.from_json(json.dumps(told))
    assert read.prompts == PromptSpec(Readout.NEXT_TOKEN, ("mmlu", "sst2"), {"float32": 1.25})
    assert json.loads(json_bytes(read.to_dict())) == told
    del prompts["token_temperatures"]
    assert json.loads(json_bytes(Manifest.from_json(json.dumps(told)).to_dict())) == told, "as older releases read it"
    with pytest.raises(UnsupportedError, match="prompts, not images"):
        _ = read.image_input


@pytest.mark.parametrize(
    ("changed", "told"),
    [
        ({"prompts": {"readout": "next_token", "tasks": []}}, "either"),
        ({"prompts": None, "input_spec": None}, "either"),
        ({"prompts": {"readout": "by heart", "tasks": []}, "input_spec": None}, "by heart"),
        ({"prompts": {"readout": "text"}, "input_spec": None}, "tasks"),
        ({"prompts": {"readout": "text", "tasks": [], "token_temperatures": None}, "input_spec": None}, "above 0"),
        (
            {"prompts": {"readout": "text", "tasks": [], "token_temperatures": {"a": True}}, "input_spec": None},
            "above 0",
        ),
        ({"prompts": "text", "input_spec": None}, "manifest"),
    ],
)
def test_prompts_are_checked(fields, changed, told):
    with pytest.raises(CheckpointError, match=told):
        Manifest.from_json(json.dumps(fields | {"format": 3, "prompts": None} | changed))
