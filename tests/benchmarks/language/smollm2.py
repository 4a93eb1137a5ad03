"""SmolLM2-135M-Instruct, converted once and loaded in one precision."""

import torch

from models.language.causal_lm import CausalLM, load_causal_lm
from models.language.conversion import convert
from models.language.smollm2 import packaged_gguf
from tests.benchmarks.language import BUILD

FOLDER = BUILD / "smollm2-135m"


def smollm2(precision: str) -> CausalLM:
    if not FOLDER.exists():
        convert(packaged_gguf(), FOLDER)
    return load_causal_lm(FOLDER, torch.device("cpu"), precision)
