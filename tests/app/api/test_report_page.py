"""The report page and the reliability diagram say what the manifest says, and survive hostile names."""

import xml.etree.ElementTree as ET
from dataclasses import replace

import pytest

from app.api.reliability import SIDE, TOP, reliability_svg
from app.api.report_page import report_page
from models.checkpoints.shipped import FOLDER
from models.core.checkpoint import read_manifest
from models.core.manifest import Manifest

SVG = "{http://www.w3.org/2000/svg}"


@pytest.fixture(scope="module")
def manifest() -> Manifest:
    return read_manifest(FOLDER / "efficientnet-lite0")


def test_a_dot_for_every_bin_where_confidence_and_accuracy_put_it(manifest: Manifest) -> None:
    evaluation = manifest.report["evaluations"][0]
    root = ET.fromstring(reliability_svg(evaluation))
    dots = [circle for circle in root.iter(f"{SVG}circle") if circle.find(f"{SVG}title") is not None]
    bins = [*evaluation["before"]["reliability"], *evaluation["after"]["reliability"]]
    assert len(dots) == len(bins)
    for dot, part in zip(dots, bins, strict=True):
        assert float(dot.attrib["cy"]) == pytest.approx(TOP + SIDE * (1 - part["accuracy"]), abs=0.06)
        assert dot.findtext(f"{SVG}title") == f"{part['count']} rows"


def test_page_holds_every_figure_and_the_warning_of_the_shifted_set(manifest: Manifest) -> None:
    page = report_page("efficientnet-lite0", 1, manifest)
    for evaluation in manifest.report["evaluations"]:
        for compared in evaluation["compared"].values():
            assert f"<td>{compared['ece']:.3f}</td>" in page
    assert page.count('<p class="warning">On imagenet_val_imagenette160_shared') == len(manifest.precisions)


def test_names_are_escaped(manifest: Manifest) -> None:
    evaluations = [{**each, "data": "<script>"} for each in manifest.report["evaluations"]]
    page = report_page("m", 1, replace(manifest, report={"evaluations": evaluations}))
    assert "<script>" not in page
    assert "&lt;script&gt;" in page
