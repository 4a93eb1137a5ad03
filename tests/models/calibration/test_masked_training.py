"""Masks, the rule of q, and the training loop of MaC-Cal."""

from dataclasses import replace

import pytest
import torch
from torch.nn.functional import cross_entropy

from models.calibration.masked_training import (
    MASKED,
    LabelledFeatures,
    MacCalOptions,
    bottleneck_logits,
    draw_masks,
    layer_shapes,
    masked_step,
    next_q,
    train,
    width_for,
)
from models.core.method import Dimensions
from tests.oracles import mac_cal as oracle

SIZES = Dimensions(classes=3, features=5)
QUICK = MacCalOptions(epochs=15, rate=0.01)


def seeded(seed):
    return torch.Generator().manual_seed(seed)


@pytest.fixture
def weights():
    shapes = layer_shapes(SIZES, 4)
    return {name: torch.randn(shape, generator=seeded(1)).requires_grad_() for name, shape in shapes.items()}


@pytest.fixture
def rows():
    return LabelledFeatures(torch.randn(9, 5, generator=seeded(2)), torch.arange(9) % 3)


def groups(rows, spread, seed, *, classes=3, mixed=0.0):
    """Features around a centre a class; a share `mixed` of another row is added to each, as mixup has it."""
    generator = seeded(seed)
    labels = torch.randint(0, classes, (rows,), generator=generator)
    features = 3 * torch.eye(classes, 8)[labels] + spread * torch.randn(rows, 8, generator=generator)
    other = features[torch.randperm(rows, generator=generator)]
    return LabelledFeatures((1 - mixed) * features + mixed * other, labels)


OPTIMISERS = {
    "momentum": lambda given: torch.optim.SGD(given, lr=0.1, momentum=0.9, weight_decay=0.1),
    "moments": lambda given: torch.optim.Adam(given, lr=0.1, fused=True),
    "decay": lambda given: torch.optim.AdamW(given, lr=0.1, weight_decay=0.5),
}


def stepped(optimiser, weights, rows, masks, scale=1.0):
    optimiser.zero_grad()
    retained = {**weights, **{name: weights[name] * masks[name] * scale for name in MASKED}}
    cross_entropy(bottleneck_logits(retained, rows.features), rows.labels).backward()
    masked_step(optimiser, weights, masks)


@pytest.mark.parametrize("name", OPTIMISERS)
def test_masked_weights_keep_every_bit_whatever_the_optimiser_remembers(name, weights, rows):
    optimiser, generator = OPTIMISERS[name](list(weights.values())), seeded(3)
    everything = {part: torch.ones_like(weights[part], dtype=torch.bool) for part in MASKED}
    stepped(optimiser, weights, rows, everything)  # every weight has a momentum now
    for _ in range(3):
        masks = draw_masks(weights, 0.5, generator)
        before = {part: weights[part].detach().clone() for part in MASKED}
        stepped(optimiser, weights, rows, masks)
        for part, mask in masks.items():
            assert torch.equal(weights[part].detach()[~mask], before[part][~mask])
            moved = weights[part].detach()[mask] != before[part][mask]
            assert bool(moved.any())


def test_steps_equal_the_oracles(weights, rows):
    found = {name: value.detach().double().requires_grad_() for name, value in weights.items()}
    expected = {name: value.tolist() for name, value in found.items()}
    optimiser, rate, decay = torch.optim.Adam(found.values(), lr=0.05, weight_decay=0.1), 0.05, 0.1
    doubled = LabelledFeatures(rows.features.double(), rows.labels)
    moments: dict[tuple[str, object], tuple[float, float]] = {}
    for step in (1, 2, 3):
        masks = draw_masks(weights, 0.6, seeded(step))
        listed = {name: mask.tolist() for name, mask in masks.items()}
        stepped(optimiser, found, doubled, masks, 1 / 0.6)
        slopes = oracle.gradients(expected, doubled.features.tolist(), rows.labels.tolist(), listed, 1 / 0.6)
        for name, of_name in slopes.items():
            for place, slope in of_name.items():
                line, at = (expected[name][place[0]], place[1]) if isinstance(place, tuple) else (expected[name], place)
                masked = isinstance(place, tuple) and not listed[name][place[0]][place[1]]
                past = moments.get((name, place), (0.0, 0.0))
                line[at], moments[name, place] = oracle.adam_step(line[at], slope, past, step, rate, decay, masked)
    for name, value in found.items():
        assert value.detach().flatten().tolist() == pytest.approx(
            torch.tensor(expected[name]).flatten().tolist(), rel=1e-5
        )


def test_logits_equal_the_oracles(weights, rows):
    listed = {name: value.tolist() for name, value in weights.items()}
    expected = [oracle.forward(listed, row)[2] for row in rows.features.tolist()]
    torch.testing.assert_close(bottleneck_logits(weights, rows.features).detach(), torch.tensor(expected))


