import pytest
import torch

from models.core.errors import UnsupportedError
from models.language import anatomy
from models.language.causal_lm import load_causal_lm
from models.language.conversion import convert
from models.language.null_space import LastNeurons, last_neurons, null_basis, null_share
from tests.models.language.tiny_model import save_model, tiny_network


@pytest.fixture(scope="module")
def blind(tmp_path_factory):
    """A model whose logits do not see the last of the stream's directions, which neuron 5 of the last layer writes."""
    network = tiny_network(tie_word_embeddings=False)
    with torch.no_grad():
        network.model.norm.weight[:] = torch.linspace(0.5, 2, 32)
        network.lm_head.weight[:, 31] = 0
        network.model.layers[-1].mlp.down_proj.weight[:, 5] = 3 * torch.eye(32)[31]
    folder = tmp_path_factory.mktemp("blind")
    convert(save_model(folder / "source", network), folder / "model")
    return load_causal_lm(folder / "model", torch.device("cpu"), "float32")


def test_the_null_space_is_what_no_logit_sees(blind):
    basis = null_basis(blind)
    assert basis.shape == (32, 1)
    assert basis[:, 0].abs().tolist() == pytest.approx([0] * 31 + [1], abs=1e-5)
    assert null_share(torch.eye(32)[[0, 31]], basis).tolist() == pytest.approx([0, 1], abs=1e-5)


def test_the_null_space_is_of_the_logits_of_the_gained_stream(tiny):
    basis = null_basis(tiny)[:, 0]
    weight = tiny.unembedding.weight * anatomy.final_norm(tiny.network).weight
    seen = float((weight @ basis).norm())
    others = (weight @ torch.randn(32, 500, generator=torch.Generator().manual_seed(0))).norm(dim=0)
    assert seen == pytest.approx(float(torch.linalg.svdvals(weight)[-1]), rel=1e-3)
    assert seen < float(others.min())


def test_a_neuron_that_writes_where_no_logit_sees_is_an_entropy_neuron(blind):
    neurons = last_neurons(blind)
    assert neurons.lengths.shape == (48,)
    assert float(neurons.lengths[5]) == pytest.approx(3, rel=1e-2)
    assert float(neurons.null_shares[5]) == pytest.approx(1)
    assert float(neurons.logit_variances[5]) == pytest.approx(0, abs=1e-6)
    assert neurons.entropy_neurons(1).tolist() == [5]


def test_a_short_neuron_is_no_entropy_neuron():
    found = LastNeurons(torch.tensor([1.0, 9.0, 1.0, 8.0]), torch.tensor([0.9, 0.1, 0.8, 0.2]), torch.zeros(4))
    assert found.entropy_neurons(1).tolist() == [1]


def test_a_block_without_linear_layers_is_refused(tmp_path):
    from transformers import GPT2Config, GPT2LMHeadModel

    network = GPT2LMHeadModel(GPT2Config(vocab_size=340, n_embd=32, n_layer=2, n_head=4, n_positions=64))
    convert(save_model(tmp_path / "source", network), tmp_path / "model")
    model = load_causal_lm(tmp_path / "model", torch.device("cpu"), "float32")
    with pytest.raises(UnsupportedError, match="does not end in a linear layer"):
        last_neurons(model)
