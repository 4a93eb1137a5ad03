"""Parts of the sets as a layer study reads them: long passes, whose results `build/language` keeps."""

import hashlib
import os
from collections.abc import Callable, Sequence

import safetensors.torch
from torch import Tensor

from models.language.causal_lm import CausalLM
from models.language.continuations import ChoiceItem
from models.language.layer_study_part import AskedPart, ReadPart
from models.language.layers import layer_states
from tests.benchmarks.language import BUILD
from tests.benchmarks.language.mmlu import Asked


def part(model: CausalLM, chosen: Asked) -> ReadPart:
    asked = AskedPart.of(model, chosen.items, chosen.labels)
    states = kept(model, chosen.items, "states", lambda: layer_states(model, asked.questions))
    return ReadPart(model, asked, states)


def kept(model: CausalLM, items: Sequence[ChoiceItem], name: str, make: Callable[[], Tensor]) -> Tensor:
    """What `make` gives for these items in this precision, out of its file where it was made before."""
    path = BUILD / name / f"{_key(model.precision, items)}.safetensors"
    if not path.exists():
        print(f"{name} of {len(items)} questions", flush=True)
        path.parent.mkdir(parents=True, exist_ok=True)
        safetensors.torch.save_file({name: make()}, beside := path.with_suffix(f".{os.getpid()}.tmp"))
        os.replace(beside, path)
    return safetensors.torch.load_file(path)[name]


def _key(precision: str, items: Sequence[ChoiceItem]) -> str:
    asked = "\0".join(f"{item.prompt}{item.choices}" for item in items)
    return hashlib.sha256(f"{precision}\0{asked}".encode()).hexdigest()[:16]
