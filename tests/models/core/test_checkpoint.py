from dataclasses import replace

import pytest
import torch

from models.core.checkpoint import (
    GOLDEN,
    MANIFEST,
    METHODS,
    file_sha256,
    read_manifest,
    read_version,
    sealed,
    write_version,
)
from models.core.errors import CheckpointError
from tests.fixtures.made_version import made_version

FILES = (GOLDEN, MANIFEST, METHODS)


@pytest.fixture
def folder(tmp_path):
    write_version(tmp_path, made_version())
    return tmp_path


def test_reads_what_was_written(folder):
    version, written = read_version(folder), made_version()
    assert replace(version.manifest, files={}) == written.manifest
    assert version.golden == written.golden
    assert version.tensors.keys() == written.tensors.keys()
    assert all(torch.equal(value, written.tensors[name]) for name, value in version.tensors.items())
    assert sorted(path.name for path in folder.iterdir()) == sorted(FILES)


def test_equal_versions_give_equal_bytes(folder, tmp_path_factory):
    again = tmp_path_factory.mktemp("again")
    write_version(again, made_version())
    assert all((again / name).read_bytes() == (folder / name).read_bytes() for name in FILES)


def test_a_methods_state_has_its_own_names_in_its_own_precision():
    tensors = {
        "float32.calibrator.temperature": torch.tensor(1.0),
        "bfloat16.calibrator.temperature": torch.tensor(2.0),
        "float32.scores.entropy.reference": torch.tensor([3.0]),
        "float32.scores.entropy_2.reference": torch.tensor([4.0]),
    }
    version = replace(made_version(), tensors=tensors)
    assert version.method_state("float32", "calibrator") == {"temperature": tensors["float32.calibrator.temperature"]}
    assert version.method_state("float32", "scores.entropy").keys() == {"reference"}
    assert version.method_state("float32", "scores.energy") == {}


@pytest.mark.parametrize("name", FILES)
def test_a_missing_file_is_named(folder, name):
    (folder / name).unlink()
    with pytest.raises(CheckpointError, match=name):
        read_version(folder)


@pytest.mark.parametrize("name", [GOLDEN, METHODS])
def test_one_changed_byte_is_found(folder, name):
    path = folder / name
    content = bytearray(path.read_bytes())
    for position in (0, len(content) // 2, len(content) - 1):
        content[position] ^= 1
        path.write_bytes(content)
        with pytest.raises(CheckpointError, match=f"{name} has sha256"):
            read_version(folder)
        content[position] ^= 1


@pytest.mark.parametrize("keep", [0, 1, -1])
@pytest.mark.parametrize("name", FILES)
def test_a_cut_file_is_found(folder, name, keep):
    path = folder / name
    content = path.read_bytes()
    path.write_bytes(content[:keep] if name != MANIFEST or keep >= 0 else content[:-3])
    with pytest.raises(CheckpointError, match=name):
        read_version(folder)


def test_any_damage_to_the_manifest_is_found(folder):
    path = folder / MANIFEST
    content = path.read_bytes()
    for turn, position in enumerate(range(0, len(content) - 1, 4)):
        flipped = content[position] ^ (1, 4, 128)[turn % 3]
        path.write_bytes(content[:position] + bytes([flipped]) + content[position + 1 :])
        if content[position : position + 1].isspace() and flipped in b"\t\r\n ":
            continue  # white space between two fields means nothing
        with pytest.raises(CheckpointError):
            read_version(folder)


def test_the_manifest_must_name_the_two_files(folder):
    manifest = read_manifest(folder).to_dict()
    for files in ({}, manifest["files"] | {"../secret": "0"}, {GOLDEN: manifest["files"][GOLDEN]}):
        (folder / MANIFEST).write_bytes(sealed(manifest | {"files": files}))
        with pytest.raises(CheckpointError, match="manifest names the files"):
            read_version(folder)


def test_a_pickle_is_never_loaded(folder, tmp_path_factory):
    trap = tmp_path_factory.mktemp("trap") / "sprung"

    class Trap:
        def __reduce__(self):
            return open, (str(trap), "w")

    path = folder / METHODS
    torch.save({"float32.calibrator.temperature": Trap()}, path)
    manifest = read_manifest(folder).to_dict()
    manifest["files"][METHODS] = file_sha256(path)
    (folder / MANIFEST).write_bytes(sealed(manifest))

    with pytest.raises(CheckpointError, match=METHODS):
        read_version(folder)
    assert not trap.exists()
