"""The stages of `calibrate` in this process: tables and images, the gate, promotion, and being begun again."""

import copy
import json
from dataclasses import replace

import pytest

from app.api.report_page import version_report_page
from models.core.errors import DataError, UnknownNameError
from models.core.report import calibration_summary
from tests.fixtures.tables import outputs_table

ROWS = 100


@pytest.fixture
def network_outputs(tiny, digit_archive):
    """A table of what the network itself gives for 120 digits, as (logits, features, labels)."""
    from models.backbones.prepared import prepare
    from models.core.device import choose_device
    from models.training.labelled_outputs import collect

    network = prepare(tiny.network, "timm", tiny.plan.recipe.input_spec, choose_device("cpu"), "float32")
    return collect(network, digit_archive.read(digit_archive.names))


def as_npz(found):
    import io

    import numpy as np

    file = io.BytesIO()
    outputs = found.outputs
    np.savez(file, logits=outputs.logits.numpy(), features=outputs.features.numpy(), label=found.labels.numpy())
    return file.getvalue()


def no_forward_pass_over_data(monkeypatch):
    def refuse(*_, **__):
        raise AssertionError("a table has its outputs already")

    monkeypatch.setattr("app.jobs.bench.fill", refuse)


def test_a_table_of_logits_is_enough(staged_job, store, monkeypatch):
    no_forward_pass_over_data(monkeypatch)
    job = staged_job(outputs_table(ROWS), method="temperature")
    assert job.run() == {"promoted": True, "why": "the gate held"}
    assert job.results["publish"] == {"version": 2}
    assert store.active("tiny").version == 2
    move = store.active("tiny").history[-1]
    assert (move.actor, move.reason) == ("test", f"job {job.context.spec.id}: the gate held")
    version, base = store.read("tiny", 2), store.read("tiny", 1)
    for precision in base.manifest.precisions:
        temperature = float(version.method_state(precision, "calibrator")["temperature"])
        assert 2 < temperature < 4.5, "the logits are three times too large"
        # `epistemic` needs features, which the table lacks: it keeps the reference that serves. Entropy gets a new one.
        old, new = (each.method_state(precision, "scores.epistemic")["reference"] for each in (base, version))
        assert old.equal(new)
        old, new = (each.method_state(precision, "scores.entropy")["reference"] for each in (base, version))
        assert not (old.shape == new.shape and old.equal(new))
    assert [(use.role, use.rows) for use in version.manifest.data] == [("fit", ROWS // 2), ("report", ROWS // 2)]
    assert version.manifest.report["base"] == 1
    assert job.metrics["nll_after"] < job.metrics["nll_active"]
    assert job.progress == sorted(job.progress)


def test_features_in_the_table_give_every_score_a_new_reference(staged_job, store, network_outputs, monkeypatch):
    no_forward_pass_over_data(monkeypatch)
    job = staged_job(as_npz(network_outputs), name="outputs.npz", method="feature_clipping", promote=False)
    job.run("outputs", "fit", "publish")
    version, base = store.read("tiny", 2), store.read("tiny", 1)
    assert version.manifest.calibrator == "feature_clipping"
    old, new = (each.method_state("float32", "scores.epistemic")["reference"] for each in (base, version))
    assert not (old.shape == new.shape and old.equal(new))


def test_masks_of_mac_cal_are_in_the_report(staged_job, store, network_outputs):
    options = {"gamma": 0.5, "epochs": 4, "width": 12}
    table = as_npz(network_outputs)
    job = staged_job(table, name="outputs.npz", method="mac_cal", mac_cal=options, promote=False)
    job.run("outputs", "fit", "publish")
    version = store.read("tiny", 2)
    record = version.manifest.report["fitting"]["float32"]
    assert (len(record["epochs"]), record["options"]["gamma"], record["rows"]) == (
        4,
        0.5,
        {"fitted": 48, "held_out": 12},
    )
    state = version.method_state("float32", "calibrator")
    assert len(state["inner"]) == 12
    assert bool(state["own_head"]) is not record["guard"]["held"]
    page = version_report_page("tiny", 2, version.manifest)
    assert "MaC-Cal in float32" in page
    assert not any("guard" in line for line in job.log)


def test_a_guard_that_kept_the_networks_own_logits_is_told(staged_job, network_outputs):
    labels = network_outputs.outputs.logits.argmax(dim=1)  # which the network never misses
    table = as_npz(replace(network_outputs, labels=labels))
    options = {"epochs": 1, "rate": 0.001}
    job = staged_job(table, name="outputs.npz", method="mac_cal", mac_cal=options, promote=False)
    job.run("outputs", "fit")
    assert "the guard of mac_cal did not hold: the network's own logits stay in float32" in job.log


def test_images_give_what_their_table_gives(staged_job, store, network_outputs, digit_archive):
    common = {"method": "temperature", "promote": False, "seed": 3}
    images = staged_job(digit_archive.path.read_bytes(), name="digits.zip", **common)
    images.run("outputs", "fit", "publish")
    reports = [store.read_manifest("tiny", 2).report["evaluations"]]
    assert any("digits" in line for line in images.log)
    table = staged_job(as_npz(network_outputs), name="outputs.npz", **common)
    table.run("outputs", "fit", "publish")
    reports.append(store.read_manifest("tiny", 3).report["evaluations"])
    assert [len(report) for report in reports] == [2, 2]
    rows = [{(row["precision"], row["role"]): row["rows"] for row in report} for report in reports]
    assert rows[0] == rows[1]


def test_auto_picks_and_says_why(staged_job, store):
    job = staged_job(outputs_table(ROWS), promote=False)
    job.run("outputs", "fit", "publish")
    report = store.read_manifest("tiny", 2).report
    selection = report["selection"]
    assert selection["chosen"] == store.read_manifest("tiny", 2).calibrator == job.results["fit"]["method"]
    assert {"none", "temperature", "isotonic", "matrix"} <= {row["name"] for row in selection["table"]}
    assert "feature_clipping" in selection["skipped"]
    assert selection["reason"] in job.log
    assert calibration_summary(report, "float32")["evaluations"]


def test_a_worse_candidate_stays_one(staged_job, store):
    """A histogram of few rows, on data for which the serving temperature is the right one."""
    right = float(store.read("tiny", 1).method_state("float32", "calibrator")["temperature"])
    table = outputs_table(80, sharpened=right)
    job = staged_job(table, method="histogram")
    outcome = job.run()
    assert not outcome["promoted"]
    assert "NLL in float32 on 40 rows" in outcome["why"]
    assert not job.results["fit"]["gate"]["held"]
    assert store.versions("tiny") == [1, 2]
    assert store.active("tiny").version == 1
    assert any("stays a candidate" in line for line in job.log)
    kinder = {"max_nll_increase": 100, "max_ece_increase": 1, "max_accuracy_drop": 1}
    assert staged_job(table, method="histogram", gate=kinder).run()["promoted"]


def test_not_to_be_promoted(staged_job, store):
    assert staged_job(outputs_table(ROWS), method="temperature", promote=False).run() == {
        "promoted": False,
        "why": "the job was not to promote",
    }
    assert store.active("tiny").version == 1


def test_somebody_else_activates_during_the_job(staged_job, store, clipped):
    store.publish("tiny", clipped)
    job = staged_job(outputs_table(ROWS), method="temperature")
    job.run("outputs", "fit", "publish")
    store.activate("tiny", 2, actor="somebody", reason="now")
    outcome = job.run("promote")
    assert outcome == {"promoted": False, "why": "version 2 is the active one, and the job compared with version 1"}
    assert store.active("tiny").version == 2


def test_from_an_older_version(staged_job, store, clipped):
    store.activate("tiny", store.publish("tiny", clipped), actor="somebody", reason="")
    job = staged_job(outputs_table(ROWS), method="temperature", version=1)
    assert job.run()["why"] == "version 2 is the active one, and the job compared with version 1"
    assert store.read_manifest("tiny", 3).report["base"] == 1


def test_every_stage_may_be_begun_again(staged_job, store):
    job = staged_job(outputs_table(ROWS), method="temperature")
    for name in ("outputs", "fit", "publish", "promote"):
        first = job.run(name)
        assert job.run(name) == first
    assert store.versions("tiny") == [1, 2]
    assert len(store.active("tiny").history) == 2


def test_the_base_stays_that_of_the_first_attempt(staged_job, store, clipped):
    store.publish("tiny", clipped)
    job = staged_job(outputs_table(ROWS), method="temperature")
    job.run("outputs")
    store.activate("tiny", 2, actor="somebody", reason="now")
    assert job.run("outputs") == {"base": 1}
    job.run("fit", "publish")
    assert store.read_manifest("tiny", 3).report["base"] == 1


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (outputs_table(80, classes=7), "7 logits a row, but tiny has 10 classes"),
        (outputs_table(80, features=3), "3 features a row, but the network has"),
        (outputs_table(80, names=True, labels={4: "digit x"}), "label 'digit x' of row 'row 5'"),
        (outputs_table(39), "19 rows to report on, at least 20 are needed"),
    ],
)
def test_data_that_do_not_fit_fail_with_the_reason(staged_job, content, told):
    with pytest.raises(DataError, match=told):
        staged_job(content, method="temperature").run()


