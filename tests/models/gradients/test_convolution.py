"""Convolutions of any options have the norms of the gradients that automatic differentiation builds."""

import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from tests.models.gradients.architectures import Subject
from tests.models.gradients.measured import expected, found, prepared

pairs = st.tuples(st.integers(1, 3), st.integers(1, 3))


@st.composite
def convolutions(draw):
    groups = draw(st.sampled_from([1, 2, 4]))
    padding = draw(st.sampled_from(["same", "valid", 0, 1, (2, 1)]))
    stride = (1, 1) if padding == "same" else draw(pairs)
    options = {"stride": stride, "dilation": draw(pairs), "padding": padding, "groups": groups}
    mode = draw(st.sampled_from(["zeros", "reflect", "replicate", "circular"]))
    outputs = groups * draw(st.integers(1, 2))
    return nn.Conv2d(4, outputs, draw(pairs), **options, padding_mode=mode, bias=draw(st.booleans()))


@settings(max_examples=40, deadline=None, derandomize=True)
@given(convolutions(), st.booleans())
def test_norms_do_not_depend_on_options(convolution, channels_last):
    torch.manual_seed(0)
    network = nn.Sequential(convolution, nn.Flatten(2), nn.Softmax(dim=2), nn.Flatten(), nn.LazyLinear(2)).double()
    images = torch.randn(2, 4, 7, 9, dtype=torch.float64)
    if channels_last:
        images = images.contiguous(memory_format=torch.channels_last)
    network(images)
    subject = Subject(network.eval(), network, images)
    layers = prepared(subject).layers
    for ours, built in zip(found(subject), expected(subject, layers), strict=True):
        torch.testing.assert_close(ours, built, rtol=1e-10, atol=1e-14)
