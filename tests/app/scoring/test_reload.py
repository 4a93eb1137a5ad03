"""A running catalog follows the store: real versions of a small network, looked at by hand and by the thread."""

import gc
import shutil
import time
import weakref
from dataclasses import replace

import pytest
from prometheus_client import generate_latest
from prometheus_client.parser import text_string_to_metric_families

from app.scoring import reload
from app.scoring.catalog import Catalog
from app.scoring.reload import Reloader
from app.settings import Settings
from app.telemetry import Metrics
from models.core.golden import Golden, golden_pixels
from models.core.store import CheckpointStore
from tests.fixtures.recalibrated import networks_of, recalibrated, with_other_weights

FACTOR = 20.0  # random weights give a calibrator that leaves ten classes nearly equal; less would not show
LABELS = ("model", "version", "outcome", "network")


@pytest.fixture(scope="module")
def sharper(tiny, tmp_path_factory):
    """Version 1 of `tiny` with a calibrator that gives other confidences."""
    store = CheckpointStore(tmp_path_factory.mktemp("networks"))
    store.add_weights(tiny.network.state_dict())
    return recalibrated(tiny.version, networks_of(store, tiny.version.manifest), FACTOR)


@pytest.fixture
def catalog(tiny_store):
    """Version 1 of `tiny` serves."""
    catalog = Catalog(Settings(store=tiny_store.root, max_batch=1))
    catalog.loaded = True
    return catalog


@pytest.fixture
def reloader(catalog):
    reloader = Reloader(catalog, Metrics(), 0)
    reloader.look()
    assert catalog.predictors["tiny"].version == 1
    yield reloader
    reloader.close(10)


@pytest.fixture
def read(reloader):
    """Every sample of the reloader's metrics: (name, values of LABELS) → value."""

    def read():
        return {
            (sample.name, *(sample.labels[name] for name in LABELS if name in sample.labels)): sample.value
            for family in text_string_to_metric_families(generate_latest(reloader.metrics.registry).decode())
            for sample in family.samples
        }

    return read


@pytest.fixture
def publish(tiny_store):
    """`publish(version)` makes it active and returns its number."""

    def publish(version, model="tiny"):
        number = tiny_store.publish(model, version)
        tiny_store.activate(model, number, actor="test", reason="")
        return number

    return publish


def confidence(predictor):
    return predictor.pipeline.answer(golden_pixels(predictor.pipeline.network.input_spec, (5,))).confidence[0]