def test_a_version_that_is_gone(staged_job):
    job = staged_job(outputs_table(80), version=9)
    with pytest.raises(UnknownNameError, match="version of tiny '9'"):
        job.run()


def test_what_the_report_says_can_be_read_as_json(staged_job, store):
    staged_job(outputs_table(40), method="temperature").run()
    json.dumps(store.read_manifest("tiny", 2).report, allow_nan=False)


def test_what_the_base_version_warns_of_is_not_forgotten(staged_job, store, tiny):
    report = copy.deepcopy(tiny.version.manifest.report)
    shift = next(row for row in report["evaluations"] if row["precision"] == tiny.version.manifest.precisions[0])
    shift |= {"role": "shift", "data": "elsewhere"}
    for when, ece in (("before", 0.1), ("after", 0.2)):
        shift[when] |= {"ece": ece, "ece_floor": 0.05}
    manifest = replace(tiny.version.manifest, report=report)
    base = store.publish("tiny", replace(tiny.version, manifest=manifest))
    job = staged_job(outputs_table(120), method="temperature", version=base)
    job.run()
    made = store.read_manifest("tiny", store.versions("tiny")[-1])
    told = calibration_summary(made.report, "float32")["warnings"]
    assert [text for text in told if text.startswith("Not judged on elsewhere")]
