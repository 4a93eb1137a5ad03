import pytest
import torch

from models.core.errors import CheckpointError, DataError, UnsupportedError
from models.language.causal_lm import load_causal_lm
from models.language.conversion import convert
from tests.models.language.tiny_model import save_model, tiny_network, tiny_tokenizer

CPU = torch.device("cpu")


def test_tells_the_sizes_of_the_network(tiny):
    assert (tiny.layers, tiny.width, tiny.vocabulary, tiny.context) == (4, 32, 340, 256)


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_is_loaded_in_the_precision_asked_for(tiny_folder, precision):
    model = load_causal_lm(tiny_folder, CPU, precision)
    assert {str(weight.dtype) for weight in model.network.parameters()} == {f"torch.{precision}"}
    assert not any(weight.requires_grad for weight in model.network.parameters())


@pytest.mark.parametrize("text", ["the sea is blue", "🌊 海", "البحر أزرق", " \n\t", ""])
def test_tokens_spell_the_text(tiny, text):
    assert tiny.tokenizer.decode(tiny.encode(text)) == text


def test_the_beginning_token_is_added_once_and_only_where_the_tokenizer_has_it(tiny, tmp_path):
    convert(save_model(tmp_path / "source", tiny_network(), tiny_tokenizer(beginning=True)), tmp_path / "model")
    model = load_causal_lm(tmp_path / "model", CPU, "float32")
    assert model.encode("sea") == [0, *tiny.encode("sea")]
    assert model.encode("<s>sea") == model.encode("sea")
    assert model.encode_more("sea") == tiny.encode("sea")


def test_text_that_is_not_unicode_is_refused(tiny):
    with pytest.raises(DataError, match="not valid Unicode"):
        tiny.encode("half a pair: \ud83d")


def test_chat_follows_the_template(tiny):
    assert tiny.chat([{"role": "user", "content": "hello"}]) == "[user]hello[assistant]"


@pytest.mark.parametrize("messages", [[], [{"role": "user", "content": "a"}, {"role": "user"}]])
def test_messages_that_are_not_whole_are_refused(tiny, messages):
    with pytest.raises(DataError, match="a role and a content"):
        tiny.chat(messages)


def test_messages_that_the_template_refuses_are_refused_with_its_words(tiny, monkeypatch):
    monkeypatch.setattr(tiny.tokenizer, "chat_template", "{{ raise_exception('roles must alternate') }}")
    with pytest.raises(DataError, match="roles must alternate"):
        tiny.chat([{"role": "user", "content": "hello"}])


def test_a_model_without_a_template_is_not_chatted_with(tmp_path):
    tokenizer = tiny_tokenizer()
    tokenizer.chat_template = None
    convert(save_model(tmp_path / "source", tiny_network(), tokenizer), tmp_path / "model")
    with pytest.raises(UnsupportedError, match="no chat template"):
        load_causal_lm(tmp_path / "model", CPU, "float32").chat([{"role": "user", "content": "hello"}])


def test_a_network_that_changes_its_logits_is_refused(tmp_path):
    from transformers import CohereConfig, CohereForCausalLM

    sizes = {"vocab_size": 340, "hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2}
    config = CohereConfig(**sizes, num_attention_heads=4, bos_token_id=0, eos_token_id=1)
    convert(save_model(tmp_path / "source", CohereForCausalLM(config)), tmp_path / "model")
    with pytest.raises(UnsupportedError, match="cohere gives other logits"):
        load_causal_lm(tmp_path / "model", CPU, "float32")


def test_a_network_that_sees_a_window_only_is_refused(tmp_path):
    from transformers import Gemma2Config, Gemma2ForCausalLM

    sizes = {"vocab_size": 340, "hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2, "head_dim": 8}
    config = Gemma2Config(**sizes, num_attention_heads=4, num_key_value_heads=2)
    convert(save_model(tmp_path / "source", Gemma2ForCausalLM(config)), tmp_path / "model")
    with pytest.raises(UnsupportedError, match="gemma2 does not attend to the whole context"):
        load_causal_lm(tmp_path / "model", CPU, "float32")


def test_a_network_that_numbers_its_positions_by_itself_is_refused(tmp_path):
    from transformers import BloomConfig, BloomForCausalLM

    network = BloomForCausalLM(BloomConfig(vocab_size=340, hidden_size=32, n_layer=2, n_head=4))
    convert(save_model(tmp_path / "source", network), tmp_path / "model")
    with pytest.raises(UnsupportedError, match="bloom"):
        load_causal_lm(tmp_path / "model", CPU, "float32")


def test_another_family_of_networks_is_asked_along_the_tree(tmp_path):
    from transformers import GPT2Config, GPT2LMHeadModel

    network = GPT2LMHeadModel(GPT2Config(vocab_size=340, n_embd=32, n_layer=2, n_head=4, n_positions=64))
    convert(save_model(tmp_path / "source", network), tmp_path / "model")
    assert load_causal_lm(tmp_path / "model", CPU, "float32").context == 64


@pytest.mark.parametrize("change", ["empty", "cut"])
def test_a_folder_that_holds_no_whole_model_is_refused(tiny_folder, tmp_path, change):
    if change == "cut":
        for path in tiny_folder.iterdir():
            content = path.read_bytes()
            (tmp_path / path.name).write_bytes(content[:500] if path.suffix == ".safetensors" else content)
    with pytest.raises(CheckpointError, match="convert"):
        load_causal_lm(tmp_path, CPU, "float32")


def test_an_unknown_precision_is_refused(tiny_folder):
    with pytest.raises(UnsupportedError, match="float32"):
        load_causal_lm(tiny_folder, CPU, "float16")
