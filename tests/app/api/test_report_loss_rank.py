"""The part of a report on the loss-rank head, of the shipped version and of odd ones."""

import copy

import pytest

from app.api.report_loss_rank import loss_rank_section
from models.checkpoints.shipped import FOLDER
from models.core.checkpoint import read_manifest
from tests.fixtures.models import SHIPPED


@pytest.fixture
def found():
    return copy.deepcopy(read_manifest(FOLDER / SHIPPED).report["loss_rank"])


def test_figures_of_every_score_and_precision(found):
    page = loss_rank_section(found)
    for record in found["precisions"]:
        assert f"Loss rank in {record['precision']}: 250 rows, {record['wrong']} wrong" in page
        for score in record["scores"].values():
            assert f"{score['r_auroc']['value']:.3f}" in page
    assert "Its gate held." in page
    assert "trained on 16 views of each of 3150 rows" in page
    assert "serving then" not in page


def test_a_collapsed_head_and_what_could_not_be_measured(found):
    found["best"] = None
    found["gate"] = {**found["gate"], "held": False, "reasons": ["the head has collapsed"]}
    for record in found["precisions"]:
        record["recall_at_1"] = None
        for score in record["scores"].values():
            score["r_auroc"] = None
    page = loss_rank_section(found)
    assert "it has collapsed" in page
    assert "Its gate did not hold. the head has collapsed." in page
    assert "the nearest other row has the same class" not in page


def test_names_are_escaped(found):
    found["data"]["name"] = "<script>"
    assert "<script>" not in loss_rank_section(found)
