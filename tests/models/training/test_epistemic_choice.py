"""The choice of decay and sigma against a search over every pair of rows; ties."""

import math

import pytest
import torch

from models.core.errors import DataError
from models.core.method import Dimensions
from models.core.outputs import LayerGradients
from models.training.epistemic_choice import DECAYS, Trial, best, compare
from tests.oracles.metrics import auroc

SIZES = Dimensions(classes=3, features=2)
LAYERS = 6


@pytest.fixture
def drawn():
    """Energies of the last four of six layers of 40 rows for two sigmas; the deep layers tell what is wrong."""
    generator = torch.Generator().manual_seed(5)
    wrong = torch.rand(40, generator=generator) < 0.4
    noise = torch.rand(2, 40, 4, generator=generator)
    told = wrong[None, :, None] * torch.tensor([-0.3, 0.0, 0.1, 0.4])
    energies = (noise + told).clamp_min(0) * torch.tensor([8.0, 4.0, 2.0, 1.0])
    return {sigma: LayerGradients(part, LAYERS) for sigma, part in zip((0.02, 0.1), energies, strict=True)}, wrong


def searched(energies, wrong):
    """(decay, sigma) → AUROC, row by row."""
    found = {}
    for sigma, gradients in energies.items():
        for decay in DECAYS:
            weights = [math.exp(decay * layer / LAYERS) for layer in range(3, LAYERS + 1)]
            scores = [sum(w * e for w, e in zip(weights, row, strict=True)) for row in gradients.energies.tolist()]
            found[decay, sigma] = auroc(scores, wrong.tolist())
    return found


def test_it_picks_what_a_search_picks(drawn):
    trials = compare(*drawn, SIZES)
    expected = searched(*drawn)
    assert {(each.decay, each.sigma): each.auroc for each in trials} == pytest.approx(expected, abs=1e-12)
    won = best(trials)
    assert (won.decay, won.sigma) == max(expected, key=expected.get)
    assert len(set(expected.values())) > len(DECAYS), "the choice must matter here"


def test_of_equal_ones_the_nearest_to_the_default_wins():
    tied = [Trial(decay, sigma, 0.7) for sigma in (0.005, 0.02, 0.1) for decay in DECAYS]
    assert best((*tied, Trial(0.0, 0.05, 0.6))) == Trial(5.0, 0.02, 0.7)
    assert best((Trial(0.0, 0.02, 0.7), Trial(10.0, 0.02, 0.7), Trial(2.0, 0.1, 0.7))) == Trial(2.0, 0.1, 0.7)


@pytest.mark.parametrize("which", ["right", "wrong"])
def test_rows_that_cannot_tell_are_refused(drawn, which):
    wrong = torch.full((40,), which == "wrong")
    with pytest.raises(DataError, match=f"all 40 rows to choose by are {which}: leave `choose` out"):
        compare(drawn[0], wrong, SIZES)
