"""Bytes and base64 to pixels, within limits."""

import base64

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.errors import HowsureError
from app.scoring.intake import ImageInput, Limits, decode
from models.core.input_spec import InputSpec
from tests.fixtures.images import flat_png, image_file

SPEC = InputSpec(32, 32, 36, "bilinear", (0.5, 0.5, 0.5), (0.5, 0.5, 0.5))
LIMITS = Limits(max_bytes=10_000, max_pixels=100_000)
JPEG = image_file(1)
TEXT = base64.b64encode(JPEG).decode()


@pytest.mark.parametrize(
    "content",
    [
        TEXT,
        f"data:image/jpeg;base64,{TEXT}",
        f"data:;base64,{TEXT}",
        f"data:image/svg+xml;charset=utf-8;base64,{TEXT}",
    ],
    ids=["base64", "data URI", "no type", "parameters"],
)
def test_text_forms_give_the_pixels_of_the_bytes(content):
    pixels = decode(ImageInput("x", JPEG), SPEC, LIMITS)
    assert pixels.shape == (32, 32, 3)
    assert pixels.dtype == np.uint8
    np.testing.assert_array_equal(decode(ImageInput("x", content), SPEC, LIMITS), pixels)


@pytest.mark.parametrize(
    ("content", "status"),
    [
        (b"", 422),
        ("", 422),
        ("data:image/jpeg;base64,", 422),
        ("data:,x", 422),
        ("data:image/jpeg,%FF%D8", 422),
        ("DATA:image/jpeg;base64," + TEXT, 422),
        ("data:text/html;base64," + TEXT, 422),
        (TEXT[:-1], 422),
        (TEXT[:40] + "\n" + TEXT[40:], 422),
        (TEXT.replace("/", "_").replace("+", "-"), 422),
        ("ключ", 422),
        ("https://example.org/cat.jpg", 422),
        ("file:///etc/passwd", 422),
        (b"GIF89a", 415),
        (b"plain text", 415),
        (b"x" * 10_001, 413),
        ("A" * 13_340, 413),
        (flat_png(100_001, 1), 413),
    ],
)
def test_what_is_refused(content, status):
    with pytest.raises(HowsureError) as refused:
        decode(ImageInput("x", content), SPEC, LIMITS)
    assert refused.value.status == status
    assert refused.value.detail


def test_limits_are_inclusive():
    assert decode(ImageInput("x", flat_png(1000, 100)), SPEC, LIMITS).shape == (32, 32, 3)
    exact = Limits(max_bytes=len(JPEG), max_pixels=96 * 80)
    assert decode(ImageInput("x", TEXT), SPEC, exact).shape == (32, 32, 3)


@given(
    st.one_of(
        st.binary(max_size=300),
        st.text(max_size=300),
        st.builds(lambda start, rest: JPEG[:start] + rest, st.integers(0, len(JPEG)), st.binary(max_size=50)),
    )
)
def test_anything_gives_pixels_or_a_problem(content):
    try:
        outcome = decode(ImageInput("x", content), SPEC, LIMITS).shape
    except HowsureError as error:
        outcome = error.status
    assert outcome in ((32, 32, 3), 413, 415, 422)
