"""What a plan refuses, and that it says what to change."""

import pytest

from models.core.errors import UnknownNameError
from models.training.classifier.plan import Augmentation, NoiseWarmUp, TrainPlan


@pytest.mark.parametrize(
    ("kind", "given", "message"),
    [
        (TrainPlan, {"epochs": 0}, "epochs must be above 0"),
        (TrainPlan, {"rate": -0.1}, "rate must be above 0"),
        (TrainPlan, {"rate": float("nan")}, "rate must be above 0"),
        (TrainPlan, {"batch": 1}, "batch must be at least 2"),
        (TrainPlan, {"warm_up": 1.0}, r"warm_up must lie in \[0, 1\)"),
        (TrainPlan, {"averaging": 1.0}, r"averaging must lie in \[0, 1\)"),
        (TrainPlan, {"mixup": -1.0}, "must not be below 0"),
        (TrainPlan, {"patience": 0}, "patience must be at least 1"),
        (TrainPlan, {"label_smoothing": 0.1, "loss": "focal"}, "not with focal"),
        (Augmentation, {"shift": 1.5}, r"augmentation.shift is a share in \[0, 1\]"),
        (NoiseWarmUp, {"steps": 0}, "steps must be above 0"),
        (NoiseWarmUp, {"deviation": 0.0}, "deviation must be above 0"),
        (NoiseWarmUp, {"batch": 1}, "noise_warmup.batch must be at least 2"),
    ],
)
def test_a_value_out_of_range_is_refused(kind, given, message):
    with pytest.raises(ValueError, match=message):
        kind(**given)


@pytest.mark.parametrize("name", ["optimiser", "schedule", "loss", "precision", "scope", "learning_rule"])
def test_an_unknown_name_is_refused_with_the_known_ones(name):
    with pytest.raises(UnknownNameError, match=f"unknown {name} 'other'; known: "):
        TrainPlan(**{name: "other"})
