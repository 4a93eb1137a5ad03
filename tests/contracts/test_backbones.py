"""What every library's networks keep to: built from a name and arguments, cut in two, loaded from a local folder."""

import copy
import json
from dataclasses import dataclass

import pytest
import safetensors.torch
import timm
import torch
import torchvision
from torch import nn
from transformers import ConvNextImageProcessor, ViTImageProcessor

from models.backbones import BACKBONES, backbone_kind, check_cut
from models.backbones.fold import fold_batch_norm
from models.core.errors import UnknownNameError, UnsupportedError
from models.core.input_spec import InputSpec
from models.core.method import Dimensions

TRANSFORMER = {
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "intermediate_size": 48,
    "image_size": 32,
    "patch_size": 8,
    "num_labels": 5,
}
STAGES = {"hidden_sizes": [8, 16, 24, 32], "depths": [1, 1, 1, 1], "num_labels": 5}
RESNET = {"embedding_size": 8, "hidden_sizes": [8, 16], "depths": [1, 1], "layer_type": "basic", "num_labels": 5}
SWIN = {"embed_dim": 8, "depths": [1, 1], "num_heads": [1, 2], "window_size": 4, "image_size": 32, "num_labels": 5}
LEVIT = {"hidden_sizes": [16, 32, 48], "num_attention_heads": [1, 1, 1], "key_dim": [8, 8, 8], "num_labels": 5}
LEVIT |= {"architectures": ["LevitForImageClassificationWithTeacher"]}

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


@pytest.fixture
def offline(monkeypatch):
    """Every socket is refused."""
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")

    def refuse(*_):
        raise AssertionError("a local folder must not ask the network")

    monkeypatch.setattr("socket.socket.connect", refuse)


@pytest.fixture
def timm_folder(tmp_path):
    """`timm_folder(preprocessing, **model arguments)` writes a network in the hub's layout and returns both."""

    def write(preprocessing, **arguments):
        network = timm.create_model("test_vit", num_classes=3, **arguments)
        pretrained = {"input_size": [3, 64, 64], "mean": [0.1, 0.2, 0.3], "std": [0.4, 0.5, 0.6], "crop_pct": 0.8}
        config = {
            "architecture": "test_vit",
            "num_classes": 3,
            "label_names": ["ant", "bee", "cow"],
            "model_args": arguments,
            "pretrained_cfg": pretrained | {"crop_mode": "center", "interpolation": "bilinear"} | preprocessing,
        }
        (tmp_path / "config.json").write_text(json.dumps(config))
        safetensors.torch.save_file(network.state_dict(), tmp_path / "model.safetensors")
        return tmp_path, network

    return write


def assert_same_weights(imported, library, network):
    """The weights are those of `network`, and name and arguments, as JSON, build a network that takes them."""
    state = network.state_dict()
    assert imported.network.state_dict().keys() == state.keys()
    assert all(torch.equal(value, state[name]) for name, value in imported.network.state_dict().items())
    assert not imported.network.training
    again = BACKBONES[library].build(imported.name, json.loads(json.dumps(imported.arguments)))
    again.load_state_dict(state, strict=True)


