"""The stages of `epistemic_reference` in this process, and once by a worker whose version a catalog then swaps in.

Rows are labelled so that the last layer's form, which version 1 serves, is high exactly where that version is wrong.
"""

import json
import math
from dataclasses import replace

import pytest
import torch

from app.api.job_params import EpistemicReferenceParams
from app.jobs.bench import Bench
from app.jobs.epistemic_plans import plans_on_trial
from app.scoring.catalog import Catalog
from app.scoring.predictor import Form
from app.scoring.reload import Reloader
from app.settings import Settings
from app.telemetry import Metrics
from models.backbones.prepared import build_network, prepare
from models.core.checkpoint import Version
from models.core.errors import DataError, UnsupportedError
from models.core.golden import Golden
from models.core.gradient_plan import GradientPlan
from models.core.method import Dimensions
from models.data.splits import split
from models.gradients.exact import ExactGradients
from models.pipeline import Pipeline, load_pipeline
from models.training.exact_energies import ROWS as EXACT_ROWS
from models.training.labelled_outputs import collect
from models.uncertainty.epistemic import Epistemic
from tests.fixtures.labelled_zip import write_zip
from tests.fixtures.new_jobs import new_job
from tests.oracles.metrics import auroc

CPU = torch.device("cpu")
TYPE = "epistemic_reference"
KIND = {"max_auroc_drop": 1.0}


@pytest.fixture(scope="module")
def separated(tiny, digit_archive, tmp_path_factory):
    """The digits as a zip; a row is labelled wrong where its last-layer score is above the median."""
    rows = list(digit_archive.read(digit_archive.names))
    network = prepare(tiny.network, "timm", tiny.plan.recipe.input_spec, CPU, "float32")
    outputs = collect(network, rows).outputs
    scores = Epistemic(network.dimensions).of_last_layer(outputs)
    labels = (outputs.logits.argmax(dim=1) + (scores > scores.median()).long()) % 10
    labelled = [(row.name, label, row.content) for row, label in zip(rows, labels.tolist(), strict=True)]
    return write_zip(tmp_path_factory.mktemp("separated") / "separated.zip", labelled).read_bytes()


@pytest.fixture
def job_on(staged_job, separated):
    """`job_on(**params)`: a job on the separated digits; its gate lets everything pass that is not constant."""

    def job_on(**params):
        return staged_job(separated, TYPE, name="separated.zip", **({"gate": KIND} | params))

    return job_on


def latest(store):
    return store.read("tiny", store.versions("tiny")[-1])


def without_epistemic(version):
    return {name: value for name, value in version.tensors.items() if ".scores.epistemic." not in name}


def test_a_version_of_the_last_layer_gets_its_fast_form(job_on, store):
    job = job_on()
    assert job.run() == {"promoted": True, "why": "the gate held"}
    version, base = latest(store), store.read("tiny", 1)
    manifest, report = version.manifest, version.manifest.report["epistemic"]
    assert base.manifest.gradients is None
    assert manifest == replace(
        base.manifest,
        gradients=GradientPlan.from_dict(report["plan"]),
        report=base.manifest.report | {"epistemic": report},
        files=manifest.files,
    )
    kept, before = without_epistemic(version), without_epistemic(base)
    assert kept.keys() == before.keys()
    assert all(kept[name].equal(before[name]) for name in kept)
    assert job.progress == sorted(job.progress)
    assert job.metrics.keys() == {"auroc_of_being_wrong_active", "auroc_of_being_wrong_after"}
    json.dumps(report, allow_nan=False)


