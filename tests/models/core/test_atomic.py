import json
import math
import threading

import pytest

from models.core.atomic import json_bytes, publish_folder, write_bytes, write_json


def test_replaces_the_file_and_leaves_nothing_beside_it(tmp_path):
    path = tmp_path / "a.json"
    for content in (b"one", b"two"):
        write_bytes(path, content)
        assert path.read_bytes() == content
    assert [file.name for file in tmp_path.iterdir()] == ["a.json"]


def test_a_failed_write_keeps_the_old_file(tmp_path, monkeypatch):
    path = tmp_path / "a.json"
    write_bytes(path, b"old")

    def no_space(descriptor):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("models.core.atomic.os.fsync", no_space)
    with pytest.raises(OSError, match="No space"):
        write_bytes(path, b"new")
    assert path.read_bytes() == b"old"
    assert [file.name for file in tmp_path.iterdir()] == ["a.json"]


def test_a_reader_sees_a_whole_file_at_any_time(tmp_path):
    path = tmp_path / "a.json"
    write_json(path, [0] * 20_000)
    writer = threading.Thread(target=lambda: [write_json(path, [number] * 20_000) for number in range(30)])
    writer.start()
    while writer.is_alive():
        seen = json.loads(path.read_bytes())
        assert seen == [seen[0]] * 20_000
    writer.join()


def test_equal_content_gives_equal_bytes_and_nan_is_refused():
    assert json_bytes({"b": 1, "a": "é"}) == json_bytes({"a": "é", "b": 1}) == '{\n "a": "é",\n "b": 1\n}\n'.encode()
    with pytest.raises(ValueError, match="not JSON compliant"):
        json_bytes(math.nan)


def test_a_folder_takes_the_place_of_another(tmp_path):
    for content in ("one", "two"):
        beside = tmp_path / ".beside"
        beside.mkdir()
        (beside / content).write_text(content)
        publish_folder(beside, tmp_path / "there")
        assert [path.name for path in (tmp_path / "there").iterdir()] == [content]
    assert [path.name for path in tmp_path.iterdir()] == ["there"]
