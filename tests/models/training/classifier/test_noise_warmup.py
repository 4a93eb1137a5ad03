"""The noise phase: it brings confidence to chance, stops by itself, and says what it found."""

import math
from dataclasses import replace

import pytest
import torch

from models.core.errors import UnknownNameError
from models.training.classifier.noise_warmup import AT_CHANCE, CHECK_STEPS, NoiseRecord, warm_up
from models.training.classifier.plan import NoiseWarmUp
from models.training.classifier.saved import Saved
from models.training.classifier.sharing import ALONE
from tests.models.training.classifier.small_trainings import (
    CPU,
    HELD_OUT,
    PLAN,
    ROWS,
    coloured,
    perceptron,
    same,
    train,
    with_dropout,
)

CHANCE = 1 / 3
PHASE = NoiseWarmUp(steps=4000, batch=64, rate=0.01)


def warmed(phase=PHASE, network=None, held_out=HELD_OUT):
    network = perceptron() if network is None else network
    plan = replace(PLAN, noise_warmup=phase)
    with torch.random.fork_rng():
        return network, warm_up(network, "fc", held_out, plan, CPU, Saved(None, {}), lambda *step: None, ALONE)


@pytest.fixture(scope="module")
def stopped():
    return warmed()


def test_confidence_goes_to_chance_on_fresh_noise_and_on_unseen_images(stopped):
    network, record = stopped
    first, last = record.checks[0], record.checks[-1]
    assert first.confidence > CHANCE + 0.15
    assert first.image_confidence > CHANCE + 0.15
    noise = torch.randn(2000, 3, 8, 8, generator=torch.Generator().manual_seed(99))
    with torch.no_grad():
        confidence = float(network.eval()(noise).softmax(dim=1).amax(dim=1).mean())
    assert confidence == pytest.approx(last.confidence, abs=0.01)
    assert CHANCE < confidence < CHANCE + AT_CHANCE + 0.01
    assert last.image_confidence < CHANCE + 0.1


def test_it_stops_by_itself_once_confidence_is_at_chance_and_the_loss_flat(stopped):
    _, record = stopped
    *_, before, last = record.checks
    assert last.step < PHASE.steps
    assert last.confidence <= CHANCE + AT_CHANCE
    assert 0.995 * before.loss <= last.loss
    assert last.loss == pytest.approx(math.log(3), abs=0.03)
    assert record.stopped == f"confidence on fresh noise is at chance and the loss is flat after {last.step} steps"
    assert [check.step for check in record.checks] == list(range(0, last.step + 1, CHECK_STEPS))
    assert record.checks[0].loss is None


def test_told_not_to_stop_it_takes_all_steps():
    _, record = warmed(replace(PHASE, steps=CHECK_STEPS + 10, stop=False))
    assert [check.step for check in record.checks] == [0, CHECK_STEPS, CHECK_STEPS + 10]
    assert record.stopped == f"all {CHECK_STEPS + 10} steps are done"


def test_the_images_decide_nothing_but_the_record():
    short = replace(PHASE, steps=5)
    network, record = warmed(short)
    other, second = warmed(short, held_out=coloured(20, seed=7))
    assert same(network.state_dict(), other.state_dict())
    assert [check.confidence for check in record.checks] == [check.confidence for check in second.checks]
    assert record.checks[0].image_confidence != second.checks[0].image_confidence


class Listening(torch.nn.Module):
    """Keeps the noise that it is given to learn from."""

    def __init__(self):
        super().__init__()
        self.fc, self.heard = torch.nn.Linear(192, 3), []

    def forward(self, images):
        if self.training:
            self.heard.append(images)
        return self.fc(images.flatten(1))


@pytest.mark.parametrize("distribution", ["normal", "uniform"])
def test_noise_is_new_in_every_batch_and_has_the_deviation_asked_for(distribution):
    network, _ = warmed(replace(PHASE, steps=30, distribution=distribution, deviation=2.0), Listening())
    noise = torch.stack(network.heard)
    assert noise.shape == (30, 64, 3, 8, 8)
    assert float(noise.std()) == pytest.approx(2, rel=0.01)
    assert float(noise.mean()) == pytest.approx(0, abs=0.02)
    assert len({float(batch.sum()) for batch in noise}) == 30
    outside = float((noise.abs() > 2 * math.sqrt(3)).double().mean())
    assert outside == (0 if distribution == "uniform" else pytest.approx(0.083, abs=0.005))


def test_a_training_after_it_carries_the_record_and_differs():
    found = train(with_dropout(), replace(PLAN, noise_warmup=replace(PHASE, steps=20)))
    assert isinstance(found.noise, NoiseRecord)
    assert found.noise.to_dict()["checks"][-1]["step"] == 20
    plain = train(with_dropout())
    assert plain.noise is None
    assert not same(found.state, plain.state)


def test_an_unknown_distribution_is_refused():
    with pytest.raises(UnknownNameError, match="normal, uniform"):
        NoiseWarmUp(distribution="laplace")


def test_batch_statistics_do_not_move_while_classes_are_counted():
    network = with_dropout().train()
    before = network.norm.running_mean.clone()
    train(network, replace(PLAN, epochs=1, scope="head", noise_warmup=replace(PHASE, steps=1, scope="head")), ROWS)
    assert torch.equal(network.norm.running_mean, before)
