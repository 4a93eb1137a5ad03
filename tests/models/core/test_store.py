import json
import shutil
import signal
from datetime import datetime

import pytest
import torch

from models.core.checkpoint import GOLDEN, MANIFEST, METHODS
from models.core.errors import CheckpointError, UnknownNameError
from models.core.store import CheckpointStore
from tests.fixtures import store_processes
from tests.fixtures.made_version import WEIGHTS, WEIGHTS_SHA256, made_version


@pytest.fixture
def store(tmp_path):
    """A store with the weights of `made_version` and no model."""
    store = CheckpointStore(tmp_path / "store")
    store.add_weights(WEIGHTS, expected=WEIGHTS_SHA256)
    return store


@pytest.fixture
def published(store):
    """Three versions of the model `made`, the first one active."""
    for temperature in (1, 2, 3):
        store.publish("made", made_version(temperature))
    store.activate("made", 1, actor="test", reason="first")
    return store


def test_publishing_numbers_versions_and_activates_none(store):
    assert [store.publish("made", made_version(t)) for t in (1, 2, 3)] == [1, 2, 3]
    assert store.versions("made") == [1, 2, 3]
    assert store.models() == []
    with pytest.raises(UnknownNameError, match="made"):
        store.active("made")
    for number in (1, 2, 3):
        version = store.read("made", number)
        assert version.tensors["float32.calibrator.temperature"] == number
        assert store.read_manifest("made", number) == version.manifest


def test_ten_versions_are_in_the_order_of_their_numbers(store):
    for number in range(11):
        last = store.publish("made", made_version(temperature=number))
    assert last == 11
    assert store.versions("made") == list(range(1, 12))


def test_an_equal_version_is_published_once(store):
    first = store.publish("made", made_version(temperature=2))
    store.publish("made", made_version(temperature=3))
    assert store.publish("made", made_version(temperature=2)) == first
    assert store.versions("made") == [1, 2]


def test_an_empty_store_has_no_models(tmp_path):
    store = CheckpointStore(tmp_path / "not" / "there")
    assert store.models() == []
    assert store.manifest_hashes("made") == {}
    for ask in (store.versions, store.active):
        with pytest.raises(UnknownNameError, match="known: none"):
            ask("made")


def test_going_forward_and_back_keeps_every_move(published):
    published.activate("made", 3, actor="ana", reason="better ECE")
    active = published.activate("made", 2, actor="bo", reason="roll back")
    assert published.active("made") == active
    assert active.version == 2
    assert [(m.version, m.actor, m.reason) for m in active.history] == [
        (1, "test", "first"),
        (3, "ana", "better ECE"),
        (2, "bo", "roll back"),
    ]
    assert all(datetime.fromisoformat(move.at).utcoffset().total_seconds() == 0 for move in active.history)
    assert published.models() == ["made"]


def test_every_move_changes_the_stamp_of_its_pointer_alone(published):
    published.publish("other", made_version())
    published.activate("other", 1, actor="test", reason="")
    stamps = [published.pointer_stamps()]
    for version in (2, 1, 2, 2):
        published.activate("made", version, actor="test", reason="")
        stamps.append(published.pointer_stamps())
    assert len({stamp["made"] for stamp in stamps}) == 5
    assert len({stamp["other"] for stamp in stamps}) == 1
    assert CheckpointStore(published.root / "nowhere").pointer_stamps() == {}


def test_verifying_reads_every_file_of_a_version(published):
    published.verify("made", 2)
    with pytest.raises(UnknownNameError, match="99"):
        published.verify("made", 99)
    weights = published.weights_path(WEIGHTS_SHA256)
    for path in (*(published.root / "made/versions/2" / name for name in (MANIFEST, METHODS, GOLDEN)), weights):
        content = path.read_bytes()
        path.write_bytes(content[:-2] + b"\x07\n")
        with pytest.raises(CheckpointError):
            published.verify("made", 2)
        path.write_bytes(content)
    published.verify("made", 2)


def test_an_unknown_version_is_refused_and_nothing_moves(published):
    for ask in (
        lambda: published.activate("made", 4, actor="test", reason=""),
        lambda: published.read("made", 0),
        lambda: published.read_manifest("made", -1),
    ):
        with pytest.raises(UnknownNameError, match="known: 1, 2, 3"):
            ask()
    assert len(published.active("made").history) == 1


@pytest.mark.parametrize(
    "name",
    ["", ".", "..", "../made", "made/../made", "/made", "Made", "_weights", ".hidden", "a b", "a\n", "é", "a" * 101],
)
def test_bad_model_names_are_refused(published, name):
    for ask in (
        lambda: published.publish(name, made_version()),
        lambda: published.versions(name),
        lambda: published.active(name),
        lambda: published.activate(name, 1, actor="test", reason=""),
        lambda: published.manifest_hashes(name),
    ):
        with pytest.raises(UnknownNameError, match="unknown model"):
            ask()


