import pytest

from models.core.checkpoint import file_sha256
from models.data.image_archive import ImageArchive, LabelledImage
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
    path = tmp_path / "set.zip"
    write_zip(path, ROWS[:1])
    with pytest.warns(UserWarning, match="Duplicate name"):
        write_zip(path, ROWS[:1] * 2)
    with pytest.raises(ValueError, match="names a file twice"):
        ImageArchive(path)
