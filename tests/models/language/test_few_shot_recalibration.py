from dataclasses import replace

import pytest
import torch

from models.core.errors import CheckpointError, DataError
from models.language.few_shot_recalibration import POINTS, DomainRows, FewShotPlan, FewShotRecalibrator, read_curves
from tests.oracles import few_shot as oracle

PLAN = FewShotPlan(directions=2, steps=150)


def two_kinds_of_domains(domains, seed, a_domain=40):
    """In even domains the model is right as often as it says, in odd ones never more than a quarter of the time; the
    first embedding dimension tells which, the others nothing."""
    generator = torch.Generator().manual_seed(seed)
    numbers = torch.arange(domains).repeat_interleave(a_domain)
    confidences = 0.25 + 0.75 * torch.rand(len(numbers), generator=generator)
    chances = torch.where(numbers % 2 == 0, confidences, torch.tensor(0.25))
    embeddings = torch.randn(len(numbers), 4, generator=generator)
    embeddings[:, 0] += 4 * (numbers % 2)
    return DomainRows(confidences, embeddings, torch.rand(len(numbers), generator=generator) < chances, numbers)


@pytest.fixture(scope="module")
def fitted():
    return FewShotRecalibrator.fit(two_kinds_of_domains(12, seed=0), PLAN)


def test_a_curve_is_the_network_s_worked_out_by_hand(fitted):
    shown = two_kinds_of_domains(1, seed=1, a_domain=7)
    state = {name: value.tolist() for name, value in fitted.state.items()}
    found = fitted.curve(shown.confidences, shown.embeddings)
    assert found.shape == (POINTS,)
    assert found.tolist() == pytest.approx(
        oracle.curve(state, shown.confidences.tolist(), shown.embeddings.tolist()), abs=1e-5
    )
    asked = torch.tensor([0.0, 0.3, 0.5, 0.99, 1.0])
    assert read_curves(found, asked).tolist() == pytest.approx(
        [oracle.read(found.tolist(), confidence) for confidence in asked.tolist()], abs=1e-5
    )


def test_a_curve_never_falls_whatever_is_shown(fitted):
    strange = torch.randn(30, 4, generator=torch.Generator().manual_seed(2)) * 100
    for row in strange:
        assert bool((fitted.curve(torch.tensor([0.1]), row[None]).diff() >= 0).all())


def test_new_domains_are_told_apart_by_items_without_labels(fitted):
    new = two_kinds_of_domains(2, seed=3, a_domain=400)
    for domain in (0, 1):
        rows = new.domains == domain
        shown, confidences = new.embeddings[rows][:6], new.confidences[rows]
        chances = read_curves(fitted.curve(confidences[:6], shown), confidences)
        right = float(new.correct[rows].float().mean())
        assert float(chances.mean()) == pytest.approx(right, abs=0.1)
        assert abs(float(confidences.mean()) - right) > 0.3 or domain == 0


def test_equal_seeds_give_equal_networks():
    rows, plan = two_kinds_of_domains(4, seed=4), replace(PLAN, steps=3)
    first, second = (FewShotRecalibrator.fit(rows, plan).state for _ in range(2))
    other = FewShotRecalibrator.fit(rows, replace(plan, seed=1)).state
    assert all(torch.equal(first[name], second[name]) for name in first)
    assert not torch.equal(first["weight.0"], other["weight.0"])


def test_one_domain_is_refused():
    with pytest.raises(DataError, match="two domains"):
        FewShotRecalibrator.fit(two_kinds_of_domains(1, seed=0), PLAN)


def test_a_domain_with_nothing_left_to_predict_is_refused():
    with pytest.raises(DataError, match="6 items; send more than the 6 shown"):
        FewShotRecalibrator.fit(two_kinds_of_domains(2, seed=0, a_domain=6), PLAN)


def test_it_is_loaded_from_its_tensors_alone(fitted):
    loaded = FewShotRecalibrator.load(fitted.state, 4)
    shown = two_kinds_of_domains(1, seed=1, a_domain=7)
    ours, theirs = (each.curve(shown.confidences, shown.embeddings) for each in (loaded, fitted))
    assert torch.equal(ours, theirs)
    assert loaded.shown == PLAN.shown


@pytest.mark.parametrize(
    ("changed", "width"),
    [
        ({"mean": torch.zeros(5)}, 4),
        ({"weight.0": torch.zeros(16, 9)}, 4),
        ({"weight.1": torch.full((10, 16), torch.nan)}, 4),
        ({"other": torch.zeros(1)}, 4),
        ({}, 5),
    ],
)
def test_other_tensors_are_refused(fitted, changed, width):
    with pytest.raises(CheckpointError, match="few_shot: expected finite tensors"):
        FewShotRecalibrator.load({**fitted.state, **changed}, width)
    for name in fitted.state:
        with pytest.raises(CheckpointError, match="fit it anew"):
            FewShotRecalibrator.load({key: value for key, value in fitted.state.items() if key != name}, 4)


@pytest.mark.parametrize("width", [1, 4])
def test_directions_along_which_rows_are_alike_tell_nothing(width):
    rows = two_kinds_of_domains(6, seed=5)
    embeddings = torch.zeros(len(rows.embeddings), width)
    embeddings[:, 0] = (rows.domains % 2).float()
    made = FewShotRecalibrator.fit(replace(rows, embeddings=embeddings), replace(PLAN, directions=3, steps=5))
    moved = embeddings[:6] + torch.tensor([0.0, 0.01, 0.01, 0.01])[:width]
    near = made.curve(rows.confidences[:6], moved)
    assert near.tolist() == pytest.approx(made.curve(rows.confidences[:6], embeddings[:6]).tolist(), abs=1e-4)
