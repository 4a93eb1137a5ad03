"""The first version of a language model that comes from outside: as it is, neither calibrated nor with references."""

from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory

import torch

from models.core.checkpoint import Version
from models.core.errors import DataError
from models.core.golden import GOLDEN_SEEDS, GoldenRow
from models.core.manifest import BackboneRecord
from models.core.prompt_spec import PromptSpec, Readout
from models.core.store import CheckpointStore
from models.core.unfitted import unfitted
from models.language.causal_lm import CausalLM, load_causal_lm
from models.language.conversion import convert
from models.language.multiple_choice import lettered_item
from models.language.pipeline import GOLDEN_QUESTIONS, KIND, LanguagePipeline
from models.language.reading import read_items

TASK = "language-model"
PRECISIONS = ("bfloat16", "float32")


def register_language(store: CheckpointStore, model: str, source: str | Path) -> int:
    """Convert `source` (see `convert`), publish it under a name and return the version's number; it does not become
    active.

    Raises UnsupportedError for a model that transformers cannot read as a causal language model, or that cannot be
    asked along a tree of tokens.
    """
    with TemporaryDirectory() as folder:
        convert(source, Path(folder) / "converted")
        sha256 = store.add_language_folder(Path(folder) / "converted")
    record = BackboneRecord(KIND, model, {}, sha256)
    return store.publish(model, unfitted_language(store, record))


def unfitted_language(
    store: CheckpointStore, record: BackboneRecord, precisions: tuple[str, ...] = PRECISIONS
) -> Version:
    """A version, in no store yet, that has neither calibrator nor scores; its weights are in the store."""
    folder = store.language_folder(record.sha256)
    golden: dict[str, tuple[GoldenRow, ...]] = {}
    prompts = None
    for precision in precisions:
        language = load_causal_lm(folder, torch.device("cpu"), precision)
        prompts = prompts or PromptSpec(_readout(language))
        golden[precision] = tuple(LanguagePipeline(language, prompts, None, {}).golden_rows(GOLDEN_SEEDS))
        record = replace(record, name=language.network.config.model_type)
    return unfitted(record, golden, task=TASK, prompts=prompts)


def _readout(language: CausalLM) -> Readout:
    """By the letters' tokens, where the tokenizer has a token for each."""
    try:
        read_items(language, [lettered_item(GOLDEN_QUESTIONS[0])], Readout.NEXT_TOKEN)
    except DataError:
        return Readout.TEXT
    return Readout.NEXT_TOKEN
