"""Data on this machine as it is sent: a file as it is, a folder as a zip that is always the same."""

import os
import zipfile

import pytest

from app.client.upload import open_upload


@pytest.fixture
def folder(tmp_path):
    root = tmp_path / "photos"
    for name, content in {"cat/b.jpg": b"b", "cat/a.jpg": b"a", "dog/c.jpg": b"c", "dog/.hidden": b"x"}.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(content)
    (root / ".git").mkdir()
    (root / ".git/d.jpg").write_bytes(b"d")
    return root


def content_of(data):
    upload = open_upload(data)
    with upload.file:
        return upload.name, upload.file.read()


def test_a_file_is_read_from_the_disk_as_it_is_sent(tmp_path):
    path = tmp_path / "digits.tar.gz"
    path.write_bytes(b"content")
    upload = open_upload(str(path))
    with upload.file:
        assert (upload.name, upload.file.name) == ("digits.tar.gz", str(path))
    assert content_of(path) == ("digits.tar.gz", b"content")


def test_bytes_with_a_name():
    assert content_of(("table.csv", b"label")) == ("table.csv", b"label")


def test_a_folder_is_a_zip_of_what_is_not_hidden(folder):
    upload = open_upload(folder)
    with upload.file, zipfile.ZipFile(upload.file) as archive:
        assert upload.name == "photos.zip"
        assert archive.namelist() == ["cat/a.jpg", "cat/b.jpg", "dog/c.jpg"]
        assert archive.read("dog/c.jpg") == b"c"


def test_the_same_folder_is_the_same_bytes(folder):
    _, before = content_of(folder)
    os.utime(folder / "cat/a.jpg", (1, 2_000_000_000))
    assert content_of(folder)[1] == before
    (folder / "cat/a.jpg").write_bytes(b"A")
    assert content_of(folder)[1] != before


def test_here_has_a_name(folder, monkeypatch):
    monkeypatch.chdir(folder)
    assert content_of(".")[0] == "photos.zip"


def test_links_to_files_are_read_and_links_to_folders_refused(folder, tmp_path):
    (folder / "cat/e.jpg").symlink_to(folder / "cat/a.jpg")
    upload = open_upload(folder)
    with upload.file, zipfile.ZipFile(upload.file) as archive:
        assert archive.read("cat/e.jpg") == b"a"
    (folder / "more").symlink_to(tmp_path)
    with pytest.raises(OSError, match="a link to a folder is not followed: copy the folder") as raised:
        open_upload(folder)
    assert raised.value.filename == str(folder / "more")


def test_what_cannot_be_listed_is_not_left_out_in_silence(folder, monkeypatch):
    def refuse(path):
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr(os, "scandir", refuse)
    with pytest.raises(PermissionError):
        open_upload(folder)
