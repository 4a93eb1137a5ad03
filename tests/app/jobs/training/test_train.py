"""The stages of `train` in this process, on images whose class is their colour."""

import json
from dataclasses import replace

import pytest
import torch

from app.api.report_page import version_report_page
from app.jobs.publishing import kept
from app.jobs.training.train import TRAINED
from models.core.errors import ModelSideError
from models.core.image import read_image
from models.data.splits import fingerprint, split
from models.pipeline import load_pipeline
from models.uncertainty import SCORES
from tests.fixtures.coloured_zip import COLOURS, GREY, SMALL, coloured_image, coloured_zip

MODEL = "colours"
NAMES = tuple(f"{list(COLOURS)[row % 3]}/{row}.png" for row in range(240))


@pytest.fixture
def train_job(staged_job, monkeypatch):
    """`train_job(content, **params)`: a small network on the coloured images, as a new model."""
    monkeypatch.setenv("HOWSURE_THREADS", "1")

    def train_job(content=None, model=MODEL, **params):
        given = SMALL | params
        if "start_from" in params:
            del given["network"]
        return staged_job(content or coloured_zip(), "train", name="colours.zip", model=model, **given)

    return train_job


def uses(version):
    return {use.role: (use.rows, use.fingerprint) for use in version.manifest.data}


def test_a_new_model_gets_every_score_and_answers(train_job, store):
    job = train_job(seed=5, epochs=8, held_out_share=0.3)
    assert job.run() == {"promoted": True, "why": f"it is the first one of {MODEL}"}
    version = store.read(MODEL, store.active(MODEL).version)
    manifest, training = version.manifest, version.manifest.report["training"]
    assert (manifest.classes, set(manifest.scores)) == (("blue", "green", "red"), set(SCORES))
    held_out, report, trained = split(NAMES, 5, 72, 24, 144)
    assert uses(version) == {
        "fit": (72, fingerprint(held_out)),
        "report": (24, fingerprint(report)),
        "train": (144, fingerprint(trained)),
    }
    assert [point["epoch"] for point in training["curve"]] == list(range(1, 9))
    assert (training["noise"], training["stopped"]) == (None, "all 8 epochs are done")
    assert manifest.input_spec.height == 8, "small images are taken at their own size"
    assert manifest.input_spec.mean == pytest.approx((0.37, 0.37, 0.37), abs=0.05)
    assert {"train_loss", "held_out_accuracy", "held_out_confidence", "held_out_ece"} < job.metrics.keys()
    assert job.progress == sorted(job.progress)
    json.dumps(manifest.report, allow_nan=False)
    assert "<h2>Training</h2>" in version_report_page(MODEL, 1, manifest)

    pipeline = load_pipeline(store, version, torch.device("cpu"))
    spec = manifest.input_spec
    pixels = spec.pixels(read_image(coloured_image(COLOURS["red"], seed=999), spec))
    answers = pipeline.answer(pixels[None], SCORES)
    assert manifest.classes[answers.class_index[0]] == "red"
    assert answers.scores.keys() == SCORES.keys()


def test_an_interrupted_training_ends_with_the_same_weights(train_job):
    whole, job = train_job(mixup=0.5, averaging=0.9), train_job(mixup=0.5, averaging=0.9)
    whole.run("prepare", "train")
    epochs = []

    def say(message):
        job.said.append(message)
        if "train_loss" in message.get("metrics", {}):
            epochs.append(message["message"].partition(",")[0])
            if len(epochs) == 2:
                raise KeyboardInterrupt

    job.context = replace(job.context, say=say)
    with pytest.raises(KeyboardInterrupt):
        job.run("prepare", "train")
    job.run("train")
    assert epochs == ["epoch 1 of 3", "epoch 2 of 3", "epoch 3 of 3"], "it began anew"
    one, other = (kept(each.context, TRAINED).manifest for each in (whole, job))
    assert one.backbone == other.backbone
    assert one.report == other.report


def test_several_processes_share_the_training(train_job):
    job = train_job(devices=2, epochs=2)
    job.run("prepare", "train")
    curve = kept(job.context, TRAINED).manifest.report["training"]["curve"]
    assert [point["epoch"] for point in curve] == [1, 2]


