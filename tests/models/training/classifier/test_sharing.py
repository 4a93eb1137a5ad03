"""Two ranks take the steps that one process takes, and end by any death to go on from what was saved."""

import multiprocessing
import os
import signal
import time
from dataclasses import astuple, replace

import pytest
import torch

from models.core.errors import RankError
from models.training.classifier import launched
from models.training.classifier.launched import train_on_several
from models.training.classifier.plan import Augmentation, NoiseWarmUp
from tests.models.training.classifier.plain_rank import Plain
from tests.models.training.classifier.several import ranks_in, recipe
from tests.models.training.classifier.small_trainings import PLAN, Heard, same, train

# Everything that is drawn, or kept beside the weights; steps enough to be ended in the middle.
PLAN_OF_ALL = replace(
    PLAN,
    epochs=30,
    averaging=0.9,
    mixup=0.4,
    patience=30,
    augmentation=Augmentation(flip=0.5, shift=0.2, cutout=0.3),
    noise_warmup=NoiseWarmUp(steps=5, batch=9, rate=1e-3),
)


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """An uninterrupted run by two ranks, and what it told."""
    folder, heard = tmp_path_factory.mktemp("whole"), Heard()
    return train_on_several(2, recipe(folder, PLAN_OF_ALL), folder / "training", heard), heard


def test_two_ranks_train_as_one_process_does(tmp_path, monkeypatch):
    monkeypatch.setattr(launched, "PROGRAM", ("-m", "tests.models.training.classifier.plain_rank"))
    network = Plain()
    plan = replace(PLAN, epochs=4, batch=17, rate=0.3)  # 60 rows in 4 batches: halves of 8 and 7
    found = train_on_several(2, recipe(tmp_path, plan, "howsure", "plain", {}, network), tmp_path, Heard())
    before = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    alone = train(network, plan)
    assert max((alone.state[name] - before[name]).abs().max() for name in ("conv.weight", "fc.weight")) > 0.05
    for name, tensor in alone.state.items():
        torch.testing.assert_close(found.state[name], tensor, atol=1e-5, rtol=0)
    for point, other in zip(found.curve, alone.curve, strict=True):
        assert astuple(point)[:4] == pytest.approx(astuple(other)[:4], abs=1e-5)
        assert astuple(point.held_out) == pytest.approx(astuple(other.held_out), abs=1e-5)


def test_one_rank_tells_every_step(whole):
    trained, heard = whole
    assert [call[:2] for call in heard.calls] == [
        *(("noise", step) for step in range(1, 6)),
        *(("data", step) for step in range(1, 121)),
    ]
    assert heard.calls[-1][3]["held_out"]["nll"] == trained.curve[-1].held_out.nll
    assert trained.noise.stopped == "all 5 steps are done"


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:.*multi-threaded:DeprecationWarning")
def test_killed_with_its_launcher_and_then_by_itself_it_goes_on_to_equal_weights(tmp_path, whole):
    given, folder, heard = recipe(tmp_path, PLAN_OF_ALL), tmp_path / "training", Heard()
    launcher = multiprocessing.get_context("fork").Process(
        target=train_on_several, args=(2, given, folder, kill_this_process)
    )
    launcher.start()
    launcher.join()
    assert launcher.exitcode == -signal.SIGKILL
    wait_for_none(folder)
    with pytest.raises(RankError, match=r"^rank 0 ended with signal SIGKILL"):
        train_on_several(2, given, folder, rank_0_killer(folder))
    assert not ranks_in(folder)
    found = train_on_several(2, given, folder, heard)
    assert 1 < heard.calls[0][1] < 120, "it went on in the middle"
    assert same(found.state, whole[0].state)
    assert (found.curve, found.noise) == (whole[0].curve, whole[0].noise)


def kill_this_process(phase, step, *_):
    if (phase, step) == ("data", 9):
        os.kill(os.getpid(), signal.SIGKILL)


def rank_0_killer(folder):
    killed = []

    def told(*_):
        if not killed:
            killed.append(ranks_in(folder)[0])
            os.kill(killed[0], signal.SIGKILL)

    return told


def wait_for_none(folder):
    deadline = time.monotonic() + 20
    while ranks_in(folder) and time.monotonic() < deadline:
        time.sleep(0.02)
    assert not ranks_in(folder)
