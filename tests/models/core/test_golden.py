import hashlib
import math

import numpy as np
import pytest

from models.core.atomic import json_bytes
from models.core.errors import CheckpointError
from models.core.golden import TOLERANCE, Golden, GoldenRow, distance, golden_pixels
from models.core.input_spec import InputSpec

SPEC = InputSpec(32, 48, 48, "bicubic", (0.5, 0.5, 0.5), (0.5, 0.5, 0.5))
ROW = GoldenRow(0.4, {"entropy": 0.2, "energy": -8.0})
GOLDEN = Golden((1, 2), {"float32": (ROW, ROW)})


def test_pixels_are_the_same_on_every_machine():
    pixels = golden_pixels(SPEC, (1, 2))
    assert (pixels.shape, pixels.dtype) == ((2, 32, 48, 3), np.uint8)
    assert hashlib.sha256(pixels.tobytes()).hexdigest() == PIXELS_SHA256


PIXELS_SHA256 = "546de3c481a0ada6fd1182117584f5e1481ac135c48139bda613aacc6e82b21a"


@pytest.mark.parametrize("factor", [1, 0.5, -0.5])
def test_answers_within_the_tolerance_pass(factor):
    step = factor * TOLERANCE["float32"] * 0.99
    answer = GoldenRow(0.4 * math.exp(step), {"entropy": 0.2 + step, "energy": -8.0 * (1 + step)})
    assert GOLDEN.check("float32", [ROW, answer]) == pytest.approx(abs(factor) * 0.99, rel=1e-3)


@pytest.mark.parametrize(
    "answer",
    [
        GoldenRow(0.4 * math.exp(0.0021), ROW.scores),
        GoldenRow(0.4 * math.exp(-0.0021), ROW.scores),
        GoldenRow(0.4, {"entropy": 0.2021, "energy": -8.0}),
        GoldenRow(0.4, {"entropy": 0.2, "energy": -8.017}),
        GoldenRow(math.nan, ROW.scores),
        GoldenRow(0.0, ROW.scores),
        GoldenRow(0.4, {"entropy": math.nan, "energy": -8.0}),
        GoldenRow(0.4, {"entropy": 0.2, "energy": math.nan}),
        GoldenRow(0.4, {"entropy": 0.2, "energy": math.inf}),
    ],
    ids=["higher", "lower", "small-score", "large-score", "nan", "zero", "nan-first", "nan-last", "infinite"],
)
def test_other_answers_are_refused(answer):
    with pytest.raises(CheckpointError, match="golden input 2"):
        GOLDEN.check("float32", [ROW, answer])


def test_another_set_of_scores_is_refused():
    with pytest.raises(CheckpointError, match="golden scores"):
        distance(ROW, GoldenRow(0.4, {"entropy": 0.2}))


@pytest.mark.parametrize(("precision", "answers"), [("bfloat16", [ROW, ROW]), ("float32", [ROW])])
def test_rows_that_are_not_there_are_refused(precision, answers):
    with pytest.raises(CheckpointError, match=precision):
        GOLDEN.check(precision, answers)


def test_survives_json():
    assert Golden.from_json(json_bytes(GOLDEN.to_dict())) == GOLDEN


@pytest.mark.parametrize(
    "content", [b"", b"[]", b"{}", b"null", b'{"seeds": [1], "rows": 3}', b'{"seeds": 1, "rows": {}}', b"\xff"]
)
def test_what_is_no_golden_file_is_refused(content):
    with pytest.raises(CheckpointError, match=r"golden\.json"):
        Golden.from_json(content)
