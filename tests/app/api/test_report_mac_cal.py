"""The part of a report on MaC-Cal: its curves, the epoch kept, and every verdict of its guard."""

import copy
import xml.etree.ElementTree as ET

import pytest

from app.api.diagram import MARGIN, SIDE
from app.api.report_mac_cal import mac_cal_section
from app.api.report_page import report_page
from tests.fixtures.evaluations import made_evaluation

SVG = "{http://www.w3.org/2000/svg}"
EPOCHS = [
    {"q": q, "confidence": 0.5 + gap, "accuracy": 0.5, "gap": gap, "held_out_nll": nll}
    for q, gap, nll in ((0.9, 0.2, 1.5), (0.76, 0.1, 1.25), (0.69, 0.05, 1.3), (0.655, -0.05, 1.4))
]
RECORD = {
    "options": {"reading": "additive", "gamma": 0.7, "lowest_q": 0.1, "gap": "heldout", "width": 20},
    "rows": {"fitted": 80, "held_out": 20},
    "epochs": EPOCHS,
    "kept": 1,
    "guard": {
        "held": True,
        "largest_drop": 0.01,
        "accuracy": {"own": 0.5, "new": 0.55},
        "nll": {"own": 2.25, "new": 1.25},
    },
}


@pytest.fixture
def record():
    return copy.deepcopy(RECORD)


def diagrams(page):
    return [ET.fromstring(f"<svg{part.split('</svg>')[0]}</svg>") for part in page.split("<svg")[1:]]


def test_q_and_the_gap_are_drawn_epoch_by_epoch(record):
    retention, gap = diagrams(mac_cal_section({"float32": record}))
    curves = {
        name: [line.get("points") for line in picture.iter(f"{SVG}polyline") if line.get("stroke")]
        for name, picture in (("retention", retention), ("gap", gap))
    }
    (of_q,) = curves["retention"]
    points = [tuple(map(float, point.split(","))) for point in of_q.split()]
    assert [x for x, _ in points] == pytest.approx([MARGIN + SIDE * place / 4 for place in (1, 2, 3, 4)], abs=0.06)
    assert points[0][1] - points[3][1] == pytest.approx(SIDE * (0.655 - 0.9), abs=0.11)
    assert len(curves["gap"]) == 2


def test_the_table_has_the_first_the_kept_and_the_last_epoch(record):
    page = mac_cal_section({"float32": record})
    for name, epoch in (("1, first", EPOCHS[0]), ("2, kept", EPOCHS[1]), ("4, last", EPOCHS[3])):
        assert f"<td>{name}</td><td>{epoch['q']:.3f}</td>" in page
        assert f"<td>{epoch['gap']:+.3f}</td><td>{epoch['held_out_nll']:.3f}</td>" in page
    assert "Kept: epoch 2 of 4" in page
    assert "20 units" in page


def test_the_guard_says_what_it_saw(record):
    page = mac_cal_section({"float32": record})
    assert '<p class="held">Its guard held' in page
    assert "0.500" in page
    assert "0.550" in page
    record["guard"]["held"] = False
    assert '<p class="refused">Its guard did not hold: the network\'s own logits stay.' in mac_cal_section(
        {"float32": record}
    )


def test_nothing_could_be_held_out(record):
    few = {"options": record["options"], "rows": {"fitted": 4, "held_out": 0}, "guard": {"held": False}}
    page = mac_cal_section({"float32": few})
    assert "too few rows" in page
    assert "<svg" not in page


def test_it_is_on_the_page_of_a_version_that_has_a_record(record):
    evaluations = [made_evaluation()]
    page = report_page("m", evaluations, fitting={"bfloat16": record, "<b>": record})
    assert page.index("MaC-Cal in bfloat16") < page.index("Served in")
    assert "MaC-Cal in &lt;b&gt;" in page
    assert "MaC-Cal" not in report_page("m", evaluations)
