"""A training learns, resumes to equal weights bit by bit, stops early with the best ones, refuses another's folder."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from models.core.errors import DataError
from models.training.classifier import saved
from models.training.classifier.judging import judge
from models.training.classifier.plan import Augmentation, NoiseWarmUp, TrainPlan
from tests.models.training.classifier.small_trainings import (
    CPU,
    HELD_OUT,
    PLAN,
    ROWS,
    Heard,
    Killed,
    coloured,
    perceptron,
    same,
    train,
    with_dropout,
)

NOISE = NoiseWarmUp(steps=12, batch=8, rate=1e-3)
PLANS = {
    "sgd": replace(
        PLAN, averaging=0.9, mixup=0.4, label_smoothing=0.1, augmentation=Augmentation(flip=0.5, shift=0.2, cutout=0.3)
    ),
    "adam": replace(PLAN, optimiser="adam", rate=0.01, precision="bfloat16"),
    "adamw": replace(PLAN, optimiser="adamw", rate=0.01, loss="focal", schedule="linear"),
}


@pytest.fixture
def saved_after_every_step(monkeypatch):
    monkeypatch.setattr(saved, "SAVE_SECONDS", 0.0)


def interrupted(network, plan, folder, phase, limit):
    """What a second run with other weights of the same shapes comes to, after one that was ended."""
    with pytest.raises(Killed):
        train(network(), plan, folder=folder, told=Heard(phase, limit))
    heard = Heard()
    torch.rand(3)
    return train(network(), plan, folder=folder, told=heard), heard


@pytest.mark.usefixtures("saved_after_every_step")
@pytest.mark.parametrize("limit", [1, 4, 6, 11, 12])
@pytest.mark.parametrize("name", PLANS)
def test_a_killed_run_goes_on_to_equal_weights(name, limit, tmp_path):
    whole = train(plan=PLANS[name])
    found, heard = interrupted(with_dropout, PLANS[name], tmp_path, "data", limit)
    assert same(found.state, whole.state)
    assert found.curve == whole.curve
    # The state is saved before a step is told; but for the last, nothing is left to do then.
    assert [step for _, step, _, _ in heard.calls] == list(range(limit + 1, 13))


def test_what_was_not_saved_yet_is_done_again(tmp_path):
    whole = train(plan=PLANS["sgd"])
    found, heard = interrupted(with_dropout, PLANS["sgd"], tmp_path, "data", 7)
    assert heard.calls[0][1] == 5, "after the last whole epoch of four steps"
    assert same(found.state, whole.state)


@pytest.mark.usefixtures("saved_after_every_step")
@pytest.mark.parametrize(("phase", "limit"), [("noise", 1), ("noise", 12), ("data", 5)])
@pytest.mark.parametrize("rule", ["backprop", "feedback_alignment"])
def test_a_run_with_a_noise_phase_resumes_in_either_phase(phase, limit, rule, tmp_path):
    plan = replace(PLANS["adam"], noise_warmup=NOISE, learning_rule=rule)
    whole = train(perceptron(), plan)
    found, heard = interrupted(perceptron, plan, tmp_path, phase, limit)
    assert same(found.state, whole.state)
    assert (found.curve, found.noise) == (whole.curve, whole.noise)
    assert {told for told, *_ in heard.calls} == ({"noise", "data"} if (phase, limit) == ("noise", 1) else {"data"})


def test_a_run_that_was_done_is_not_done_again(tmp_path):
    plan = replace(PLAN, noise_warmup=NOISE)
    first, heard = train(plan=plan, folder=tmp_path), Heard()
    again = train(plan=plan, folder=tmp_path, told=heard)
    assert heard.calls == []
    assert same(again.state, first.state)
    assert (again.curve, again.noise, again.stopped) == (first.curve, first.noise, first.stopped)


@pytest.mark.parametrize("name", PLANS)
def test_one_seed_gives_one_network_whatever_was_drawn_before(name):
    torch.manual_seed(1)
    first = train(plan=PLANS[name])
    before = torch.get_rng_state()
    torch.rand(5)
    assert same(first.state, train(plan=PLANS[name]).state)
    assert not same(first.state, train(plan=replace(PLANS[name], seed=6)).state)
    torch.manual_seed(1)
    assert torch.equal(torch.get_rng_state(), before)


def test_learns_and_tells_every_step():
    heard = Heard()
    found = train(plan=replace(PLAN, epochs=8), told=heard)
    assert [(phase, step, steps) for phase, step, steps, _ in heard.calls] == [
        ("data", step, 32) for step in range(1, 33)
    ]
    points = [point for *_, point in heard.calls if point is not None]
    assert [point["epoch"] for point in points] == list(range(1, 9))
    assert [point["loss"] for point in points] == [point.loss for point in found.curve]
    assert found.curve[-1].held_out.accuracy > 0.8 > found.curve[0].accuracy
    assert found.stopped == "all 8 epochs are done"


@pytest.mark.parametrize(("rows", "batch", "steps"), [(60, 16, 4), (5, 2, 2), (3, 2, 1), (7, 2, 3), (2, 128, 1)])
def test_every_epoch_has_every_row_once_and_no_row_stands_alone(rows, batch, steps):
    network, sizes = with_dropout(), []
    network.dropout.register_forward_hook(lambda module, given, made: sizes.append(len(made) * module.training))
    train(network, replace(PLAN, epochs=1, batch=batch), coloured(rows))
    sizes = [size for size in sizes if size]
    assert sum(sizes) == rows
    assert len(sizes) == steps
    assert min(sizes) >= 2


def test_an_early_stop_gives_the_best_weights(tmp_path):
    wrong = replace(HELD_OUT, labels=(HELD_OUT.labels + 1) % 3)  # learning makes it worse, from some epoch on
    plan = replace(PLAN, epochs=40, patience=2, rate=0.2)
    found = train(plan=plan, held_out=wrong)
    losses = [point.held_out.nll for point in found.curve]
    best = losses.index(min(losses)) + 1
    assert len(losses) == best + 2 < 40
    assert found.stopped == f"2 epochs brought no better held-out NLL than epoch {best}"
    network = with_dropout()
    network.load_state_dict(found.state)
    assert judge(network, wrong, CPU, "float32") == found.curve[best - 1].held_out
    with pytest.raises(Killed):
        train(plan=plan, held_out=wrong, folder=tmp_path, told=Heard(limit=4 * best))
    again = train(plan=plan, held_out=wrong, folder=tmp_path)
    assert same(again.state, found.state)
    assert again.stopped == found.stopped


def test_the_averaged_weights_are_what_is_judged_and_given():
    found = train(plan=PLANS["sgd"])
    network = with_dropout()
    network.load_state_dict(found.state)
    assert judge(network, HELD_OUT, CPU, "float32") == found.curve[-1].held_out
    assert not same(found.state, train(plan=replace(PLANS["sgd"], averaging=0.0)).state)


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ({"plan": replace(PLAN, seed=6)}, "plan"),
        ({"rows": coloured(60, seed=9)}, "rows"),
        ({"held_out": coloured(29, seed=1)}, "rows"),
        ({"network": perceptron()}, "network"),
        ({"rows": replace(ROWS, spec=replace(ROWS.spec, mean=(0.4,) * 3))}, "input_spec"),
    ],
)
def test_another_training_in_the_folder_is_refused(given, told, tmp_path):
    train(folder=tmp_path)
    with pytest.raises(DataError, match=f"with other {told}: give an empty folder"):
        train(folder=tmp_path, **given)


@pytest.mark.parametrize("network", [with_dropout, perceptron])
def test_a_loss_that_is_no_longer_finite_is_refused(network):
    with pytest.raises(ValueError, match="try a lower rate"):
        train(network(), TrainPlan(epochs=3, batch=16, rate=1e30, warm_up=0.0, precision="float32"))


def test_the_network_itself_is_trained_and_left_in_eval_mode():
    network = with_dropout()
    found = train(network)
    assert same(found.state, network.state_dict())
    assert not network.training
    assert all(np.isfinite(tensor.numpy()).all() for tensor in found.state.values())


@pytest.mark.parametrize("module", [True, False])
def test_weights_that_have_two_names_are_averaged(module):
    tied, plan = with_dropout(), replace(PLAN, averaging=0.9)
    tied.other = tied.conv if module else torch.nn.Conv2d(3, 6, 3, bias=False)
    tied.other.weight = tied.conv.weight
    found, plain = train(tied, plan).state, train(plan=plan).state
    assert same({name: found[name] for name in plain}, plain)
