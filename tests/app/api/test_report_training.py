"""The part of a report on a training: curves, warm-up on noise, recipe."""

import pytest

from app.api.report_training import training_section


def point(epoch, loss):
    held_out = {"nll": loss + 0.1, "accuracy": 0.5 + 0.1 * epoch, "confidence": 0.625, "ece": 0.03}
    return {"epoch": epoch, "loss": loss, "accuracy": 0.9, "confidence": 0.8, "held_out": held_out}


@pytest.fixture
def found():
    rows = {"rows": 24, "fingerprint": "0"}
    return {
        "plan": {"epochs": 2, "patience": None, "augmentation": {"flip": 0.5}},
        "network": {"kind": "howsure", "name": "<resnet9>", "arguments": {}, "origin": None, "image_size": 32},
        "rows": {"train": {"rows": 192}, "held_out": rows, "report": rows},
        "curve": [point(1, 1.5), point(2, 0.75)],
        "noise": None,
        "stopped": "all 2 epochs are done",
    }


def test_curves_and_recipe(found):
    page = training_section(found)
    assert page.count("<svg") == 3
    assert "trained on, as augmented: 0.750" in page
    assert "NLL, held out: 0.850" in page
    assert "trained from scratch on 192 rows; the curves are of 24 rows" in page
    assert "<td>augmentation.flip</td><td>0.5</td>" in page
    assert "patience" not in page
    assert "&lt;resnet9&gt;" in page
    assert "<resnet9>" not in page


def test_a_warm_up_a_version_to_start_from_and_a_head_that_is_missing(found):
    found["network"]["origin"] = {"model": "tiny", "version": 3, "keeps_head": False}
    found["without_loss_rank"] = "the head has collapsed"
    checks = [(0, 0.75, 0.5), (6, 0.125, 0.25)]
    named = [{"step": step, "loss": None, "confidence": one, "image_confidence": two} for step, one, two in checks]
    found["noise"] = {"stopped": "all 6 steps are done", "checks": named}
    page = training_section(found)
    assert page.count("<svg") == 4
    assert "fresh noise: 0.750 before, 0.125 after" in page
    assert "unseen images: 0.500 before, 0.250 after" in page
    assert "trained from version 3 of tiny, with a new head" in page
    assert "It has no loss_rank score: the head has collapsed." in page