def test_masks_retain_a_share_q():
    big = {"inner": torch.zeros(401, 500), "outer": torch.zeros(7, 401)}
    for q in (0.1, 0.37, 0.9):
        masks = draw_masks(big, q, seeded(0))
        assert {name: mask.shape for name, mask in masks.items()} == {name: part.shape for name, part in big.items()}
        assert float(masks["inner"].double().mean()) == pytest.approx(q, abs=0.004)
    assert all(bool(mask.all()) for mask in draw_masks(big, 1.0, seeded(0)).values())


@pytest.mark.parametrize(
    ("reading", "q", "gap", "expected"),
    [
        ("additive", 0.9, 0.2, 0.76),
        ("additive", 0.9, -0.1, 0.97),
        ("additive", 0.9, -0.5, 1.0),
        ("additive", 0.2, 0.9, 0.1),
        ("multiplicative", 0.9, 0.01, 0.63),
        ("multiplicative", 0.63, -0.01, 0.9),
        ("multiplicative", 0.12, 0.5, 0.1),
        ("discounted", 0.9, 0.2, 0.7),
    ],
)
def test_q_falls_with_a_gap_above_0_and_rises_below(reading, q, gap, expected):
    assert next_q(q, gap, MacCalOptions(reading=reading)) == pytest.approx(expected)


def test_a_discounted_target_is_part_of_the_gap():
    part, held_out = groups(200, 1.0, 4), groups(60, 1.0, 5)
    epoch = train(part, held_out, Dimensions(3, 8), replace(QUICK, reading="discounted", epochs=2)).epochs[-1]
    assert epoch.gap == pytest.approx(epoch.confidence - 0.7 * epoch.accuracy)


def test_q_falls_where_the_new_head_is_too_confident():
    """Few noisy rows are learnt by heart."""
    found = train(groups(60, 3.0, 6), groups(400, 3.0, 7), Dimensions(3, 8), replace(QUICK, epochs=40))
    assert found.epochs[-1].q < 0.5
    assert max(epoch.gap for epoch in found.epochs) > 0.1


def test_q_rises_to_its_bound_where_mixed_rows_make_the_head_too_cautious():
    part, held_out = groups(2000, 0.5, 8, mixed=0.49), groups(400, 0.5, 9)
    found = train(part, held_out, Dimensions(3, 8), replace(QUICK, first_q=0.5))
    assert found.epochs[0].q == 0.5
    assert found.epochs[-1].q == 1.0
    assert found.epochs[-1].gap < -0.02


def test_without_rescaling_the_logits_of_unmasked_weights_are_larger():
    part, held_out = groups(600, 2.0, 10), groups(200, 2.0, 11)
    sizes = {}
    for rescale in (True, False):
        options = replace(QUICK, first_q=0.5, lowest_q=0.5, gamma=1e-9, rescale=rescale)
        found = train(part, held_out, Dimensions(3, 8), options)
        assert {round(epoch.q, 6) for epoch in found.epochs} == {0.5}
        sizes[rescale] = float(bottleneck_logits(found.weights, held_out.features).std())
    assert sizes[False] > 1.3 * sizes[True]


def test_the_kept_epoch_has_the_least_held_out_loss():
    part, held_out = groups(60, 2.0, 12), groups(200, 2.0, 13)
    found = train(part, held_out, Dimensions(3, 8), replace(QUICK, epochs=40))
    losses = [epoch.held_out_nll for epoch in found.epochs]
    assert losses[found.best] == min(losses)
    assert found.best < len(losses) - 1
    kept = float(cross_entropy(bottleneck_logits(found.weights, held_out.features), held_out.labels))
    assert kept == pytest.approx(min(losses))


def test_the_gap_is_of_the_rows_that_the_options_name():
    part, held_out = groups(60, 2.0, 14), groups(200, 2.0, 15)
    of = {gap: train(part, held_out, Dimensions(3, 8), replace(QUICK, gap=gap)).epochs for gap in ("train", "heldout")}
    assert of["train"][0].held_out_nll == of["heldout"][0].held_out_nll
    assert of["train"][-1].accuracy > of["heldout"][-1].accuracy + 0.05


@pytest.mark.parametrize(("sizes", "width"), [((10, 1280), 320), ((100, 256), 200), ((1000, 1280), 320), ((4, 1), 1)])
def test_the_width_follows_features_and_classes(sizes, width):
    assert width_for(Dimensions(*sizes)) == width


@pytest.mark.parametrize(
    ("wrong", "told"),
    [
        ({"reading": "sum"}, "reading is one of additive"),
        ({"gap": "test"}, "gap is one of heldout"),
        ({"gamma": 0}, "gamma must lie above 0"),
        ({"lowest_q": 0.95}, "lowest_q <= first_q"),
        ({"first_q": 1.1}, "lowest_q <= first_q"),
        ({"epochs": 0}, "at least 1"),
        ({"width": 0}, "at least 1"),
        ({"rate": 0.5}, "rate must lie"),
    ],
)
def test_options_that_cannot_be_meant_are_refused(wrong, told):
    with pytest.raises(ValueError, match=told):
        MacCalOptions(**wrong)
