"""Gradients of the last layers against automatic differentiation of the whole network, a question at a time."""

from concurrent.futures import ThreadPoolExecutor

import pytest
import torch
from transformers import (
    GPT2Config,
    GPT2LMHeadModel,
    GPTNeoXConfig,
    GPTNeoXForCausalLM,
    OPTConfig,
    OPTForCausalLM,
    PhiConfig,
    PhiForCausalLM,
    Qwen2Config,
    Qwen2ForCausalLM,
    Qwen3MoeConfig,
    Qwen3MoeForCausalLM,
)

from models.core.errors import UnsupportedError
from models.gradients.last_layer import last_layer_energy
from models.language.causal_lm import CausalLM, load_causal_lm
from models.language.choices import score_next_token
from models.language.continuations import ChoiceItem
from models.language.conversion import convert
from models.language.tail_gradients import TailGradients
from tests.models.language.tiny_model import save_model, tiny_network, tiny_tokenizer
from tests.oracles.gradients import class_norms

SIZES = {"vocab_size": 340, "hidden_size": 32, "num_hidden_layers": 3, "num_attention_heads": 4}
BLOCK = {**SIZES, "intermediate_size": 48, "initializer_range": 0.3}
NETWORKS = {
    "llama": lambda: tiny_network(num_hidden_layers=3),
    "qwen2": lambda: Qwen2ForCausalLM(Qwen2Config(**BLOCK, num_key_value_heads=2)),
    "gpt2": lambda: GPT2LMHeadModel(GPT2Config(**SIZES, initializer_range=0.3, bos_token_id=0, eos_token_id=1)),
    "phi": lambda: PhiForCausalLM(PhiConfig(**BLOCK)),
    "neox": lambda: GPTNeoXForCausalLM(GPTNeoXConfig(**BLOCK)),
    "neox, one part after the other": lambda: GPTNeoXForCausalLM(GPTNeoXConfig(**BLOCK, use_parallel_residual=False)),
}
# Of the last block, after its attention; a norm counts with the layer before it.
LAST = {
    "llama": ["o_proj post_attention_layernorm", "gate_proj", "up_proj", "down_proj model.norm"],
    "qwen2": ["o_proj post_attention_layernorm", "gate_proj", "up_proj", "down_proj model.norm"],
    "gpt2": ["attn.c_proj ln_2", "c_fc", "mlp.c_proj ln_f"],
    "phi": ["self_attn.dense", "fc1", "fc2 final_layernorm"],
    "neox": ["attention.dense", "dense_h_to_4h", "dense_4h_to_h final_layer_norm"],
    "neox, one part after the other": [
        "attention.dense post_attention_layernorm",
        "dense_h_to_4h",
        "dense_4h_to_h final_layer_norm",
    ],
}
ITEMS = [
    ChoiceItem("What is the colour of the sea? Answer:", (" A", " B", " C", " D")),
    ChoiceItem("What is the colour", (" A", " D")),
    ChoiceItem("The sand is", (" C", " D", " B")),
]


def loaded(make, tokenizer=None):
    torch.manual_seed(0)
    ready = make().double().eval().requires_grad_(False)
    return CausalLM(ready, tokenizer or tiny_tokenizer(), torch.device("cpu"), "float64", TailGradients(ready))


def last_layers(network, names):
    """The layer of each parameter that is in one, by the ends of the modules' names, and of the unembedding none."""
    found, final = {}, f".{network.config.num_hidden_layers - 1}."
    for layer, ends in enumerate(names):
        for end in ends.split():
            owners = [
                module
                for name, module in network.named_modules()
                if f".{name}".endswith(f".{end}") and (final in f".{name}." or f"{final[1:-1]}." not in name)
            ]
            owners = [module for module in owners if list(module.parameters())][-1:]
            assert owners, end
            found |= {id(parameter): layer for parameter in owners[0].parameters()}
    return found


def slow_energies(model, item, names):
    """(layers,): sum_c p_c ||grad log p_c||^2."""
    prompt, layer_of = model.encode(item.prompt), last_layers(model.network, names)
    tokens = [model.encode_more(choice)[0] for choice in item.choices]
    inputs = torch.tensor([prompt])

    def forward(ids):
        return model.network(ids).logits[:, -1, tokens]

    squares, _ = class_norms(model.network, forward, inputs, layer_of)
    probabilities = forward(inputs)[0].softmax(dim=0).detach()
    return (probabilities[:, None] * squares[:, 0]).sum(dim=0)


