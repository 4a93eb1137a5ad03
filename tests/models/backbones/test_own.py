"""howsure's own networks: as deep and wide as asked for, and refused where they cannot be built."""

import pytest
import torch
from torch import nn

from models.backbones.own import build, load
from models.core.errors import UnknownNameError, UnsupportedError


def layers(network, kind):
    return [module for module in network.modules() if isinstance(module, kind)]


@pytest.mark.parametrize("depth", [8, 14, 20])
def test_a_resnet_has_as_many_layers_as_its_depth_says(depth):
    network = build("resnet", {"num_classes": 4, "depth": depth, "width": 4})
    shortcuts = [conv for conv in layers(network, nn.Conv2d) if conv.kernel_size == (1, 1)]
    assert len(layers(network, nn.Conv2d)) - len(shortcuts) + len(layers(network, nn.Linear)) == depth
    assert len(shortcuts) == 2
    assert network.layers(network.stem(torch.zeros(1, 3, 32, 32))).shape == (1, 16, 8, 8)


def test_resnet9_has_nine_layers_with_weights_and_halves_the_map_three_times():
    network = build("resnet9", {"num_classes": 4, "widths": [4, 6, 8, 10]})
    assert len(layers(network, nn.Conv2d)) + len(layers(network, nn.Linear)) == 9
    maps = network.layer3(network.layer2(network.layer1(network.stem(torch.zeros(1, 3, 32, 24)))))
    assert maps.shape == (1, 10, 4, 3)


@pytest.mark.parametrize("depth", [2, 6])
def test_a_perceptron_counts_its_last_layer_and_normalises_after_the_relu(depth):
    network = build("perceptron", {"num_classes": 4, "depth": depth, "width": 8, "side": 4})
    order = [nn.Linear, nn.ReLU, nn.BatchNorm1d] * (depth - 1)
    assert [type(layer) for layer in network.layers] == [nn.Flatten, *order]
    assert [layer.out_features for layer in layers(network, nn.Linear)] == [8] * (depth - 1) + [4]
    assert network(torch.zeros(2, 3, 4, 4)).shape == (2, 4)


@pytest.mark.parametrize(
    ("name", "arguments", "message"),
    [
        ("resnet", {"depth": 9}, "6n . 2 layers.*got depth 9"),
        ("resnet", {"depth": 2}, "got depth 2"),
        ("perceptron", {"depth": 1}, "2 to 1202 linear layers, got depth 1"),
        ("perceptron", {"depth": 10**9}, "2 to 1202 linear layers"),
        ("resnet", {"depth": 6 * 10**8 + 2}, "at most 1202"),
        ("resnet9", {"widths": [8, 8]}, "does not take"),
        ("resnet9", {"depth": 9}, "does not take"),
        ("perceptron", {"num_classes": "ten"}, "does not take"),
    ],
)
def test_arguments_that_do_not_fit_are_refused(name, arguments, message):
    with pytest.raises(UnsupportedError, match=message):
        build(name, arguments)


def test_an_unknown_network_is_refused_with_the_known_ones():
    with pytest.raises(UnknownNameError, match="perceptron, resnet, resnet9"):
        build("resnet50", {})


def test_there_are_no_weights_to_load():
    with pytest.raises(UnsupportedError, match="come without weights"):
        load("resnet9")