@pytest.mark.usefixtures("offline")
class TestLoadFromLocalFolder:
    def test_timm(self, timm_folder):
        folder, network = timm_folder({}, img_size=64)
        imported = BACKBONES["timm"].load(str(folder))
        assert_same_weights(imported, "timm", network)
        assert imported.classes == ("ant", "bee", "cow")
        assert imported.input_spec == InputSpec(64, 64, 80, "bilinear", (0.1, 0.2, 0.3), (0.4, 0.5, 0.6))

    def test_timm_squashed(self, timm_folder):
        folder, _ = timm_folder({"crop_mode": "squash", "crop_pct": 1.0}, img_size=64)
        spec = BACKBONES["timm"].load(str(folder)).input_spec
        assert (spec.fit, spec.height, spec.width) == ("squash", 64, 64)

    @pytest.mark.parametrize(
        "preprocessing",
        [{"crop_mode": "border"}, {"crop_mode": "squash", "crop_pct": 0.9}, {"interpolation": "hamming"}],
    )
    def test_timm_refuses_other_preprocessing(self, timm_folder, preprocessing):
        folder, _ = timm_folder(preprocessing, img_size=64)
        with pytest.raises(UnsupportedError, match="preprocessing"):
            BACKBONES["timm"].load(str(folder))

    @pytest.mark.parametrize(
        ("name", "arguments", "processor", "spec"),
        [
            (
                "vit",
                TRANSFORMER,
                ViTImageProcessor(size={"height": 32, "width": 32}, image_mean=[0.1] * 3, image_std=[0.2] * 3),
                InputSpec(32, 32, 32, "bilinear", (0.1,) * 3, (0.2,) * 3, fit="squash"),
            ),
            (
                "resnet",
                RESNET,
                ViTImageProcessor(
                    size={"shortest_edge": 40}, crop_size={"height": 32, "width": 24}, do_center_crop=True, resample=2
                ),
                InputSpec(32, 24, 40, "bilinear", (0.5,) * 3, (0.5,) * 3),
            ),
        ],
        ids=["squash", "crop"],
    )
    def test_transformers(self, tmp_path, name, arguments, processor, spec):
        network = BACKBONES["transformers"].build(name, arguments | {"id2label": dict(enumerate("abcde"))})
        network.save_pretrained(tmp_path)
        processor.save_pretrained(tmp_path)
        imported = BACKBONES["transformers"].load(str(tmp_path))
        assert_same_weights(imported, "transformers", network)
        assert imported.classes == tuple("abcde")
        assert imported.input_spec == spec
        assert str(tmp_path) not in json.dumps(imported.arguments)

    @pytest.mark.parametrize(
        ("processor", "message"),
        [
            (ViTImageProcessor(size={"height": 32, "width": 32}, do_normalize=False), "do_normalize"),
            (ViTImageProcessor(size={"height": 32, "width": 32}, rescale_factor=1 / 127.5), "scaling by"),
            (ViTImageProcessor(size={"height": 32, "width": 32}, resample=4), "interpolation box"),
            (ConvNextImageProcessor(size={"shortest_edge": 32}), "crop None"),
        ],
        ids=["not-normalised", "other-range", "box-filter", "share-of-edge"],
    )
    def test_transformers_refuses_other_preprocessing(self, tmp_path, processor, message):
        BACKBONES["transformers"].build("vit", TRANSFORMER).save_pretrained(tmp_path)
        processor.save_pretrained(tmp_path)
        with pytest.raises(UnsupportedError, match=message):
            BACKBONES["transformers"].load(str(tmp_path))

    def test_torchvision(self, torch_cache):
        network = torchvision.models.mobilenet_v3_small()
        torch_cache("MobileNet_V3_Small_Weights", "IMAGENET1K_V1", network.state_dict())
        for source in ("mobilenet_v3_small", "mobilenet_v3_small:IMAGENET1K_V1"):
            imported = BACKBONES["torchvision"].load(source)
            assert_same_weights(imported, "torchvision", network)
            assert imported.classes[281] == "tabby"
            mean, std = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
            assert imported.input_spec == InputSpec(224, 224, 256, "bilinear", mean, std)

    def test_torchvision_runs_nothing_out_of_the_cache(self, torch_cache, tmp_path):
        trap = tmp_path / "sprung"
        torch_cache("MobileNet_V3_Small_Weights", "IMAGENET1K_V1", {"weight": Trap(trap)})
        with pytest.raises(UnsupportedError, match="more than tensors"):
            BACKBONES["torchvision"].load("mobilenet_v3_small")
        assert not trap.exists()

    def test_torchvision_refuses_a_network_that_normalises_its_input_itself(self, torch_cache):
        network = torchvision.models.googlenet(init_weights=False)
        torch_cache("GoogLeNet_Weights", "IMAGENET1K_V1", network.state_dict())
        with pytest.raises(UnsupportedError, match="second time"):
            BACKBONES["torchvision"].load("googlenet")


@pytest.fixture
def torch_cache(tmp_path, monkeypatch):
    """`torch_cache(enum, member, state)` puts a state dict where torchvision's downloads lie."""
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    (tmp_path / "hub" / "checkpoints").mkdir(parents=True)

    def put(enum, member, state):
        url = getattr(torchvision.models, enum)[member].url
        torch.save(state, tmp_path / "hub" / "checkpoints" / url.rsplit("/", 1)[1])

    return put


class Trap:
    """Opens a file for writing when it is unpickled."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return open, (str(self.path), "w")
