"""Attention with projections that hooks can see is torch's own attention."""

import pytest
import torch
from torch import nn

from models.core.errors import UnsupportedError
from models.gradients.attention import expose_attention


class Attending(nn.Module):
    def __init__(self, **options):
        super().__init__()
        self.inner = nn.MultiheadAttention(8, 2, **{"batch_first": True} | options)

    def forward(self, query, key=None, **options):
        key = query if key is None else key
        return self.inner(query, key, key, **{"need_weights": False} | options)[0]


@pytest.mark.parametrize("bias", [True, False])
def test_it_gives_what_torch_gives_on_the_same_parameters(bias):
    network = Attending(bias=bias).eval()
    exposed = expose_attention(network)
    tokens = torch.randn(3, 5, 8)
    torch.testing.assert_close(exposed(tokens), network(tokens), rtol=1e-5, atol=1e-6)
    assert {id(parameter) for parameter in exposed.parameters()} == {id(each) for each in network.parameters()}
    assert isinstance(network.inner, nn.MultiheadAttention)


@pytest.mark.parametrize(
    "options", [{"batch_first": False}, {"kdim": 4}, {"add_bias_kv": True}, {"add_zero_attn": True}]
)
def test_other_formulas_are_refused(options):
    with pytest.raises(UnsupportedError, match="batch_first=False"):
        expose_attention(Attending(**options))


@pytest.mark.parametrize(
    "call", [{"key": torch.ones(2, 5, 8)}, {"need_weights": True}, {"attn_mask": torch.ones(5, 5)}]
)
def test_other_calls_are_refused(call):
    with pytest.raises(UnsupportedError, match="attention between two inputs"):
        expose_attention(Attending())(torch.randn(2, 5, 8), **call)


def test_encoders_that_read_the_weights_themselves_are_refused():
    with pytest.raises(UnsupportedError, match="TransformerEncoderLayer uses the weights"):
        expose_attention(nn.Sequential(nn.TransformerEncoderLayer(8, 2, batch_first=True)))
