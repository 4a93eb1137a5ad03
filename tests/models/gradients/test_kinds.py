"""Layer kinds that none of the architectures has, and the options that kinds refuse."""

import importlib
import inspect

import pytest
import torch
from timm import layers as timm_layers
from torch import nn
from transformers.models.llama.modeling_llama import LlamaRMSNorm

from models.core.errors import UnsupportedError
from models.gradients import LAYER_KINDS
from models.gradients.class_gradients import ClassGradients
from models.gradients.layer_kind import Batch
from models.gradients.layers import find_layers
from tests.models.gradients.architectures import plain
from tests.models.gradients.measured import every_class, expected, found, prepared

MAPS = {
    "group norm with activation": timm_layers.GroupNormAct(4, 2, act_layer=nn.GELU),
    "group norm with activation in place": timm_layers.GroupNormAct(4, 2, inplace=True),
    "group norm of one group": timm_layers.GroupNorm1(4),
    "layer norm of channels": timm_layers.LayerNorm2d(4),
    "layer norm of channels in float32": timm_layers.LayerNorm2dFp32(4),
    "layer norm of maps": nn.LayerNorm((4, 5, 5)),
    "layer scale in place": timm_layers.LayerScale2d(4, inplace=True),
}
FEATURES = {
    "layer norm": timm_layers.LayerNorm(5),
    "layer norm in float32": timm_layers.LayerNormFp32(5),
    "rms norm": timm_layers.RmsNorm(5),
    "default rms norm": nn.RMSNorm(5),
}


@pytest.mark.parametrize("name", [handled for kind in LAYER_KINDS for handled in kind.handles])
def test_every_name_is_that_of_a_type(name):
    module, _, type_name = name.rpartition(".")
    found = getattr(importlib.import_module(module), type_name)
    assert issubclass(found, nn.Module)
    if type_name.endswith("RMSNorm") and module.startswith("transformers"):  # copies, of which one is tested here
        assert inspect.getsource(found.forward) == inspect.getsource(LlamaRMSNorm.forward)


@pytest.mark.parametrize("name", [*MAPS, *FEATURES])
def test_norms_equal_those_of_gradients_that_were_built(name):
    torch.manual_seed(2)
    layer = (MAPS | FEATURES)[name]
    around = nn.Conv2d(3, 4, 1), layer, nn.Tanh(), nn.Flatten(), nn.Linear(100, 3)
    subject = plain(nn.Sequential(*around), torch.randn(4, 3, 5, 5))
    for ours, built in zip(found(subject, 2), expected(subject, prepared(subject).layers, 2), strict=True):
        torch.testing.assert_close(ours, built, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("options", [{"max_norm": 1.0}, {"scale_grad_by_freq": True}, {"sparse": True}])
def test_embeddings_with_other_gradients_are_refused(options):
    network = nn.Sequential(nn.Embedding(5, 2, **options), nn.Flatten(), nn.Linear(6, 3)).eval()
    refused(network, torch.randint(0, 5, (2, 3)), "embeddings with max_norm")


def test_batch_norm_by_the_batch_is_refused():
    network = nn.Sequential(nn.Linear(4, 3), nn.BatchNorm1d(3, track_running_stats=False)).eval()
    refused(network, torch.randn(2, 4), "use eval mode")


def refused(network, inputs, message):
    gradients = ClassGradients(network, find_layers(network, lambda: network(inputs)), network)
    with pytest.raises(UnsupportedError, match=message):
        gradients.norms(inputs, Batch(len(inputs)), every_class)
