"""Parameters of a job `train` that contradict each other, are out of range, or load something."""

import pytest
from pydantic import ValidationError

from app.api.train_params import TrainParams
from models.training.classifier.losses import LOSSES


def test_without_a_network_it_is_a_small_one_for_small_images():
    assert TrainParams().network.name == "resnet9"
    assert TrainParams(start_from={}).network is None


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ({"network": {}, "start_from": {}}, "network and start_from are both given"),
        ({"mean": (0.5, 0.5, 0.5)}, "mean and std go together"),
        ({"loss": "focal", "label_smoothing": 0.1}, "label_smoothing goes with cross_entropy, not with focal"),
        ({"loss": "hinge"}, "there is no loss 'hinge'; there are: cross_entropy, focal"),
        ({"noise_warmup": {"distribution": "cauchy"}}, "there are: normal, uniform"),
        ({"calibrator": "platt"}, "there is no calibrator 'platt'"),
        ({"network": {"arguments": {"pretrained": True}}}, "pretrained: an untrained network has no weights to load"),
        ({"network": {"arguments": {"num_classes": 3}}}, "the data say which classes there are"),
        ({"network": {"kind": "timm", "name": "hf-hub:somebody/network"}}, "String should match pattern"),
        ({"network": {"arguments": {"act_layer": "\ud800"}}}, "texts have to be Unicode"),
        ({"network": {"arguments": {"widths": [float("inf")]}}}, "numbers finite"),
        ({"rate": float("nan")}, "rate"),
        ({"batch": 1}, "batch"),
        ({"std": (1, 1, 0), "mean": (0, 0, 0)}, "std"),
    ],
)
def test_what_is_refused(given, told):
    with pytest.raises(ValidationError, match=told):
        TrainParams(**given)


def test_the_schema_lists_the_names():
    assert TrainParams.model_json_schema()["properties"]["loss"]["enum"] == list(LOSSES)
