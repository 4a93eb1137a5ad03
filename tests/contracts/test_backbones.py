"""What every library's networks keep to: built by name, cut in trunk and head, folded, or refused."""

import copy
from dataclasses import dataclass

import pytest
import torch
from torch import nn

from models.backbones import BACKBONES, backbone_kind, check_cut
from models.backbones.fold import fold_batch_norm
from models.core.errors import UnknownNameError, UnsupportedError
from models.core.method import Dimensions
from tests.fixtures.transformers_arguments import LEVIT, RESNET, STAGES, SWIN, TRANSFORMER

# (library, name, arguments, input side, width of the features)
NETWORKS = [
    ("timm", "test_vit", {"num_classes": 5, "img_size": 32}, 32, 64),
    ("timm", "test_efficientnet", {"num_classes": 5}, 32, 256),
    ("timm", "test_convnext", {"num_classes": 5}, 32, 64),
    ("timm", "resnet10t", {"num_classes": 5}, 32, 512),
    ("timm", "tf_mobilenetv3_small_minimal_100", {}, 33, 1024),
    ("torchvision", "resnet18", {"num_classes": 5}, 32, 512),
    ("torchvision", "mobilenet_v3_small", {}, 32, 1024),
    ("torchvision", "googlenet", {"num_classes": 5, "aux_logits": False, "init_weights": False}, 64, 1024),
    ("transformers", "vit", TRANSFORMER, 32, 32),
    ("transformers", "dinov2", TRANSFORMER, 32, 64),
    ("transformers", "convnext", STAGES, 32, 32),
    ("transformers", "resnet", RESNET, 32, 16),
    ("transformers", "swin", SWIN, 32, 16),
    ("howsure", "resnet9", {"num_classes": 5, "widths": [4, 8, 8, 16]}, 32, 16),
    ("howsure", "resnet", {"num_classes": 5, "depth": 8, "width": 4}, 32, 16),
    ("howsure", "perceptron", {"num_classes": 5, "depth": 3, "width": 24}, 32, 24),
]
every_network = pytest.mark.parametrize("network", NETWORKS, indirect=True, ids=lambda row: f"{row[0]}-{row[1]}")


@dataclass(frozen=True)
class Built:
    """A network of a registry's library, with weights and batch-norm statistics that are not the trivial ones."""

    library: str
    module: nn.Module
    images: torch.Tensor
    features: int

    @property
    def kind(self):
        return BACKBONES[self.library]


@pytest.fixture(scope="module")
def originals():
    """Networks built so far: making the random weights takes longer than the tests themselves."""
    return {}


@pytest.fixture
def network(request, originals):
    library, name, *_ = request.param
    if (library, name) not in originals:
        originals[library, name] = build(*request.param)
    return copy.deepcopy(originals[library, name])


def build(library, name, arguments, side, features):
    with torch.random.fork_rng():
        torch.manual_seed(0)
        module = BACKBONES[library].build(name, arguments)
        for norm in (part for part in module.modules() if isinstance(part, nn.BatchNorm2d)):
            norm.running_mean.normal_(0, 0.1)
            norm.running_var.uniform_(0.5, 2)
        return Built(library, module, torch.randn(2, 3, side, side), features)


def logits_of(output):
    return output if isinstance(output, torch.Tensor) else output.logits


@every_network
@torch.no_grad()
def test_trunk_and_head_are_the_network(network):
    whole = logits_of(network.module(network.images))
    backbone = check_cut(network.module, network.kind.cut, network.images)
    features = backbone.trunk(network.images)
    assert features.shape == (2, network.features)
    assert torch.equal(backbone.head(features), whole)
    assert backbone.dimensions == Dimensions(classes=whole.shape[1], features=network.features)


@every_network
@torch.no_grad()
@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float64, 1e-10), (torch.float32, 1e-4)])
def test_folding_and_fixing_the_size_change_no_feature(network, dtype, tolerance):
    trunk = network.kind.cut(network.module).trunk.to(dtype)
    images = network.images[:1].to(dtype)  # depthwise convolutions are slow in float64
    state = {name: value.clone() for name, value in trunk.state_dict().items()}
    expected = trunk(images)

    folded = network.kind.for_size(fold_batch_norm(trunk, images), images, ())

    assert (folded(images) - expected).abs().max() <= tolerance * expected.abs().max()
    assert all(torch.equal(value, state[name]) for name, value in trunk.state_dict().items())
    assert not any(module._forward_hooks or module._forward_pre_hooks for module in folded.modules())
    if network.library != "transformers" and any(isinstance(module, nn.BatchNorm2d) for module in trunk.modules()):
        assert folded is not trunk


@pytest.mark.parametrize(
    ("library", "name", "arguments", "message"),
    [
        ("torchvision", "squeezenet1_0", {}, "no linear layer"),
        ("torchvision", "maxvit_t", {}, "without bias"),
        ("timm", "deit_tiny_distilled_patch16_224", {"img_size": 32}, "tuple"),
        ("timm", "resnet10t", {"num_classes": 0}, "Identity"),
        ("transformers", "levit", LEVIT, "LevitClassificationLayer"),
    ],
)
def test_a_network_without_one_linear_head_is_refused(library, name, arguments, message):
    kind = BACKBONES[library]
    with pytest.raises(UnsupportedError, match=message):
        kind.cut(kind.build(name, arguments))


class AfterTheHead(nn.Module):
    """Something stands behind the last linear layer."""

    def __init__(self, last):
        super().__init__()
        self.pool = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten())
        self.head = nn.Linear(3, 4)
        self.last = last

    def forward(self, images):
        return self.last(self.head(self.pool(images)))


class UsedTwice(AfterTheHead):
    """The same linear layer under two names."""

    def __init__(self):
        super().__init__(nn.Identity())
        self.head_again = self.head


@pytest.mark.parametrize("last", [nn.Softmax(dim=1), nn.Hardtanh(-0.1, 0.1)])
def test_what_stands_behind_the_head_is_found_on_images(last):
    images = 5 * torch.randn(4, 3, 8, 8, generator=torch.Generator().manual_seed(0))
    with pytest.raises(UnsupportedError, match="not the last linear layer"):
        check_cut(AfterTheHead(last), BACKBONES["torchvision"].cut, images)


def test_a_linear_layer_for_every_pixel_is_no_head():
    network = nn.Sequential(nn.Linear(8, 4))
    with pytest.raises(UnsupportedError, match="pooled features"):
        check_cut(network, BACKBONES["torchvision"].cut, torch.randn(2, 3, 8, 8))


def test_a_shared_head_is_refused():
    with pytest.raises(UnsupportedError, match="2 places"):
        BACKBONES["torchvision"].cut(UsedTwice())


def test_an_unknown_library_lists_the_known_ones():
    with pytest.raises(UnknownNameError, match="howsure, timm, torchvision, transformers"):
        backbone_kind("keras")
