import multiprocessing

import pytest

from models.core.errors import CheckpointError
from models.core.weight_folder import add_folder, checked_folder, folder_sha256


@pytest.fixture
def source(tmp_path):
    folder = tmp_path / "source"
    folder.mkdir()
    (folder / "model.safetensors").write_bytes(b"weights")
    (folder / "tokenizer.json").write_bytes(b"{}")
    return folder


def test_a_folder_is_known_by_the_names_and_contents_of_its_files(source, tmp_path):
    first = folder_sha256(source)
    assert add_folder(source, tmp_path / "root") == first
    (source / "tokenizer.json").rename(source / "other.json")
    renamed = folder_sha256(source)
    (source / "other.json").write_bytes(b"[]")
    assert len({first, renamed, folder_sha256(source)}) == 3


def test_what_was_added_is_found_again_file_by_file(source, tmp_path):
    root = tmp_path / "root"
    sha256 = add_folder(source, root)
    assert add_folder(source, root) == sha256, "a second time it is there already"
    folder = checked_folder(root, sha256)
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == {
        "model.safetensors": b"weights",
        "tokenizer.json": b"{}",
    }
    assert [path.name for path in root.iterdir()] == [sha256], "nothing is left beside it"


def test_other_files_than_expected_are_not_added(source, tmp_path):
    with pytest.raises(CheckpointError, match="expected 00"):
        add_folder(source, tmp_path / "root", expected="00")
    assert not (tmp_path / "root").exists()


@pytest.mark.parametrize("damage", ["changed", "more", "fewer", "gone", "a folder in it"])
def test_damage_is_found(source, tmp_path, damage):
    sha256 = add_folder(source, tmp_path)
    folder = tmp_path / sha256
    if damage == "changed":
        (folder / "tokenizer.json").write_bytes(b"[]")
    elif damage == "more":
        (folder / "code.py").write_bytes(b"")
    elif damage == "fewer":
        (folder / "tokenizer.json").unlink()
    elif damage == "a folder in it":
        (folder / "more").mkdir()
    else:
        folder.rename(tmp_path / "away")
    with pytest.raises(CheckpointError, match=sha256[:8]):
        checked_folder(tmp_path, sha256)


def test_several_processes_may_add_the_same_folder_at_once(source, tmp_path):
    root = tmp_path / "root"
    with multiprocessing.get_context("fork").Pool(4) as pool:
        found = pool.starmap(add_folder, [(source, root)] * 8)
    assert len(set(found)) == 1
    assert checked_folder(root, found[0]).is_dir()
    assert [path.name for path in root.iterdir()] == [found[0]]


def test_adding_again_mends_what_was_damaged(source, tmp_path):
    sha256 = add_folder(source, tmp_path)
    (tmp_path / sha256 / "tokenizer.json").write_bytes(b"[]")
    assert add_folder(source, tmp_path) == sha256
    assert (checked_folder(tmp_path, sha256) / "tokenizer.json").read_bytes() == b"{}"
    (damaged,) = tmp_path.glob("*.damaged")
    assert (damaged / "tokenizer.json").read_bytes() == b"[]"
