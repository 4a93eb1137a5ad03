"""The input spec of a training: as asked for, as the base version has it, else by the images."""

import numpy as np
import pytest

from app.api.train_params import TrainParams
from app.jobs.training.images import input_spec_of, normalisation
from models.core.input_spec import InputSpec
from models.data.open_dataset import open_dataset
from tests.fixtures.coloured_zip import coloured_zip

BASE = InputSpec(32, 48, 50, "bicubic", (0.1, 0.2, 0.3), (0.4, 0.5, 0.6))


@pytest.fixture
def spec_of(tmp_path):
    """`spec_of(side, base=None, kind="howsure", **params)`: that for images of this side."""

    def spec_of(side, base=None, kind="howsure", **params):
        path = tmp_path / f"{side}.zip"
        path.write_bytes(coloured_zip(rows=4, side=side))
        images = open_dataset(path)
        return input_spec_of(TrainParams(**params).model_dump(), base, kind, images, images.names)

    return spec_of


@pytest.mark.parametrize(
    ("side", "kind", "expected"),
    [(5, "howsure", 8), (28, "timm", 28), (47, "howsure", 47), (48, "howsure", 32), (64, "timm", 224)],
)
def test_without_a_size_it_is_that_of_small_images(spec_of, side, kind, expected):
    spec = spec_of(side, kind=kind)
    assert (spec.height, spec.width, spec.resize, spec.interpolation) == (expected, expected, expected, "bilinear")


def test_what_is_asked_for(spec_of):
    asked = {"image_size": 24, "resize": 30, "interpolation": "nearest", "mean": (0, 0, 0), "std": (1, 1, 1)}
    assert spec_of(28, **asked) == InputSpec(24, 24, 30, "nearest", (0, 0, 0), (1, 1, 1))


def test_a_base_version_gives_what_is_not_asked_for(spec_of):
    assert spec_of(28, BASE) == BASE
    assert spec_of(28, BASE, image_size=16) == InputSpec(16, 16, 16, "bicubic", BASE.mean, BASE.std)


def test_normalisation_is_that_of_all_pixels():
    pixels = np.random.default_rng(0).integers(0, 200, (50, 6, 5, 3), dtype=np.uint8)
    pixels[..., 2] = 7
    mean, deviation = normalisation(pixels)
    found = pixels.reshape(-1, 3) / 255
    assert mean == pytest.approx(found.mean(axis=0), abs=1e-4)
    assert deviation[:2] == pytest.approx(found.std(axis=0)[:2], abs=1e-4)
    assert deviation[2] == 0.01, "a channel that is the same everywhere"