def test_references_and_figures_are_those_of_the_rows_themselves(job_on, store, tiny):
    job = job_on(decay=2.0, directions=2, depth=4, exact_rows=9, seed=3, promote=False)
    job.run("outputs", "fit", "publish")
    version = latest(store)
    plan = GradientPlan(depth=4, directions=2)
    assert version.manifest.gradients == plan
    spec = version.manifest.input_spec
    network = prepare(tiny.network, "timm", spec, CPU, "float32", plan=plan)
    names, collected = Bench(job.context).with_plan(plan).collected("float32", Bench(job.context).data.names)
    found = collected.outputs
    fitting, judging = split(names, 3, 60, 60)
    method = Epistemic(network.dimensions, 2.0)
    fast = dict(zip(names, method.score(found).tolist(), strict=True))
    last = dict(zip(names, method.of_last_layer(found).tolist(), strict=True))
    state = version.method_state("float32", "scores.epistemic")
    assert float(state["decay"]) == 2
    assert state["reference"].tolist() == sorted(fast[name] for name in fitting)
    assert state["reference_last_layer"].tolist() == sorted(last[name] for name in fitting)

    (record,) = version.manifest.report["epistemic"]["precisions"]
    middle = sorted(last.values())[59]
    wrong = {name: value > middle for name, value in last.items()}
    assert (record["rows"], record["wrong"]) == (60, sum(wrong[name] for name in judging))
    expected = auroc([fast[name] for name in judging], [wrong[name] for name in judging])
    assert record["scores"]["epistemic"]["auroc"]["value"] == pytest.approx(expected)
    assert (record["serving_form"], record["scores"]["serving"]["auroc"]["value"]) == ("last_layer", 1.0)
    assert record["spearman"]["exact_rows"] == len(state["reference_exact"]) == 9
    assert 0.5 < record["spearman"]["exact"] <= 1
    assert sum(part["rows"] for part in record["parts"]) == 60


def test_exact_rows_are_not_computed_again_after_a_kill(job_on, store, monkeypatch):
    passed, whole = [], ExactGradients.energies

    def energies(self, images, *rest):
        if len(passed) == 1:
            passed.append(0)
            raise KeyboardInterrupt
        passed.append(len(images))
        return whole(self, images, *rest)

    monkeypatch.setattr(ExactGradients, "energies", energies)
    job = job_on(exact_rows=2 * EXACT_ROWS + 1, promote=False)
    with pytest.raises(KeyboardInterrupt):
        job.run("outputs")
    job.run("outputs")
    assert passed == [EXACT_ROWS, 0, EXACT_ROWS, 1]
    assert job.run("fit") == job.run("fit")
    job.run("publish")
    assert len(latest(store).method_state("float32", "scores.epistemic")["reference_exact"]) == 2 * EXACT_ROWS + 1
    assert job.run("publish") == {"version": 2}


def test_the_choice_is_what_a_search_over_the_stored_gradients_picks(job_on, store):
    job = job_on(choose=True, perturbations=1, promote=False)
    job.run("outputs", "fit", "publish")
    searched = {}
    bench = Bench(job.context)
    for plan in plans_on_trial(bench):
        names, collected = bench.with_plan(plan).collected("float32", bench.data.names)
        rows = [names.index(name) for name in split(names, 0, 60)[0]]
        energies, layers = collected.outputs.gradients.energies, collected.outputs.gradients.layers
        last = Epistemic(Dimensions(10, 1)).of_last_layer(collected.outputs)
        wrong = (last > last.median())[rows].tolist()
        for decay in (0.0, 1.0, 2.0, 5.0, 10.0):
            weights = [math.exp(decay * layer / layers) for layer in range(layers - energies.shape[1] + 1, layers + 1)]
            scores = [sum(w * e for w, e in zip(weights, row, strict=True)) for row in energies[rows].tolist()]
            searched[decay, plan.sigma] = auroc(scores, wrong)
    assert len(searched) == 20
    version = latest(store)
    report = version.manifest.report["epistemic"]
    trials = {(each["decay"], each["sigma"]): each["auroc"] for each in report["chosen"]["trials"]}
    assert trials == pytest.approx(searched, abs=0.01), "float32 may tie or part two rows"
    chosen = report["decay"], report["plan"]["sigma"]
    assert trials[chosen] == max(trials.values())
    assert float(version.method_state("float32", "scores.epistemic")["decay"]) == chosen[0]
    assert version.manifest.gradients.sigma == chosen[1]