def test_a_version_is_trained_on_and_compared_with(train_job, store):
    train_job().run()
    job = train_job(start_from={}, scope="head", epochs=1, seed=7)
    job.run()
    before, after = store.read(MODEL, 1), store.read(MODEL, 2)
    assert any("the rows are split as for the version to start from" in line for line in job.log)
    assert uses(after) == uses(before)
    one, other = (store.read_weights(each.manifest.backbone.sha256) for each in (before, after))
    assert {name for name in one if not one[name].equal(other[name])} == {"fc.weight", "fc.bias"}
    report = after.manifest.report
    assert report["training"]["network"]["origin"] == {"model": MODEL, "version": 1, "keeps_head": True}
    assert report["base"] == 1
    judged = {each["precision"]: each for each in report["evaluations"] if each["role"] == "report"}
    served = {each["precision"]: each for each in before.manifest.report["evaluations"] if each["role"] == "report"}
    for precision, each in judged.items():
        assert each["active"]["nll"]["value"] == pytest.approx(served[precision]["after"]["nll"]["value"], rel=0.05)


def test_other_classes_get_a_new_head_and_stay_a_candidate(train_job, store):
    job = train_job(model="tiny", start_from={"model": "tiny", "version": 1}, epochs=1)
    outcome = job.run()
    assert outcome["why"] == "version 1 has other classes, so the two cannot be compared: activate it by hand"
    version, base = store.read("tiny", 2), store.read("tiny", 1)
    assert version.manifest.classes == ("blue", "green", "red")
    assert version.manifest.input_spec == base.manifest.input_spec
    assert version.manifest.report["unjudged"] == ["Not compared with version 1, which has other classes."]
    assert store.active("tiny").version == 1


def test_a_warm_up_on_noise_is_recorded(train_job):
    noise = {"steps": 6, "batch": 16, "scope": "head", "stop": False}
    job = train_job(network={"name": "perceptron", "arguments": {"depth": 2, "width": 16}}, noise_warmup=noise)
    job.run("prepare", "train")
    found = kept(job.context, TRAINED).manifest.report["training"]["noise"]
    assert found["stopped"] == "all 6 steps are done"
    assert [check["step"] for check in found["checks"]] == [0, 6]
    assert {"noise_confidence", "noise_loss", "unseen_image_confidence"} < job.metrics.keys()


def test_later_jobs_leave_the_trained_rows_out(train_job, staged_job, store):
    train_job().run()
    params = {"method": "temperature", "promote": False}
    job = staged_job(coloured_zip(), name="colours.zip", model=MODEL, **params)
    job.run("outputs", "fit", "publish")
    before, after = store.read(MODEL, 1), store.read(MODEL, 2)
    assert uses(after)["train"] == uses(before)["train"]
    assert {role: rows for role, (rows, _) in uses(after).items()} == {"fit": 24, "report": 24, "train": 192}
    assert after.manifest.report["training"] == before.manifest.report["training"]
    (judged, _) = [each for each in after.manifest.report["evaluations"] if each["role"] == "report"]
    assert "without the 192 that the network was trained on" in judged["note"]
    evaluated = staged_job(coloured_zip(), "evaluate", name="colours.zip", model=MODEL)
    evaluated.run()
    told = "judged on 24 of 48 rows: without the 24 rows that version 1 was fitted on"
    assert any(line.startswith(told) for line in evaluated.log)


def test_a_head_that_cannot_tell_rows_apart_is_left_out(train_job, store):
    """All images are the same, whatever their class."""
    grey = coloured_zip(rows=60, colours={"one": GREY, "two": GREY}, noise=0)
    job = train_job(grey, epochs=1)
    job.run("prepare", "train", "outputs", "fit", "publish")
    manifest = store.read_manifest(MODEL, 1)
    assert "loss_rank" not in manifest.scores
    why = manifest.report["training"]["without_loss_rank"]
    assert "the same for all" in why
    assert f"no loss_rank: {why}" in job.log


@pytest.mark.parametrize(
    ("params", "told"),
    [
        ({"network": {"kind": "timm", "name": "no_such_network"}}, "cannot be trained on 8 x 8 pixels: Unknown model"),
        ({"network": {"kind": "torchvision", "name": "resnet18", "arguments": {"widths": 3}}}, "widths"),
        ({"image_size": 16, "resize": 8}, "resize is 8, but 16 x 16 pixels are to be cut out"),
    ],
)
def test_what_cannot_be_trained_is_told_by_the_first_stage(train_job, params, told):
    with pytest.raises(ModelSideError, match=told):
        train_job(**params).run("prepare")