@pytest.mark.parametrize("content", ["", "{", "[]", "{}", '{"version": 1}', '{"version": "x", "history": []}', "null"])
def test_a_damaged_pointer_is_named(published, content):
    (published.root / "made" / "active.json").write_text(content)
    with pytest.raises(CheckpointError, match=r"active\.json"):
        published.active("made")


@pytest.mark.parametrize("name", [MANIFEST, METHODS, GOLDEN])
def test_a_version_without_a_file_is_refused(published, name):
    (published.root / "made" / "versions" / "2" / name).unlink()
    with pytest.raises((CheckpointError, UnknownNameError), match=name if name != MANIFEST else "version of made '2'"):
        published.read("made", 2)


def test_what_others_left_in_the_folder_is_no_version(published):
    versions = published.root / "made" / "versions"
    for name in ("2.bak", "7-old", ".123.tmp", "notes"):
        shutil.copytree(versions / "2", versions / name)
    assert published.versions("made") == [1, 2, 3]
    assert published.publish("made", made_version()) == 4


def test_the_number_of_a_removed_version_is_not_given_again(published):
    shutil.rmtree(published.root / "made" / "versions" / "2")
    assert published.publish("made", made_version()) == 4


def test_weights_are_stored_once_under_their_hash(store):
    assert store.add_weights(dict(reversed(WEIGHTS.items()))) == WEIGHTS_SHA256
    assert len(list((store.root / "_weights").iterdir())) == 1
    read = store.read_weights(WEIGHTS_SHA256)
    assert read.keys() == WEIGHTS.keys()
    assert all(torch.equal(value, WEIGHTS[name]) for name, value in read.items())


def test_weights_that_are_not_the_expected_ones_are_not_stored(store):
    with pytest.raises(CheckpointError, match="expected 0000"):
        store.add_weights({"other": torch.zeros(3)}, expected="0" * 64)
    assert len(list((store.root / "_weights").iterdir())) == 1


def test_changed_weights_are_found(store):
    path = store.weights_path(WEIGHTS_SHA256)
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)
    with pytest.raises(CheckpointError, match=f"{path.name} has sha256"):
        store.read_weights(WEIGHTS_SHA256)
    path.unlink()
    with pytest.raises(CheckpointError, match="add_weights"):
        store.read_weights(WEIGHTS_SHA256)


def test_a_version_without_its_weights_is_not_published(tmp_path):
    store = CheckpointStore(tmp_path)
    with pytest.raises(CheckpointError, match="add_weights"):
        store.publish("made", made_version())
    assert list(tmp_path.iterdir()) == []


def test_a_failed_publish_leaves_nothing(published, monkeypatch):
    def no_space(descriptor):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("models.core.atomic.os.fsync", no_space)
    with pytest.raises(OSError, match="No space"):
        published.publish("made", made_version())
    assert sorted(path.name for path in (published.root / "made" / "versions").iterdir()) == ["1", "2", "3"]


def test_processes_that_publish_at_once_get_numbers_of_their_own(store):
    assert store_processes.run_together(store_processes.publish, [(store.root, 4)] * 4) == [0] * 4
    assert store.versions("made") == list(range(1, 17))
    temperatures = [float(store.read("made", n).tensors["float32.calibrator.temperature"]) for n in range(1, 17)]
    writers = [temperature // 4 for temperature in temperatures]
    assert sorted(map(writers.count, set(writers))) == [4, 4, 4, 4]


def test_processes_that_activate_at_once_lose_no_move(published):
    assert store_processes.run_together(store_processes.activate, [(published.root, 8)] * 4) == [0] * 4
    history = published.active("made").history[1:]
    assert len(history) == 32
    for actor in {move.actor for move in history}:
        assert [move.reason for move in history if move.actor == actor] == [str(move) for move in range(8)]


@pytest.mark.parametrize("before", [METHODS, GOLDEN, MANIFEST, "rename"])
def test_a_publish_that_is_killed_leaves_no_version(published, before):
    died = store_processes.run_together(store_processes.publish_and_die, [(published.root, before)])
    assert died == [-signal.SIGKILL]
    assert published.versions("made") == [1, 2, 3]
    assert published.publish("made", made_version(9)) == 4
    assert published.read("made", 4).tensors["float32.calibrator.temperature"] == 9


def test_an_activation_that_is_killed_keeps_the_old_pointer_and_no_lock(published):
    assert store_processes.run_together(store_processes.activate_and_die, [(published.root,)]) == [-signal.SIGKILL]
    assert published.active("made").history[-1].actor == "test"
    assert published.activate("made", 3, actor="next", reason="").version == 3


def test_the_pointer_is_replaced_in_one_step(published):
    path = published.root / "made" / "active.json"
    with path.open("rb") as opened_before:
        published.activate("made", 2, actor="test", reason="")
        assert json.loads(opened_before.read())["version"] == 1
    assert json.loads(path.read_bytes())["version"] == 2
    assert not list(path.parent.glob("*.tmp"))