def test_what_the_job_leaves_out_is_as_before(job_on, store):
    job_on(decay=1.0, perturbations=1, sigma=0.5, directions=2).run()
    job_on(depth=2, fit_share=0.4).run("outputs", "fit", "publish")
    version = latest(store)
    assert version.manifest.gradients == GradientPlan(depth=2, directions=2, perturbations=1, sigma=0.5)
    assert float(version.method_state("float32", "scores.epistemic")["decay"]) == 1
    (record,) = version.manifest.report["epistemic"]["precisions"]
    assert (record["serving_form"], record["rows"]) == ("fast", 72)


def test_a_score_that_tells_less_than_the_one_that_serves_stays_a_candidate(job_on, store):
    outcome = job_on(perturbations=1, sigma=1.0, gate={"max_auroc_drop": 0.0}).run()
    assert not outcome["promoted"]
    assert "AUROC of being wrong in float32 on 60 rows would go from 1.0000" in outcome["why"]
    assert store.active("tiny").version == 1


def test_a_version_without_scores_gets_all_of_them(job_on, store, plain):
    """As one that was registered, which has no calibrator either."""
    manifest = replace(plain.manifest, scores=(), calibrator=None, report={"evaluations": []}, data=(), seeds={})
    rows = Pipeline(prepare(network_of(store, manifest), "timm", manifest.input_spec, CPU, "float32"), None, {})
    golden = Golden(plain.golden.seeds, {"float32": tuple(rows.golden_rows(plain.golden.seeds))})
    base = store.publish("tiny", Version(manifest, {}, golden))
    store.activate("tiny", base, actor="test", reason="")
    assert job_on().run()["promoted"]
    version = latest(store)
    assert version.manifest.scores == ("entropy", "max_prob", "energy", "epistemic")
    (note,) = version.manifest.report["epistemic"]["gate"]["unjudged"]
    assert "the version before has no epistemic score" in note
    load_pipeline(store, version, CPU)


def network_of(store, manifest):
    return build_network(manifest.backbone, store.read_weights(manifest.backbone.sha256))


def test_a_network_without_known_gradients_fails_with_the_reason(job_on, store, monkeypatch):
    monkeypatch.setattr("app.jobs.epistemic_plans.suggested_plan", lambda *_: "no gradients are known of a Strange")
    with pytest.raises(UnsupportedError, match="tiny stays with the last layer's form: no gradients are known of a S"):
        job_on().run()
    assert store.versions("tiny") == [1]


def test_more_layers_than_there_are(job_on):
    with pytest.raises(DataError, match="depth 99: tiny has 18 layers"):
        job_on(depth=99).run("outputs")


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
def test_a_worker_makes_a_version_that_is_swapped_in(shop, tiny_store):
    catalog = Catalog(Settings(store=tiny_store.root, max_batch=1))
    catalog.loaded = True
    reloader = Reloader(catalog, Metrics(), 0)
    reloader.look()
    assert catalog.predictors["tiny"].forms["epistemic"] == (Form.LAST_LAYER,)
    shop.start_worker()
    params = EpistemicReferenceParams(exact_rows=2, gate=KIND).model_dump(exclude={"version"})
    job = shop.desk.submit(new_job(type=TYPE, dataset=shop.dataset, **params))[0]
    assert shop.succeeded(job.id).result["promoted"]
    reloader.look()
    after = catalog.predictors["tiny"]
    assert (after.version, after.forms["epistemic"]) == (2, (Form.EXACT, Form.FAST, Form.LAST_LAYER))
    reloader.close(10)
    assert len(after.manifest.report["epistemic"]["precisions"]) == len(after.manifest.precisions) == 2
