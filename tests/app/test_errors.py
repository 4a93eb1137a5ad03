"""Codes of errors, and what a request answers whose items all failed."""

import pytest

from app.errors import (
    HowsureError,
    ImageRefusedError,
    InternalError,
    NoneScoredError,
    NotReadyError,
    PayloadTooLargeError,
)
from models.core.image import ImageError, Refusal


def test_codes_are_different_words():
    kinds = HowsureError.__subclasses__()
    codes = [kind.code for kind in kinds]
    assert len(codes) == len(set(codes))
    assert all(code.replace("_", "").isalpha() for code in codes)
    assert all(400 <= kind.status < 600 for kind in kinds)


DAMAGED = ImageRefusedError(ImageError(Refusal.DAMAGED, "torn"))
ANIMATED = ImageRefusedError(ImageError(Refusal.ANIMATED, "frames"))
BIG = ImageRefusedError(ImageError(Refusal.PIXELS, "pixels"))


@pytest.mark.parametrize(
    ("failed", "status", "code"),
    [
        ([DAMAGED, DAMAGED], 422, "image_damaged"),
        ([DAMAGED, ANIMATED], 422, "invalid"),
        ([BIG, PayloadTooLargeError("bytes")], 413, "invalid"),
        ([DAMAGED, BIG], 422, "invalid"),
        ([DAMAGED, InternalError("ours")], 500, "internal"),
        ([InternalError("ours"), NotReadyError("later"), BIG], 503, "not_ready"),
    ],
)
def test_when_every_item_failed_the_answer_takes_over_what_they_agree_on(failed, status, code):
    error = NoneScoredError("none", failed, [])
    assert (error.status, error.problem()["code"]) == (status, code)
    assert ("Retry-After" in error.headers) == (status == 503)
