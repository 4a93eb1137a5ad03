import pytest
import torch

from models.calibration import temperature
from models.calibration.temperature import LARGEST, SMALLEST, Temperature
from models.core.method import Dimensions
from models.core.outputs import ModelOutputs
from tests.oracles import calibration as oracle

DIMENSIONS = Dimensions(classes=4, features=1)


def fitted(logits, labels, mask=None):
    return float(Temperature(DIMENSIONS).fit(ModelOutputs(logits, mask=mask), labels).state()["temperature"])


@pytest.mark.parametrize("scale", [0.3, 1.0, 4.0, 20.0])
def test_fit_is_the_best_point_of_a_grid(scale):
    generator = torch.Generator().manual_seed(int(scale * 10))
    calibrated = 2 * torch.randn(60, 4, generator=generator)
    labels = torch.multinomial(calibrated.softmax(dim=1), 1, generator=generator)[:, 0]
    logits = scale * calibrated
    assert fitted(logits, labels) == pytest.approx(oracle.best_temperature(logits.tolist(), labels.tolist()), rel=1e-5)


def test_recovers_the_factor_that_logits_were_multiplied_with():
    generator = torch.Generator().manual_seed(0)
    calibrated = 2 * torch.randn(20_000, 4, generator=generator)
    labels = torch.multinomial(calibrated.softmax(dim=1), 1, generator=generator)[:, 0]
    assert fitted(3 * calibrated, labels) == pytest.approx(3, rel=0.03)


def test_absent_choices_are_left_out_of_the_likelihood():
    generator = torch.Generator().manual_seed(0)
    logits = 3 * torch.randn(40, 4, generator=generator)
    mask = torch.ones(40, 4, dtype=torch.bool)
    mask[:, 3] = False
    labels = torch.randint(0, 3, (40,), generator=generator)
    three = [row[:3] for row in logits.tolist()]
    assert fitted(logits, labels, mask) == pytest.approx(oracle.best_temperature(three, labels.tolist()), rel=1e-5)


@pytest.mark.parametrize(("labels", "bound"), [(torch.arange(4), SMALLEST), ((torch.arange(4) + 1) % 4, LARGEST)])
def test_stays_within_its_bounds(labels, bound):
    assert fitted(torch.eye(4), labels) == pytest.approx(bound)


def test_the_label_never_changes():
    logits = torch.randn(100, 4, generator=torch.Generator().manual_seed(0))
    for divisor in (0.02, 3.0, 50.0):
        method = Temperature(DIMENSIONS).load_state({"temperature": torch.tensor(divisor)})
        calibrated = method.transform(ModelOutputs(logits)).calibrated
        assert torch.equal(calibrated, logits / divisor)
        assert torch.equal(calibrated.argmax(dim=1), logits.argmax(dim=1))


@pytest.mark.parametrize("margin", [0.01, 1.0, 100.0])
def test_a_search_that_would_creep_ends_after_few_passes(margin, monkeypatch):
    passes = []
    plain = temperature.row_derivatives
    monkeypatch.setattr(temperature, "row_derivatives", lambda *given: passes.append(1) or plain(*given))
    # All right by one margin: the loss is nearly exp(-margin / T), along which Newton's steps stay alike.
    assert fitted(margin * torch.eye(4), torch.arange(4)) == pytest.approx(SMALLEST)
    assert len(passes) < 60