class TestSwap:
    def test_a_recalibrated_version_serves_on_the_loaded_network(self, reloader, catalog, publish, read, sharper):
        first = catalog.predictors["tiny"]
        was = confidence(first)
        publish(sharper)
        passes = []
        with first.pipeline.network.trunk.register_forward_hook(lambda *_: passes.append(1)):
            reloader.look()
        second = catalog.predictors["tiny"]
        assert (second.version, passes) == (2, [])
        assert second.pipeline.network is first.pipeline.network
        assert confidence(second) > was + 0.01
        assert confidence(first) == was, "whoever holds the old version gets its answers"
        metrics = read()
        assert metrics["howsure_swaps_total", "tiny", "swapped"] == 1
        assert metrics["howsure_swap_duration_seconds_count", "reused"] == 1

    def test_another_network_is_loaded_beside_and_warmed_up(self, reloader, catalog, tiny_store, publish, read, tiny):
        first = catalog.predictors["tiny"]
        publish(with_other_weights(tiny_store, tiny.version))
        reloader.look()
        assert catalog.predictors["tiny"].version == 2
        assert catalog.predictors["tiny"].pipeline.network is not first.pipeline.network
        assert read()["howsure_swap_duration_seconds_count", "loaded"] == 2, "the first version was the other one"

    def test_a_version_for_another_precision_does_not_take_the_loaded_network(self, reloader, catalog, tiny_store):
        first = catalog.predictors["tiny"]
        other = {"bfloat16": "float32", "float32": "bfloat16"}[first.pipeline.network.precision]
        version = tiny_store.read("tiny", 1)
        only = replace(version, manifest=replace(version.manifest, precisions=(other,)))
        tiny_store.activate("tiny", tiny_store.publish("tiny", only), actor="test", reason="")
        reloader.look()
        assert catalog.predictors["tiny"].pipeline.network.precision == other

    def test_back_to_an_older_version(self, reloader, catalog, tiny_store, publish, read, sharper):
        was = confidence(catalog.predictors["tiny"])
        publish(sharper)
        reloader.look()
        tiny_store.activate("tiny", 1, actor="test", reason="")
        reloader.look()
        assert catalog.predictors["tiny"].version == 1
        assert confidence(catalog.predictors["tiny"]) == was
        assert read()["howsure_swaps_total", "tiny", "swapped"] == 2

    def test_the_gauges_are_those_of_the_version_that_serves(self, reloader, publish, read, sharper):
        def versions(name):
            return {labels[1] for found, *labels in read() if found == name}

        assert versions("howsure_model_info") == versions("howsure_calibration_ece") == {"1"}
        publish(sharper)
        reloader.look()
        assert versions("howsure_model_info") == versions("howsure_calibration_ece") == {"2"}

    def test_a_swap_is_logged_with_its_time(self, reloader, publish, caplog, sharper):
        publish(sharper)
        with caplog.at_level("INFO", "howsure.catalog"):
            reloader.look()
        (line,) = [record for record in caplog.records if record.event == "model_swapped"]
        assert (line.model, line.version, line.previous, line.reused) == ("tiny", 2, 1, True)
        assert 0 < line.milliseconds < 1000

    def test_a_pointer_that_moves_to_the_serving_version_changes_nothing(self, reloader, catalog, tiny_store, read):
        first = catalog.predictors["tiny"]
        tiny_store.activate("tiny", 1, actor="test", reason="again")
        reloader.look()
        assert catalog.predictors["tiny"] is first
        assert ("howsure_swaps_total", "tiny", "swapped") not in read()


def cut_methods(store, folder):
    (folder / "methods.safetensors").write_bytes(b"")


def break_manifest(store, folder):
    (folder / "manifest.json").write_text("{")


def remove_version(store, folder):
    shutil.rmtree(folder)


def break_pointer(store, folder):
    (store.root / "tiny/active.json").write_text("{")


class TestFailures:
    @pytest.mark.parametrize("damage", [cut_methods, break_manifest, remove_version, break_pointer])
    def test_a_damaged_version_leaves_the_running_one(
        self, reloader, catalog, tiny_store, publish, read, damage, sharper
    ):
        first = catalog.predictors["tiny"]
        number = publish(sharper)
        damage(tiny_store, tiny_store.root / f"tiny/versions/{number}")
        for _ in range(3):
            reloader.look()
        assert catalog.predictors["tiny"] is catalog.get("tiny") is first
        failure = catalog.failures["tiny"]
        assert failure.version == (None if damage is break_pointer else 2)
        assert failure.reason
        assert read()["howsure_swaps_total", "tiny", "failed"] == 1, "tried once while the pointer stays"

    def test_golden_rows_that_differ_are_refused(self, reloader, catalog, tiny_store, publish, sharper):
        version = sharper
        publish(replace(version, golden=Golden(version.golden.seeds, tiny_store.read("tiny", 1).golden.rows)))
        reloader.look()
        assert catalog.predictors["tiny"].version == 1
        assert "golden input" in catalog.failures["tiny"].reason

    def test_missing_weights_are_refused(self, reloader, catalog, tiny_store, publish, tiny):
        version = with_other_weights(tiny_store, tiny.version)
        publish(version)
        tiny_store.weights_path(version.manifest.backbone.sha256).unlink()
        reloader.look()
        assert catalog.predictors["tiny"].version == 1
        assert "not in the store" in catalog.failures["tiny"].reason

    def test_another_move_is_tried_at_once(self, reloader, catalog, tiny_store, publish, sharper):
        cut_methods(tiny_store, tiny_store.root / f"tiny/versions/{publish(sharper)}")
        reloader.look()
        assert catalog.failures["tiny"].version == 2
        tiny_store.activate("tiny", 1, actor="test", reason="")
        reloader.look()
        assert (catalog.predictors["tiny"].version, dict(catalog.failures)) == (1, {})

    def test_a_failure_is_tried_again_after_a_while(self, reloader, catalog, tiny_store, publish, monkeypatch, sharper):
        publish(sharper)
        methods = tiny_store.root / "tiny/versions/2/methods.safetensors"
        aside = methods.rename(methods.with_suffix(".aside"))
        reloader.look()
        aside.rename(methods)
        reloader.look()
        assert catalog.predictors["tiny"].version == 1
        monkeypatch.setattr(reload, "RETRY_SECONDS", 0)
        reloader.look()
        assert (catalog.predictors["tiny"].version, dict(catalog.failures)) == (2, {})


