"""Networks loaded offline, from a local folder or torchvision's cache: weights, classes and input spec."""

import json

import pytest
import safetensors.torch
import timm
import torch
import torchvision
from transformers import ConvNextImageProcessor, ViTImageProcessor

from models.backbones import BACKBONES
from models.core.errors import UnsupportedError
from models.core.input_spec import InputSpec
from tests.fixtures.transformers_arguments import RESNET, TRANSFORMER


@pytest.fixture
def offline(monkeypatch):
    """Every socket is refused, and a test that asked for one fails, also where a library hides the error."""
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    asked = []

    def refuse(_, address):
        asked.append(address)
        raise ConnectionRefusedError

    monkeypatch.setattr("socket.socket.connect", refuse)
    yield
    assert asked == []


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
