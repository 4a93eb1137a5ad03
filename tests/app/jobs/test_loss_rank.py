"""The stages of `loss_rank` in this process, and once by a worker whose version a catalog then swaps in.

Rows are labelled so that a row's loss can be told from its features: wrong where their first direction is high.
"""

import json
from dataclasses import replace

import pytest
import torch

from app.api.job_params import LossRankParams
from app.jobs.bench import Bench
from app.jobs.loss_rank import MEASURE, gate_of
from app.scoring.catalog import Catalog
from app.scoring.reload import Reloader
from app.settings import Settings
from app.telemetry import Metrics
from models.backbones.prepared import build_network, prepare
from models.core.checkpoint import Version
from models.core.errors import DataError
from models.core.golden import Golden
from models.data.splits import split
from models.feature_cache.forward import ForwardPasses
from models.pipeline import Pipeline, load_pipeline
from models.training.labelled_outputs import collect
from models.training.loss_rank_gate import LossRankGate
from models.uncertainty.loss_rank import LossRank
from tests.fixtures.labelled_zip import write_zip
from tests.fixtures.new_jobs import new_job
from tests.fixtures.tables import outputs_table
from tests.oracles.metrics import auroc

CPU = torch.device("cpu")
TYPE = "loss_rank"
SMALL = {"views": 2, "passes": 3, "width": 8, "depth": 1}
LOOSE = {"measure": "auroc", "min_gain": -1.0}


@pytest.fixture(scope="module")
def separated(tiny, digit_archive, tmp_path_factory):
    """The digits as a zip; a row is labelled wrong where a direction of its features is above the median."""
    rows = list(digit_archive.read(digit_archive.names))
    network = prepare(tiny.network, "timm", tiny.plan.recipe.input_spec, CPU, "float32")
    outputs = collect(network, rows).outputs
    features = outputs.require_features()
    along = torch.linalg.svd(features - features.mean(dim=0), full_matrices=False).U[:, 0]
    labels = (outputs.logits.argmax(dim=1) + (along > along.median()).long()) % 10
    labelled = [(row.name, label, row.content) for row, label in zip(rows, labels.tolist(), strict=True)]
    return write_zip(tmp_path_factory.mktemp("separated") / "separated.zip", labelled).read_bytes()


@pytest.fixture
def job_on(staged_job, separated):
    """`job_on(**params)`: a small head on the separated digits, whose gate asks for little."""

    def job_on(**params):
        return staged_job(separated, TYPE, name="separated.zip", **({"gate": LOOSE} | SMALL | params))

    return job_on


def latest(store):
    return store.read("tiny", store.versions("tiny")[-1])


def head_of(version):
    return version.method_state("float32", "scores.loss_rank")


def without_head(version):
    return {name: value for name, value in version.tensors.items() if ".scores.loss_rank." not in name}


def test_a_version_gets_a_head_and_nothing_else_changes(job_on, store):
    job = job_on()
    assert job.run() == {"promoted": True, "why": "the gate held"}
    version, base = latest(store), store.read("tiny", 1)
    manifest, report = version.manifest, version.manifest.report[TYPE]
    assert manifest == replace(
        base.manifest,
        scores=(*base.manifest.scores, TYPE),
        report=base.manifest.report | {TYPE: report},
        files=manifest.files,
    )
    kept, before = without_head(version), without_head(base)
    assert kept.keys() == before.keys()
    assert all(kept[name].equal(before[name]) for name in kept)
    assert job.progress == sorted(job.progress)
    assert job.metrics.keys() == {"train_loss", "held_out_spearman", "auroc_of_loss_rank", "auroc_of_entropy"}
    json.dumps(report, allow_nan=False)
    assert (report["views"], report["width"], report["depth"], report["held_out"]) == (2, 8, 1, 12)
    load_pipeline(store, version, CPU)


def test_references_and_figures_are_those_of_the_rows_themselves(job_on, store):
    job = job_on(seed=3, promote=False)
    job.run("outputs", "fit", "publish")
    version, bench = latest(store), Bench(job.context)
    names, found = bench.collected("float32", bench.data.names)
    fitting, judging = split(names, 3, 60, 60)
    state = head_of(version)
    reference = state.pop("reference")
    head = LossRank(bench.network("float32").dimensions).load_state(state)
    values = dict(zip(names, head.score(found.outputs).tolist(), strict=True))
    assert reference.tolist() == pytest.approx(sorted(values[name] for name in fitting), rel=1e-6)

    (record,) = version.manifest.report[TYPE]["precisions"]
    wrong = dict(zip(names, (found.outputs.logits.argmax(dim=1) != found.labels).tolist(), strict=True))
    assert (record["rows"], record["wrong"]) == (60, sum(wrong[name] for name in judging))
    expected = auroc([values[name] for name in judging], [wrong[name] for name in judging])
    assert record["scores"][TYPE]["auroc"]["value"] == pytest.approx(expected)


