import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from timm.layers import Conv2dSame
from torch import nn

from models.backbones.same_padding import make_padding_static


@settings(deadline=None, max_examples=60)
@given(
    height=st.integers(1, 12),
    width=st.integers(1, 12),
    kernel=st.sampled_from([(1, 1), (2, 2), (3, 3), (5, 5), (3, 5)]),
    stride=st.integers(1, 3),
    dilation=st.integers(1, 2),
    groups=st.sampled_from([1, 4]),
    bias=st.booleans(),
)
def test_computes_the_same_for_its_size(height, width, kernel, stride, dilation, groups, bias):
    generator = torch.Generator().manual_seed(0)
    network = nn.Sequential(
        Conv2dSame(4, 8, kernel, stride=stride, dilation=dilation, groups=groups, bias=bias), nn.ReLU()
    ).double()
    images = torch.randn(2, 4, height, width, dtype=torch.float64, generator=generator)
    with torch.no_grad():
        static = make_padding_static(network, images)
        torch.testing.assert_close(static(images), network(images), rtol=1e-12, atol=1e-12)
    uneven_and_spread = isinstance(static[0], Conv2dSame)
    assert not uneven_and_spread or dilation == 2
    assert isinstance(network[0], Conv2dSame)


def test_sizes_follow_the_tensors_through_the_network():
    network = nn.Sequential(*(Conv2dSame(3, 3, 3, stride=2) for _ in range(4)))
    images = torch.randn(1, 3, 37, 50, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        static = make_padding_static(network, images)
        torch.testing.assert_close(static(images), network(images), rtol=1e-5, atol=1e-6)
    assert not any(isinstance(module, Conv2dSame) for module in static.modules())


@pytest.mark.parametrize("module", [nn.Conv2d(3, 3, 3), nn.Identity()])
def test_other_layers_stay(module):
    images = torch.randn(1, 3, 8, 8)
    with torch.no_grad():
        assert torch.equal(make_padding_static(nn.Sequential(module), images)(images), module(images))