@pytest.mark.parametrize("name", NETWORKS)
def test_they_are_those_of_the_whole_network(name):
    model = loaded(NETWORKS[name])
    found = score_next_token(model, ITEMS, gradients=True).gradients
    assert found.energies.shape == (3, len(LAST[name]) + 1)
    assert model.gradients.depth == len(LAST[name]) + 1
    for row, item in enumerate(ITEMS):
        expected = slow_energies(model, item, LAST[name])
        # The probabilities are float32, as they are served.
        assert found.energies[row, :-1].double() == pytest.approx(expected, rel=1e-5)
    outputs = score_next_token(model, ITEMS)
    last = last_layer_energy(outputs.log_probabilities().exp(), outputs.features)
    assert found.energies[:, -1] == pytest.approx(last, rel=1e-4)


@pytest.mark.parametrize("budget", [1, 4, 256])
def test_they_do_not_depend_on_company_or_budget(tiny, budget):
    together = score_next_token(tiny, ITEMS, budget, gradients=True)
    for row, item in enumerate(ITEMS):
        alone = score_next_token(tiny, [item], gradients=True)
        assert together.gradients.energies[row] == pytest.approx(alone.gradients.energies[0], rel=1e-3)
        assert together.gradients.layers == alone.gradients.layers == 4 * 7 + 2


def test_answers_are_the_same_with_and_without_them(tiny):
    plain, more = (score_next_token(tiny, ITEMS, gradients=asked) for asked in (False, True))
    assert plain.gradients is None
    assert torch.equal(plain.logits, more.logits)
    assert torch.equal(plain.features, more.features)


def test_threads_that_share_a_network_do_not_see_each_other(tiny):
    items = [[ChoiceItem(f"{'The sea is blue. ' * count}Answer:", (" A", " B"))] for count in range(1, 9)]
    alone = [score_next_token(tiny, each, 4, gradients=True) for each in items]
    with ThreadPoolExecutor(4) as threads:
        # Every second one without gradients, beside those that take them.
        found = list(
            threads.map(lambda turn: score_next_token(tiny, items[turn % 8], 4, gradients=turn % 2 == 0), range(64))
        )
    for turn, outputs in enumerate(found):
        assert torch.equal(outputs.logits, alone[turn % 8].logits)
        if turn % 2 == 0:
            assert torch.equal(outputs.gradients.energies, alone[turn % 8].gradients.energies)


def test_in_bfloat16_they_are_about_those_of_float32(tiny, tiny_folder):
    rounded = load_causal_lm(tiny_folder, torch.device("cpu"), "bfloat16")
    exact, found = (score_next_token(model, ITEMS, gradients=True).gradients for model in (tiny, rounded))
    assert found.energies == pytest.approx(exact.energies, rel=0.3)


def test_a_mixture_of_experts_is_refused_and_leaves_no_hooks():
    sizes = {"num_experts": 4, "num_experts_per_tok": 2, "moe_intermediate_size": 24, "num_key_value_heads": 2}
    network = Qwen3MoeForCausalLM(Qwen3MoeConfig(**BLOCK, **sizes)).eval()
    with pytest.raises(UnsupportedError, match="computes something else"):
        TailGradients(network)
    assert not any(module._forward_pre_hooks for module in network.modules())


def test_a_block_of_another_make_is_refused_and_answers_all_the_same(tmp_path):
    network = OPTForCausalLM(OPTConfig(**SIZES, ffn_dim=48, word_embed_proj_dim=32))
    with pytest.raises(UnsupportedError, match="opt: the parts of its last block are not known"):
        TailGradients(network)
    convert(save_model(tmp_path / "source", network), tmp_path / "model")
    model = load_causal_lm(tmp_path / "model", torch.device("cpu"), "float32")
    assert model.gradients is None
    assert score_next_token(model, ITEMS, gradients=True).gradients is None


def test_a_block_that_computes_something_else_is_refused():
    network = tiny_network().eval()
    block = network.model.layers[-1]
    plain = block.mlp.forward
    block.mlp.forward = lambda states: plain(states) if states.ndim == 3 else 2 * plain(states)
    with pytest.raises(UnsupportedError, match="computes something else"):
        TailGradients(network)
