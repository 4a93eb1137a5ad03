"""Training the last layer alone leaves everything before it as it is, bit by bit."""

from dataclasses import replace

import pytest
import torch

from models.backbones import backbone_kind
from models.training.classifier.initial import initial_network
from models.training.classifier.plan import NoiseWarmUp
from models.training.classifier.scope import head_name, trained_part
from tests.models.training.classifier.small_trainings import PLAN, train, with_dropout


@pytest.mark.parametrize(
    ("kind", "name", "arguments", "head"),
    [
        ("howsure", "resnet", {"depth": 8, "width": 4}, "fc"),
        ("timm", "test_vit", {"num_classes": 5, "img_size": 32}, "head"),
        ("torchvision", "mobilenet_v3_small", {}, "classifier.3"),
    ],
)
def test_the_head_is_found_and_the_network_left_whole(kind, name, arguments, head):
    network = initial_network(kind, name, arguments, "as_built", 0)
    assert head_name(network, backbone_kind(kind).cut) == head
    assert isinstance(network.get_submodule(head), torch.nn.Linear)


def test_the_trunk_and_its_batch_statistics_do_not_move():
    network = with_dropout()
    before = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    noise = NoiseWarmUp(steps=4, batch=8, rate=0.01, scope="head")
    found = train(network, replace(PLAN, scope="head", noise_warmup=noise))
    moved = {name for name, tensor in found.state.items() if not torch.equal(tensor, before[name])}
    assert moved == {"fc.weight", "fc.bias"}


def test_gradients_are_asked_for_as_before_when_it_is_over():
    network = with_dropout()
    network.norm.weight.requires_grad_(False)
    with trained_part(network, "head", "fc") as parameters:
        assert {id(parameter) for parameter in parameters} == {id(network.fc.weight), id(network.fc.bias)}
        assert [name for name, found in network.named_parameters() if found.requires_grad] == ["fc.weight", "fc.bias"]
    frozen = [name for name, parameter in network.named_parameters() if not parameter.requires_grad]
    assert frozen == ["norm.weight"]
