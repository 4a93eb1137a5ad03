"""A language model taken up from a GGUF file is the one that was written into it."""

import pytest
import torch

from models.core.errors import UnsupportedError
from models.core.store import CheckpointStore
from models.language.causal_lm import load_causal_lm
from models.language.registration import register_language
from tests.models.language.tiny_gguf import save_gguf
from tests.models.language.tiny_model import tiny_network, tiny_tokenizer

TEXT = "The sea is blue. Answer: A"


def test_a_gguf_file_gives_the_network_and_the_tokenizer_that_it_was_made_of(tiny, tmp_path):
    file = save_gguf(tmp_path / "tiny.gguf", tiny_network(), tiny_tokenizer())
    store = CheckpointStore(tmp_path / "store")
    assert register_language(store, "tiny", file) == 1
    manifest = store.read_manifest("tiny", 1)
    found = load_causal_lm(store.language_folder(manifest.backbone.sha256), torch.device("cpu"), "float32")
    assert manifest.report == {"evaluations": []}
    assert found.encode(TEXT) == tiny.encode(TEXT)
    with torch.inference_mode():
        asked, own = (each.network(input_ids=torch.tensor([tiny.encode(TEXT)])).logits for each in (found, tiny))
    assert torch.allclose(asked, own, atol=1e-3)


@pytest.mark.parametrize("kept", [0, 3, 30, 1000, 20_000])
def test_a_file_that_was_cut_off_is_refused(tmp_path, kept):
    whole = save_gguf(tmp_path / "whole.gguf", tiny_network(), tiny_tokenizer()).read_bytes()
    (tmp_path / "cut.gguf").write_bytes(whole[:kept])
    with pytest.raises(UnsupportedError, match="cannot be read"):
        register_language(CheckpointStore(tmp_path / "store"), "cut", tmp_path / "cut.gguf")
