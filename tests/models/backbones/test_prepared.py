import copy
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn

from models.backbones.prepared import build_network, prepare
from models.core.errors import CheckpointError
from models.core.golden import golden_pixels

CPU = torch.device("cpu")


@pytest.fixture
def pixels(tiny):
    return golden_pixels(tiny.plan.recipe.input_spec, tuple(range(6)))


@torch.no_grad()
def test_float32_gives_the_logits_of_the_network(tiny, pixels):
    prepared = prepare(tiny.network, "timm", tiny.plan.recipe.input_spec, CPU, "float32")
    outputs = prepared.outputs(pixels)
    expected = tiny.network(tiny.plan.recipe.input_spec.tensor(pixels, CPU, torch.float32))
    torch.testing.assert_close(outputs.logits, expected, rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(prepared.head(outputs.features), outputs.logits)
    torch.testing.assert_close(outputs.require_head().logits(outputs.features), outputs.logits)
    assert not any(isinstance(module, nn.BatchNorm2d) for module in prepared.trunk.modules())


def test_bfloat16_is_near_and_its_head_is_float32(tiny, pixels):
    outputs = {p: prepare(tiny.network, "timm", tiny.plan.recipe.input_spec, CPU, p).outputs(pixels) for p in BOTH}
    difference = (outputs["bfloat16"].logits - outputs["float32"].logits).abs()
    assert 0 < difference.mean() < 0.1
    for found in outputs.values():
        assert (found.logits.dtype, found.features.dtype) == (torch.float32, torch.float32)
        assert found.logits.shape == (6, 10)


BOTH = ("bfloat16", "float32")


@pytest.mark.parametrize("precision", BOTH)
def test_a_row_does_not_depend_on_its_batch(tiny, pixels, precision):
    prepared = prepare(tiny.network, "timm", tiny.plan.recipe.input_spec, CPU, precision)
    singles = torch.cat([prepared.outputs(pixels[row : row + 1]).logits for row in range(len(pixels))])
    torch.testing.assert_close(prepared.outputs(pixels).logits, singles, rtol=2e-2, atol=2e-2)


def test_the_network_stays_as_it_is(tiny, pixels):
    network = copy.deepcopy(tiny.network).requires_grad_(True)
    before = copy.deepcopy(network.state_dict())
    prepared = prepare(network, "timm", tiny.plan.recipe.input_spec, CPU, "bfloat16")
    outputs = prepared.outputs(pixels)
    assert not outputs.logits.requires_grad
    assert not outputs.head.weight.requires_grad
    assert network.state_dict().keys() == before.keys()
    assert all(torch.equal(value, before[name]) for name, value in network.state_dict().items())
    assert all(parameter.grad is None for parameter in network.parameters())
    assert not any(module.training for module in prepared.trunk.modules())


def test_pixels_of_another_size_are_refused(tiny, pixels):
    prepared = prepare(tiny.network, "timm", tiny.plan.recipe.input_spec, CPU, "float32")
    with pytest.raises(ValueError, match="expected uint8"):
        prepared.outputs(np.zeros((1, 31, 32, 3), np.uint8))


def test_weights_go_in_strictly(tiny):
    record, state = tiny.plan.recipe.backbone, tiny.network.state_dict()
    network = build_network(record, state)
    assert not network.training
    assert not any(parameter.requires_grad for parameter in network.parameters())
    name = next(iter(state))
    for damaged in (
        {key: value for key, value in state.items() if key != name},
        state | {"surplus": torch.zeros(1)},
        state | {name: torch.zeros(1)},
    ):
        with pytest.raises(CheckpointError, match=record.sha256):
            build_network(record, damaged)
    with pytest.raises(CheckpointError, match="do not fit timm"):
        build_network(replace(record, arguments={"num_classes": 11}), state)
