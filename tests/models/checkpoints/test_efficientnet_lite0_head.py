"""The shipped loss-rank head is what its own training makes of the upstream images."""

import pytest
import safetensors.torch

from models.checkpoints.efficientnet_lite0 import HEAD, plan
from models.checkpoints.efficientnet_lite0_head import build, held_out
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
    assert (len(rows.names), len(held_out(rows))) == (3150, 315)
    told = read_version(FOLDER / SHIPPED).manifest.report["loss_rank"]
    assert (told["data"]["rows"], told["data"]["sha256"], told["held_out"]) == (3150, rows.sha256, 315)


@pytest.mark.data
@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_training_again_gives_the_same_bytes(labelled_data, tmp_path):
    if machine() != read_version(FOLDER / SHIPPED).manifest.machine:
        pytest.skip("other processors and torch releases round otherwise")
    build(labelled_data, tmp_path / "cache", tmp_path / "head.safetensors", threads=2)
    assert (tmp_path / "head.safetensors").read_bytes() == HEAD.read_bytes()
