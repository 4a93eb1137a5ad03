"""A name of the hub becomes a folder of safetensors and texts, from the hub or from its cache; else it says why."""

import json
import tempfile

import pytest

from models.core.errors import UnreachableError, UnsupportedError
from models.core.hub import hub_folder
from tests.fixtures.hub import hub, hub_cache, put_into_cache

__all__ = ["hub", "hub_cache"]
WANTED = {"config.json": b"{}", "merges.txt": b"a b", "model.safetensors": b"weights"}
UNWANTED = {"pytorch_model.bin": b"pickle", "modeling.py": b"code", "consolidated.safetensors": b"again"}


@pytest.fixture(autouse=True)
def room(tmp_path, monkeypatch):
    """The folder for temporary files; nothing is left in it."""
    folder = tmp_path / "room"
    folder.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    yield folder
    assert list(folder.iterdir()) == []


@pytest.fixture
def write(tmp_path):
    """`write({name: bytes})` gives a folder with these files."""

    def made(files):
        folder = tmp_path / "model"
        folder.mkdir()
        for name, content in files.items():
            (folder / name).write_bytes(content)
        return folder

    return made


def read(name):
    with hub_folder(name) as folder:
        return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_what_the_hub_has_is_fetched_without_pickles_and_code_and_not_kept(hub, hub_cache, write):
    hub.models["org/name"] = write(WANTED | UNWANTED)
    assert read("org/name") == WANTED
    assert not any(path.endswith(tuple(UNWANTED)) for path in hub.asked)
    assert not hub_cache.exists()


def test_a_hub_that_does_not_answer_is_replaced_by_the_cache_of_this_machine(hub_cache, write):
    put_into_cache(hub_cache, "org/name", write(WANTED | UNWANTED))
    assert read("org/name") == WANTED


def test_a_folder_of_the_same_name_is_not_meant(hub_cache, tmp_path, monkeypatch, write):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "org").mkdir()
    write(WANTED).rename(tmp_path / "org" / "name")
    with pytest.raises(UnreachableError, match="HF_HUB_OFFLINE"):
        read("org/name")


def test_own_code_is_refused_before_the_weights_are_fetched(hub, write):
    told = {"auto_map": {"AutoModelForCausalLM": "modeling.Own"}}
    hub.models["org/name"] = write(WANTED | {"config.json": json.dumps(told).encode()})
    with pytest.raises(UnsupportedError, match="own code"):
        read("org/name")
    assert not any(path.endswith(".safetensors") for path in hub.asked)


def test_pickles_alone_are_refused(hub, write):
    hub.models["org/name"] = write({"config.json": b"{}", "pytorch_model.bin": b"pickle"})
    with pytest.raises(UnsupportedError, match="pickles"):
        read("org/name")


def test_an_unknown_name_and_a_gated_one_say_what_to_do(hub, write):
    with pytest.raises(UnsupportedError, match="no such model"):
        read("org/name")
    hub.models["org/name"] = write(WANTED)
    hub.gated.add("org/name")
    with pytest.raises(UnsupportedError, match="accept its terms"):
        read("org/name")


def test_a_hub_with_a_fault_of_its_own_is_unreachable(hub, write):
    hub.broken = True
    with pytest.raises(UnreachableError, match="org/name"):
        read("org/name")


WAYS_OUT = ("/etc/passwd", "../name", "org/..", "org\\name", "org/.name", "a/b/c", "org/a..b", "org/a--b")
OTHER_FORMS = ("", "name", "org/", "hf-hub:org/name", "org/name@main", "org/name.git", "org/name\n", "örg/na me")


@pytest.mark.parametrize("name", [*WAYS_OUT, *OTHER_FORMS, f"org/{'n' * 93}"])
def test_what_is_no_name_of_the_hub_is_refused(name):
    with pytest.raises(UnsupportedError, match="give ORG/NAME"):
        read(name)


def test_a_cache_that_lacks_weights_is_not_whole(hub_cache, write):
    index = json.dumps({"weight_map": {"a": "model-1.safetensors", "b": "model-2.safetensors"}}).encode()
    files = {"config.json": b"{}", "model.safetensors.index.json": index, "model-1.safetensors": b"half"}
    put_into_cache(hub_cache, "org/name", write(files))
    with pytest.raises(UnreachableError, match="no whole org/name"):
        read("org/name")


@pytest.mark.parametrize(
    ("files", "reason"),
    [
        ({"tokenizer_config.json": b'{"auto_map": {}}'}, "brings its own code"),
        ({"config.json": b"3"}, "config.json is no JSON object"),
        ({"config.json": b"{bad"}, "config.json is not JSON"),
    ],
)
def test_configurations_that_are_refused(hub, hub_cache, write, files, reason):
    hub.models["org/name"] = write(WANTED | files)
    with pytest.raises(UnsupportedError, match=reason):
        read("org/name")
