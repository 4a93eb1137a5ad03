"""The second shipped checkpoint: its network was trained here, and judged on nothing that it had seen."""

import pytest
import torch

from models.checkpoints import cifar10_resnet_weights as training
from models.checkpoints.cifar10_resnet import NAME, build, plan
from models.checkpoints.shipped import FOLDER
from models.core.checkpoint import GOLDEN, MANIFEST, METHODS, file_sha256, read_version
from models.core.device import machine
from models.core.manifest import DataUse
from models.data.image_archive import ImageArchive
from models.data.splits import fingerprint
from models.uncertainty import SCORES

MEGABYTE = 2**20


@pytest.fixture(scope="module")
def shipped():
    return read_version(FOLDER / NAME)


def test_it_is_small_and_has_every_score(shipped):
    size = sum(path.stat().st_size for path in (training.WEIGHTS, *(FOLDER / NAME).iterdir()))
    assert size < 10 * MEGABYTE
    assert set(shipped.manifest.scores) == set(SCORES)
    assert shipped.manifest.backbone.origin.sha256 == file_sha256(training.WEIGHTS)


def test_it_is_right_in_92_of_100_test_images(shipped):
    found = [row for row in shipped.manifest.report["evaluations"] if row["role"] == "report"]
    assert {row["precision"] for row in found} == set(shipped.manifest.precisions)
    assert all(row["rows"] == 5000 and row["after"]["accuracy"]["value"] >= 0.92 for row in found)
    assert all(row["after"]["ece"] < row["before"]["ece"] for row in found)


@pytest.mark.data
def test_the_network_saw_none_of_the_rows_that_it_is_fitted_and_judged_on(labelled_data, shipped):
    planned = plan(labelled_data)
    held, trained = training.parts(ImageArchive(labelled_data / "cifar10_train.npz"))
    assert not set(held) & set(trained)
    used = {use.role: use for use in shipped.manifest.data}
    assert planned.fit.names == held
    sha256 = planned.fit.archive.sha256
    assert used["train"] == DataUse("cifar10_train", sha256, "train", len(trained), fingerprint(trained))
    assert used["fit"] == DataUse("cifar10_train", sha256, "fit", len(held), fingerprint(held))
    assert used["report"].sha256 == planned.judge[0].archive.sha256 != sha256


@pytest.mark.slow
@pytest.mark.data
@pytest.mark.timeout(1800)
def test_building_again_gives_what_ships(labelled_data, tmp_path, shipped):
    build(labelled_data, tmp_path / "cache", tmp_path / "version")
    rebuilt = read_version(tmp_path / "version")
    if machine() == shipped.manifest.machine:
        for name in (METHODS, GOLDEN, MANIFEST):
            assert (tmp_path / "version" / name).read_bytes() == (FOLDER / NAME / name).read_bytes()
    assert rebuilt.tensors.keys() == shipped.tensors.keys()
    for precision in shipped.manifest.precisions:
        assert shipped.golden.check(precision, rebuilt.golden.rows[precision]) <= 1
    temperature = "float32.calibrator.temperature"
    assert torch.allclose(rebuilt.tensors[temperature], shipped.tensors[temperature], atol=0.02)
