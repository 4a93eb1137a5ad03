import copy
from dataclasses import replace

import pytest
import torch

from models.backbones.prepared import prepare
from models.calibration import CALIBRATORS
from models.core.checkpoint import GOLDEN, MANIFEST, METHODS, write_version
from models.core.device import machine
from models.core.image import read_image
from models.core.report import calibration_summary
from models.data.splits import fingerprint
from models.metrics.evaluation import evaluate
from models.training.from_archives import Rows, build_version
from models.training.labelled_outputs import collect
from models.uncertainty import SCORES

CPU = torch.device("cpu")


def test_equal_inputs_give_equal_bytes_and_leave_the_network_alone(tiny, tmp_path):
    network = copy.deepcopy(tiny.network)
    again = build_version(tiny.plan, network)
    for folder, version in (("first", tiny.version), ("second", again)):
        (tmp_path / folder).mkdir()
        write_version(tmp_path / folder, version)
    for name in (MANIFEST, METHODS, GOLDEN):
        assert (tmp_path / "first" / name).read_bytes() == (tmp_path / "second" / name).read_bytes()
    state = tiny.network.state_dict()
    assert all(torch.equal(value, state[name]) for name, value in network.state_dict().items())


def test_the_manifest_says_what_was_done(tiny):
    manifest, plan, recipe = tiny.version.manifest, tiny.plan, tiny.plan.recipe
    assert (manifest.backbone, manifest.classes, manifest.input_spec) == (
        recipe.backbone,
        recipe.classes,
        recipe.input_spec,
    )
    assert (manifest.calibrator, manifest.scores, manifest.precisions) == (
        recipe.calibrator,
        recipe.scores,
        recipe.precisions,
    )
    assert [(use.role, use.rows, use.fingerprint) for use in manifest.data] == [
        ("fit", 60, fingerprint(plan.fit.names)),
        ("report", 60, fingerprint(plan.judge[0].names)),
    ]
    assert {use.sha256 for use in manifest.data} == {plan.fit.archive.sha256}
    assert manifest.machine == machine()
    assert manifest.seeds["split"] == recipe.seed


@pytest.mark.parametrize("precision", ["bfloat16", "float32"])
def test_the_report_is_what_evaluation_of_the_rows_gives(tiny, precision):
    plan = tiny.plan
    network = prepare(tiny.network, "timm", plan.recipe.input_spec, CPU, precision)
    found = collect(network, plan.judge[0].archive.read(plan.judge[0].names))
    state = tiny.version.method_state(precision, "calibrator")
    calibrated = CALIBRATORS["vector"](network.dimensions).load_state(state).transform(found.outputs).calibrated

    (report,) = [
        evaluation
        for evaluation in tiny.version.manifest.report["evaluations"]
        if (evaluation["precision"], evaluation["role"]) == (precision, "report")
    ]
    features, seed = found.outputs.features, plan.recipe.seed
    assert report["before"] == evaluate(found.outputs.logits, found.labels, features=features, seed=seed).to_dict()
    assert report["after"] == evaluate(calibrated, found.labels, features=features, seed=seed).to_dict()
    assert (report["rows"], report["data"], report["calibrator"]) == (60, "digits", "vector")
    assert report["compared"].keys() == {"none", *plan.recipe.compared}
    assert report["compared"]["none"]["nll"] == report["before"]["nll"]["value"]


@pytest.mark.parametrize("precision", ["bfloat16", "float32"])
def test_calibration_improves_the_rows_it_was_fitted_on(tiny, precision):
    (fit,) = [
        evaluation
        for evaluation in tiny.version.manifest.report["evaluations"]
        if (evaluation["precision"], evaluation["role"]) == (precision, "fit")
    ]
    assert fit["after"]["nll"]["value"] < fit["before"]["nll"]["value"] - 0.1


@pytest.mark.parametrize("precision", ["bfloat16", "float32"])
def test_references_are_the_scores_of_the_fit_rows_after_calibration(tiny, precision):
    network = prepare(tiny.network, "timm", tiny.plan.recipe.input_spec, CPU, precision)
    found = collect(network, tiny.plan.fit.archive.read(tiny.plan.fit.names))
    outputs = CALIBRATORS["vector"](network.dimensions).fit(found.outputs, found.labels).transform(found.outputs)
    for name in tiny.plan.recipe.scores:
        reference = tiny.version.method_state(precision, f"scores.{name}")["reference"]
        assert torch.equal(reference, SCORES[name](network.dimensions).score(outputs).sort().values)


def test_the_summary_leaves_out_the_fit_rows_and_warns_where_calibration_hurts(tiny):
    report = copy.deepcopy(tiny.version.manifest.report)
    summary = calibration_summary(report, "float32")
    (shown,) = summary["evaluations"]
    assert (shown["role"], summary["precision"]) == ("report", "float32")
    assert shown["before"].keys() == {"accuracy", "nll", "brier", "ece", "ece_floor", "ece_mass", "ece_mass_floor"}

    judged = [evaluation for evaluation in report["evaluations"] if evaluation["role"] == "report"]
    for evaluation, (before, after) in zip(judged, [(0.1, 0.2), (0.2, 0.1)], strict=True):
        for when, ece in (("before", before), ("after", after)):
            evaluation[when] |= {"ece": ece, "ece_floor": 0.05}
    assert judged[0]["precision"] == "bfloat16"
    (warning,) = calibration_summary(report, "bfloat16")["warnings"]
    assert "0.100 before, 0.200 after" in warning
    assert calibration_summary(report, "float32")["warnings"] == []


def test_rows_that_were_fitted_on_cannot_be_judged_on(tiny):
    fit = tiny.plan.fit
    for names in (fit.names, (*tiny.plan.judge[0].names, fit.names[5])):
        with pytest.raises(ValueError, match="rows of role report were also fitted on"):
            build_version(replace(tiny.plan, judge=(Rows(fit.archive, names, "report"),)), tiny.network)


def test_rows_are_decoded_as_the_server_decodes_them(tiny):
    network = prepare(tiny.network, "timm", tiny.plan.recipe.input_spec, CPU, "float32")
    names = tiny.plan.fit.names[:5]
    found = collect(network, tiny.plan.fit.archive.read(names), batch=2)
    spec = tiny.plan.recipe.input_spec
    rows = list(tiny.plan.fit.archive.read(names))
    assert found.labels.tolist() == [row.label for row in rows]
    for index, row in enumerate(rows):
        alone = network.outputs(spec.pixels(read_image(row.content, spec))[None])
        torch.testing.assert_close(found.outputs.logits[index], alone.logits[0], rtol=1e-4, atol=1e-4)
        torch.testing.assert_close(found.outputs.features[index], alone.features[0], rtol=1e-4, atol=1e-4)


def test_progress_is_told_in_every_precision(tiny):
    told = []
    recipe = replace(tiny.plan.recipe, precisions=("float32",))
    build_version(replace(tiny.plan, recipe=recipe), tiny.network, told.append)
    assert told[0] == "float32: preparing the network"
    assert "float32: 60 report rows of digits" in told
