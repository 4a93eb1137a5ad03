import json
from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from skimage import data

from models.core.image import read_image
from models.core.input_spec import InputSpec
from tests.fixtures.image_files import encode
from tests.oracles.input_spec import resize_whole_then_crop, resized_size

SPEC = InputSpec(224, 224, 256, "bicubic", (0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
SPECS = [SPEC, replace(SPEC, width=160), replace(SPEC, height=96, width=96, resize=110), replace(SPEC, resize=224)]
SIZES = [(256, 256), (257, 255), (1023, 64), (31, 480), (7, 13), (1, 99), (640, 480), (1, 1), (100, 767), (256, 99)]
SIDE = st.integers(1, 5000)


@pytest.mark.parametrize("interpolation", ["bilinear", "bicubic", "lanczos"])
@pytest.mark.parametrize("size", SIZES, ids=lambda size: "x".join(map(str, size)))
def test_pixels_are_those_of_the_whole_image_resized_and_cropped(size, interpolation):
    noise = Image.fromarray(np.random.default_rng(0).integers(0, 256, (*size[::-1], 3), dtype=np.uint8))
    for spec in SPECS:
        spec = replace(spec, interpolation=interpolation)
        pixels = spec.pixels(noise).astype(int)
        assert pixels.shape == (spec.height, spec.width, 3)
        # One of the two orders of axes; the cut's corners are stored in float32, which moves a value by 2 at most.
        distances = [np.abs(pixels - resize_whole_then_crop(noise, spec, axes)).max() for axes in ("xy", "yx")]
        assert min(distances) <= 2


def test_a_photograph_is_resized_and_cropped_whichever_the_order():
    photograph = Image.fromarray(data.coffee())
    for spec in SPECS:
        distance = np.abs(spec.pixels(photograph).astype(int) - resize_whole_then_crop(photograph, spec))
        assert distance.max() <= 8
        assert distance.mean() < 0.1


def test_nearest_takes_pixels_of_the_image_and_shrinks_by_whole_factors_exactly():
    image = Image.fromarray(np.arange(64 * 96, dtype=np.uint16).view(np.uint8).reshape(64, 64, 3))
    spec = InputSpec(32, 32, 32, "nearest", SPEC.mean, SPEC.std)
    np.testing.assert_array_equal(spec.pixels(image), np.asarray(image)[1::2, 1::2])


def test_squash_takes_the_whole_image():
    spec = InputSpec(20, 30, 20, "bilinear", SPEC.mean, SPEC.std, fit="squash")
    image = Image.fromarray(data.coffee())
    np.testing.assert_array_equal(
        spec.pixels(image), np.asarray(image.resize((30, 20), Image.Resampling.BILINEAR)), strict=True
    )


def test_an_image_of_the_right_size_is_taken_as_it_is():
    pixels = np.random.default_rng(0).integers(0, 256, (224, 224, 3), dtype=np.uint8)
    np.testing.assert_array_equal(replace(SPEC, resize=224).pixels(Image.fromarray(pixels)), pixels)


@pytest.mark.parametrize("mode", ["L", "RGBA", "CMYK"])
def test_only_rgb_is_taken(mode):
    with pytest.raises(ValueError, match=mode):
        SPEC.pixels(Image.new(mode, (300, 300)))


@settings(deadline=None, max_examples=300)
@given(width=SIDE, height=SIDE, resize=st.integers(32, 600))
def test_a_draft_never_falls_below_the_resized_image(width, height, resize):
    spec = replace(SPEC, height=32, width=32, resize=resize)
    columns, rows = spec.draft_size(width, height)
    assert min(columns, rows) >= resize
    wanted = resized_size((width, height), resize)
    assert columns >= wanted[0] - 0.5
    assert rows >= wanted[1] - 0.5
    # Asking for more than needed would decode twice the pixels for nothing.
    assert max(columns - wanted[0], rows - wanted[1]) <= 1


@pytest.mark.parametrize(
    ("size", "decoded"),
    [
        ((512, 512), (256, 256)),
        ((511, 511), (511, 511)),
        ((2048, 4000), (256, 500)),
        ((2047, 4000), (512, 1000)),
        ((100, 3000), (100, 3000)),
    ],
)
def test_a_jpeg_is_decoded_at_the_smallest_size_that_suffices(size, decoded):
    content = encode(Image.new("RGB", size, "teal"), "JPEG")
    assert read_image(content, SPEC).size == decoded
    assert read_image(content, replace(SPEC, draft=False)).size == size


def test_a_draft_changes_a_photograph_little():
    # JPEG halves block by block; a cubic filter looks over the edge of a block.
    content = encode(Image.fromarray(data.coffee()).resize((1200, 1200)), "JPEG", quality=90)
    whole = replace(SPEC, draft=False)
    drafted, full = SPEC.pixels(read_image(content, SPEC)), whole.pixels(read_image(content, whole))
    assert np.abs(drafted.astype(int) - full).mean() < 2
    assert (drafted != full).any()


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_tensor_scales_and_normalises_each_channel(dtype):
    spec = replace(SPEC, height=5, width=7)
    pixels = np.random.default_rng(0).integers(0, 256, (3, 5, 7, 3), dtype=np.uint8)
    tensor = spec.tensor(pixels, torch.device("cpu"), dtype)
    expected = (pixels / 255 - np.array(SPEC.mean)) / np.array(SPEC.std)
    assert (tensor.shape, tensor.dtype) == ((3, 3, 5, 7), dtype)
    assert tensor.is_contiguous(memory_format=torch.channels_last)
    tolerance = 1e-5 if dtype == torch.float32 else 2**-8 * 2.7
    np.testing.assert_allclose(tensor.permute(0, 2, 3, 1).double(), expected, rtol=0, atol=tolerance)


@pytest.mark.parametrize("pixels", [np.zeros((2, 224, 224, 3)), np.zeros((2, 224, 223, 3), np.uint8)])
def test_tensor_refuses_other_pixels(pixels):
    with pytest.raises(ValueError, match="expected uint8"):
        SPEC.tensor(pixels, torch.device("cpu"), torch.float32)


def test_survives_json():
    spec = replace(SPEC, draft=False, fit="squash")
    assert InputSpec.from_dict(json.loads(json.dumps(spec.to_dict()))) == spec


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"interpolation": "area"}, "interpolation must be one of"),
        ({"fit": "pad"}, "crop or squash"),
        ({"resize": 200}, "must fit into resize"),
        ({"height": 0, "width": 0}, "must fit into resize"),
        ({"std": (0.2, 0.0, 0.2)}, "std must be positive"),
    ],
)
def test_refuses_impossible_specs(fields, message):
    with pytest.raises(ValueError, match=message):
        replace(SPEC, **fields)
