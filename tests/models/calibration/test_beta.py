import pytest
import torch

from models.calibration.beta import Beta
from models.core.method import Dimensions
from models.core.outputs import ModelOutputs
from tests.fixtures.logits import too_confident
from tests.oracles.calibration import beta_objective

DIMENSIONS = Dimensions(classes=4, features=1)


@pytest.mark.parametrize("prior", [0.5, 2.0])
@pytest.mark.parametrize("rows", [10, 200])
def test_is_at_a_minimum_of_the_penalised_likelihood(rows, prior):
    logits, labels = too_confident(rows, seed=4)
    state = Beta(DIMENSIONS).fit(ModelOutputs(logits), labels, prior=prior).state()
    confidences = logits.double().softmax(dim=1).amax(dim=1).tolist()
    right = (logits.argmax(dim=1) == labels).tolist()
    first, second, offset = *state["slopes"].tolist(), float(state["offset"])
    lowest = beta_objective([first, second], offset, confidences, right, prior)
    assert lowest < beta_objective([1, 1], 0, confidences, right, prior)
    for slopes, moved in (
        ([first * 1.03, second], offset),
        ([first / 1.03, second], offset),
        ([first, second * 1.03], offset),
        ([first, second / 1.03], offset),
        ([first, second], offset + 0.03),
        ([first, second], offset - 0.03),
    ):
        assert beta_objective(slopes, moved, confidences, right, prior) > lowest - 1e-8


def test_recovers_the_curve_that_labels_were_drawn_from():
    generator = torch.Generator().manual_seed(5)
    margin = 4 * torch.rand(60_000, generator=generator)
    logits = torch.stack([margin, torch.zeros(60_000)], dim=1)
    p = margin.double().sigmoid()
    drawn = (0.4 * p.log() - 0.7 * (1 - p).log() + 0.2).sigmoid()
    labels = (torch.rand(60_000, generator=generator) >= drawn).long()
    method = Beta(Dimensions(classes=2, features=1)).fit(ModelOutputs(logits), labels)
    found = method.transform(ModelOutputs(logits)).calibrated_log_probabilities().exp()[:, 0]
    assert float((found - drawn).abs().max()) < 0.02


def test_the_identity_state_changes_nothing():
    logits, _ = too_confident(50, seed=6)
    method = Beta(DIMENSIONS).load_state({"slopes": torch.ones(2), "offset": torch.tensor(0.0)})
    torch.testing.assert_close(method.transform(ModelOutputs(logits)).calibrated, logits, rtol=1e-5, atol=1e-5)