class TestModelsThatComeAndGo:
    def test_a_model_made_later_is_served(self, reloader, catalog, tiny_store, read):
        shutil.copytree(tiny_store.root / "tiny", tiny_store.root / "later")
        reloader.look()
        assert catalog.get("later").version == 1
        assert read()["howsure_swaps_total", "later", "added"] == 1
        assert read()["howsure_model_info", "later", "1"] == 1

    def test_a_model_whose_files_vanish_is_served_on_and_says_so(self, reloader, catalog, tiny_store):
        first = catalog.predictors["tiny"]
        aside = (tiny_store.root / "tiny").rename(tiny_store.root / ".aside")
        reloader.look()
        assert catalog.get("tiny") is first
        assert "no longer in the store" in catalog.failures["tiny"].reason
        aside.rename(tiny_store.root / "tiny")
        reloader.look()
        assert (catalog.get("tiny"), dict(catalog.failures)) == (first, {})

    def test_a_model_that_never_loaded_is_forgotten_with_its_files(self, reloader, catalog, tiny_store):
        (tiny_store.root / "bad").mkdir()
        (tiny_store.root / "bad/active.json").write_text("{")
        reloader.look()
        assert list(catalog.failures) == ["bad"]
        shutil.rmtree(tiny_store.root / "bad")
        reloader.look()
        assert dict(catalog.failures) == {}


class TestThread:
    def test_it_looks_when_asked(self, reloader, catalog, publish, sharper):
        reloader.start()
        publish(sharper)
        time.sleep(0.2)
        assert catalog.predictors["tiny"].version == 1, "0 seconds: nobody asked"
        reloader.look_now(10)
        assert catalog.predictors["tiny"].version == 2

    def test_it_looks_by_itself(self, catalog, publish, sharper):
        reloader = Reloader(catalog, Metrics(), 0.02)
        reloader.start()
        try:
            publish(sharper)
            deadline = time.monotonic() + 10
            while time.monotonic() < deadline and getattr(catalog.predictors.get("tiny"), "version", 0) != 2:
                time.sleep(0.01)
        finally:
            reloader.close(10)
        assert catalog.predictors["tiny"].version == 2

    def test_a_fault_while_looking_is_logged_and_does_not_end_it(self, reloader, catalog, publish, caplog, sharper):
        healthy, catalog.store = catalog.store, None
        reloader.start()
        reloader.look_now(10)
        assert [record.event for record in caplog.records] == ["reload_failed"]
        catalog.store = healthy
        publish(sharper)
        reloader.look_now(10)
        assert catalog.predictors["tiny"].version == 2

    def test_asking_waits_no_longer_than_it_may(self, reloader):
        started = time.monotonic()
        reloader.look_now(0.1)
        assert 0.1 <= time.monotonic() - started < 5, "the thread was never started"


def test_the_garbage_collector_passes_over_what_is_loaded(tiny_store):
    reloader = Reloader(Catalog(Settings(store=tiny_store.root, max_batch=1)), Metrics(), 0)
    gc.unfreeze()
    reloader.load()
    assert gc.get_freeze_count() > 100_000


def test_a_network_that_was_replaced_leaves_the_memory(reloader, catalog, publish, tiny, tiny_store):
    before = weakref.ref(catalog.predictors["tiny"].pipeline.network.trunk)
    publish(with_other_weights(tiny_store, tiny.version))
    reloader.look()
    assert catalog.predictors["tiny"].version == 2
    assert before() is None
