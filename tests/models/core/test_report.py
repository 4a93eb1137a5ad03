"""What a card warns of: calibration that made ECE worse by more than noise, and versions that nobody judged."""

import pytest

from models.core.report import harmed, version_warnings


@pytest.mark.parametrize(
    ("before", "after", "expected"),
    [
        ((0.10, 0.02), (0.20, 0.02), True),
        ((0.03, 0.04), (0.05, 0.06), False),  # both below what perfect calibration would read
        ((0.10, 0.02), (0.12, 0.05), False),  # it grew less than its floor
        ((0.10, 0.08), (0.09, 0.02), False),
    ],
)
def test_harm_is_an_ece_that_rose_by_more_than_its_floor(before, after, expected):
    measured = [{"ece": ece, "ece_floor": floor} for ece, floor in (before, after)]
    assert harmed({"before": measured[0], "after": measured[1]}) is expected


def test_a_version_without_evaluations_was_never_calibrated():
    (warning,) = version_warnings({"evaluations": []})
    assert warning.startswith("This version was never calibrated or judged")
    (warning,) = version_warnings({"evaluations": [], "tokens": {}})
    assert warning.startswith("On choices this version was never")
