import pytest

from models.core.checkpoint import file_sha256
from models.core.errors import DataError
from models.data.image_archive import ImageArchive, LabelledImage
from tests.fixtures.labelled_data import zipped
from tests.fixtures.labelled_zip import write_zip

ROWS = [("b.png", 1, b"second"), ("ä.png", 0, b"first")]


def test_reads_the_rows_that_are_asked_for_in_that_order(tmp_path):
    archive = ImageArchive(write_zip(tmp_path / "set.zip", ROWS))
    assert (archive.name, archive.names) == ("set", ("b.png", "ä.png"))
    assert archive.sha256 == file_sha256(tmp_path / "set.zip")
    assert list(archive.read(("ä.png", "b.png"))) == [
        LabelledImage("ä.png", b"first", 0),
        LabelledImage("b.png", b"second", 1),
    ]


def test_a_name_that_stands_twice_is_refused(tmp_path):
    members = {"index.csv": b"file,label\nb.png,1\nb.png,1\n", "images/b.png": b"second"}
    (tmp_path / "set.zip").write_bytes(zipped(members))
    with pytest.raises(DataError, match=r"b\.png: index\.csv names a file twice"):
        ImageArchive(tmp_path / "set.zip")


def test_class_names_are_refused(tmp_path):
    with pytest.raises(DataError, match="labels must be class indexes"):
        ImageArchive(write_zip(tmp_path / "set.zip", [("b.png", "cat", b"second")]))


def test_outputs_are_refused(tmp_path):
    (tmp_path / "set.jsonl").write_bytes(b'{"label": 0, "logits": [1, 2]}')
    with pytest.raises(DataError, match="holds outputs, not images"):
        ImageArchive(tmp_path / "set.jsonl")
