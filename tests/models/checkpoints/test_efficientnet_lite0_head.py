"""The shipped loss-rank head is what its own training makes of the upstream images."""

import pytest
import safetensors.torch

from models.checkpoints.efficientnet_lite0 import HEAD, SEED, plan, stored_head
from models.checkpoints.efficientnet_lite0_head import build
from models.checkpoints.loss_rank_head import held_out
from models.checkpoints.shipped import FOLDER
from models.checkpoints.upstream import upstream_rows
from models.core.checkpoint import read_version
from models.core.device import machine
from tests.fixtures.models import SHIPPED


def test_the_checkpoint_has_this_head_in_every_precision():
    shipped, head = read_version(FOLDER / SHIPPED), safetensors.torch.load_file(HEAD)
    for precision in shipped.manifest.precisions:
        state = shipped.method_state(precision, "scores.loss_rank")
        assert state.keys() - {"reference"} == head.keys()
        assert all(state[name].equal(value) for name, value in head.items())


@pytest.mark.data
def test_it_was_trained_on_nothing_that_is_reported_on(labelled_data):
    planned = plan(labelled_data)
    rows = upstream_rows(labelled_data, planned.fit.names)
    photographs = {name.removeprefix("imagenet_nips17dev_shared/") for name in rows.names}
    assert len(photographs & set(planned.fit.names)) == 250
    assert not photographs & set(planned.judge[0].names)
    assert (len(rows.names), len(held_out(rows.names, SEED))) == (3150, 315)
    told = read_version(FOLDER / SHIPPED).manifest.report["loss_rank"]
    assert (told["data"]["rows"], told["data"]["sha256"], told["held_out"]) == (3150, rows.sha256, 315)


@pytest.mark.data
@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_training_again_gives_the_same_bytes(labelled_data, tmp_path):
    path = tmp_path / "head.safetensors"
    build(labelled_data, tmp_path / "cache", path, threads=2)
    if machine() == read_version(FOLDER / SHIPPED).manifest.machine:
        assert path.read_bytes() == HEAD.read_bytes()
    again, shipped = (stored_head(file)[1]["best"]["spearman"] for file in (path, HEAD))
    assert again == pytest.approx(shipped, abs=0.03), "other processors and releases round otherwise"
