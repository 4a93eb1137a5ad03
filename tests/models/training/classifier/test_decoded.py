"""Decoded once: the pixels that the server would see; images that cannot be read are left out and named."""

import numpy as np
import pytest
import torch

from models.core.errors import DataError
from models.core.image import read_image
from models.feature_cache.image_rows import ImageRows
from models.training.classifier.decoded import decode
from tests.fixtures.images import image_file
from tests.models.training.classifier.small_trainings import SPEC

FILES = {f"{number}.png": image_file(number, size=(20, 16), kind="PNG") for number in range(5)}


def image_rows(changed):
    files = FILES | changed
    return ImageRows(tuple(files), np.arange(5), lambda names: [files[name] for name in names], "0" * 64)


def test_a_bad_image_is_left_out_with_its_label(tmp_path):
    told = []
    found = decode(image_rows({"1.png": b"no image", "3.png": None}), SPEC, tmp_path / "rows.npy", told.append)
    assert found.names == ("0.png", "2.png", "4.png")
    assert found.rows.labels.tolist() == [0, 2, 4]
    expected = [SPEC.pixels(read_image(FILES[name], SPEC)) for name in found.names]
    assert np.array_equal(found.rows.read(torch.arange(3))[0].numpy(), np.stack(expected))
    assert [name for name, _ in found.bad] == ["1.png", "3.png"]
    assert "checksum" in found.bad[1][1]
    assert told == [1, 2, 3, 4, 5]


def test_what_is_there_already_is_replaced(tmp_path):
    path = tmp_path / "rows.npy"
    path.write_bytes(b"of a run that was killed")
    decode(image_rows({}), SPEC, path, lambda done: None)
    assert np.load(path).shape == (5, 8, 8, 3)
    assert list(tmp_path.iterdir()) == [path]


def test_no_readable_image_is_refused(tmp_path):
    with pytest.raises(DataError, match="give at least one"):
        decode(image_rows(dict.fromkeys(FILES, b"no image")), SPEC, tmp_path / "rows.npy", lambda done: None)
