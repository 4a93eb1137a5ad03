"""A tiny causal language model with random weights and a byte-level tokenizer of its own, as `convert` writes them."""

import pytest
import torch

TEMPLATE = "{% for message in messages %}[{{ message['role'] }}]{{ message['content'] }}{% endfor %}[assistant]"
CORPUS = [
    "The following are multiple choice questions (with answers) about the sea.",
    "Answer: A Answer: B Answer: C Answer: D",
    "What is the colour of the sea? The sea is blue, the sand is yellow.",
]


def tiny_tokenizer(beginning=False):
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors, trainers
    from transformers import PreTrainedTokenizerFast

    made = Tokenizer(models.BPE())
    made.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    made.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(vocab_size=340, special_tokens=["<s>", "</s>"], initial_alphabet=alphabet)
    made.train_from_iterator(CORPUS, trainer)
    if beginning:
        made.post_processor = processors.TemplateProcessing(single="<s> $A", special_tokens=[("<s>", 0)])
    return PreTrainedTokenizerFast(tokenizer_object=made, bos_token="<s>", eos_token="</s>", chat_template=TEMPLATE)


def tiny_network(seed=0, **changed):
    from transformers import LlamaConfig, LlamaForCausalLM

    sizes = {
        "vocab_size": 340,
        "hidden_size": 32,
        "intermediate_size": 48,
        "num_hidden_layers": 4,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "max_position_embeddings": 256,
        "initializer_range": 0.3,
        "tie_word_embeddings": True,
    }
    torch.manual_seed(seed)
    return LlamaForCausalLM(LlamaConfig(**{**sizes, **changed}))


def save_model(folder, network, tokenizer=None):
    """In the hub's layout."""
    network.save_pretrained(folder)
    (tokenizer or tiny_tokenizer()).save_pretrained(folder)
    return folder


@pytest.fixture(scope="session")
def tiny_source(tmp_path_factory):
    return save_model(tmp_path_factory.mktemp("source"), tiny_network())


@pytest.fixture(scope="session")
def tiny_folder(tiny_source, tmp_path_factory):
    from models.language.conversion import convert

    folder = tmp_path_factory.mktemp("converted") / "tiny"
    convert(tiny_source, folder)
    return folder


@pytest.fixture(scope="session")
def tiny(tiny_folder):
    from models.language.causal_lm import load_causal_lm

    return load_causal_lm(tiny_folder, torch.device("cpu"), "float32")