def test_the_head_learns_what_can_be_learned(job_on, store):
    job_on(views=4, passes=30, promote=False).run("outputs", "fit", "publish")
    (record,) = latest(store).manifest.report[TYPE]["precisions"]
    # Measured: .83.
    assert record["scores"][TYPE]["auroc"]["value"] > 0.75


def test_an_interrupted_training_ends_with_the_same_head(job_on):
    whole = job_on(promote=False)
    whole.run("outputs", "fit", "publish")
    job = job_on(promote=False)
    steps = []

    def say(message):
        job.said.append(message)
        if message.get("message", "").startswith("step "):
            steps.append(message["message"])
            if len(steps) == 2:
                raise KeyboardInterrupt

    job.context = replace(job.context, say=say)
    with pytest.raises(KeyboardInterrupt):
        job.run("outputs", "fit")
    job.run("fit", "publish")
    assert steps[2] != steps[0], "it began anew"
    # A version of the same bytes is the same version.
    assert job.results["publish"] == whole.results["publish"] == {"version": 2}


def test_another_kind_of_machine_trains_anew(job_on, monkeypatch):
    job = job_on(promote=False)
    job.run("outputs", "fit")
    compute = ForwardPasses.compute

    def rounded_otherwise(*given):
        found = compute(*given)
        return replace(found, features=found.features * 1.001, losses=found.losses * 1.001)

    monkeypatch.setattr(ForwardPasses, "compute", rounded_otherwise)
    monkeypatch.setattr("models.feature_cache.key.machine", lambda: "another")
    assert job.run("fit")["gate"]["held"]


def test_a_head_that_is_no_better_than_entropy_stays_a_candidate(job_on, store):
    outcome = job_on(gate={"measure": "spearman", "min_gain": 0.9}).run()
    assert not outcome["promoted"]
    assert "Spearman's correlation with the loss in float32 on 60 rows is " in outcome["why"]
    assert store.active("tiny").version == 1


def test_a_second_head_is_compared_with_the_one_that_serves(job_on, store):
    job_on().run()
    job_on(width=4).run("outputs", "fit", "publish")
    version = latest(store)
    assert version.manifest.scores.count(TYPE) == 1
    assert head_of(version)["weight.0"].shape[0] == 4
    (record,) = version.manifest.report[TYPE]["precisions"]
    assert record["scores"].keys() == {"loss_rank", "serving", "entropy", "max_prob"}


def test_a_calibration_keeps_the_head_and_its_report(job_on, staged_job, separated, store):
    job_on().run()
    staged_job(separated, name="separated.zip", method="temperature", promote=False).run("outputs", "fit", "publish")
    before, after = store.read("tiny", 2), latest(store)
    assert after.manifest.report[TYPE] == before.manifest.report[TYPE]
    one, other = head_of(before), head_of(after)
    assert all(one[name].equal(other[name]) for name in one if name != "reference")


def test_a_version_without_scores_gets_all_of_them(job_on, store):
    """As one that was registered, which has no calibrator either."""
    tiny = store.read("tiny", 1)
    manifest = replace(
        tiny.manifest, scores=(), calibrator=None, gradients=None, report={"evaluations": []}, data=(), seeds={}
    )
    network = build_network(manifest.backbone, store.read_weights(manifest.backbone.sha256))
    rows = Pipeline(prepare(network, "timm", manifest.input_spec, CPU, "float32"), None, {})
    golden = Golden(tiny.golden.seeds, {"float32": tuple(rows.golden_rows(tiny.golden.seeds))})
    base = store.publish("tiny", Version(manifest, {}, golden))
    store.activate("tiny", base, actor="test", reason="")
    assert job_on().run()["promoted"]
    version = latest(store)
    assert version.manifest.scores == ("entropy", "max_prob", "energy", "epistemic", TYPE)
    assert load_pipeline(store, version, CPU).fast_scores == ("epistemic",)


def test_a_table_is_refused(staged_job):
    with pytest.raises(DataError, match="send the images themselves"):
        staged_job(outputs_table(80, features=3), TYPE).run("outputs")


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
def test_a_worker_makes_a_version_that_is_swapped_in(shop, tiny_store):
    catalog = Catalog(Settings(store=tiny_store.root, max_batch=1))
    catalog.loaded = True
    reloader = Reloader(catalog, Metrics(), 0)
    reloader.look()
    network = catalog.predictors["tiny"].pipeline.network
    shop.start_worker()
    params = LossRankParams(gate=LOOSE, **SMALL).model_dump(exclude={"version"})
    job = shop.desk.submit(new_job(type=TYPE, dataset=shop.dataset, **params))[0]
    assert shop.succeeded(job.id).result["promoted"]
    reloader.look()
    after = catalog.predictors["tiny"]
    assert after.version == 2
    assert after.pipeline.network is network, "the backbone is another one than before"
    assert TYPE in after.pipeline.scores
    reloader.close(10)


def test_where_nobody_names_a_measure_the_gate_goes_by_that_of_the_rows():
    assert gate_of(LossRankParams().gate.model_dump(), MEASURE).measure == "r_auroc"
    assert gate_of({"measure": "spearman", "min_gain": 0.1}, MEASURE) == LossRankGate("spearman", 0.1)
