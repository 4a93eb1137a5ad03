"""A causal language model as one folder that loads fast: bfloat16 safetensors, its configuration, its tokenizer.

Reading a quantised GGUF file and building its tokenizer takes half a minute, reading the folder about a second.
"""

import hashlib
import os
import shutil
import struct
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import safetensors.torch
import torch
from safetensors import SafetensorError
from torch import Tensor

from models.core.atomic import json_bytes, publish_folder, write_bytes
from models.core.errors import UnsupportedError

WEIGHTS, CONFIG = "model.safetensors", "config.json"
# What a configuration tells of where and by what it was loaded, not of the network.
PASSING = ("_model_name_or_path", "_name_or_path", "quantization_config", "transformers_version")


def convert(source: str | Path, folder: Path) -> dict[str, str]:
    """Write the model at `source` into `folder`, in place of what is there; returns the sha256 of every file.

    `source` is a GGUF file, a local folder in the hub's layout, or a hub name. The folder is there whole or not at all,
    and equal sources give equal bytes. Raises UnsupportedError for weights that are pickles, for a model that brings
    its own code, and for one that transformers cannot read as a causal language model.
    """
    network, tokenizer = _network(source), _tokenizer(source)
    contents = {
        WEIGHTS: weights_content(network),
        CONFIG: json_bytes(_configuration(network)),
        **_tokenizer_files(tokenizer),
    }
    folder.parent.mkdir(parents=True, exist_ok=True)
    beside = folder.with_name(f".{folder.name}.{os.urandom(4).hex()}.tmp")
    beside.mkdir()
    try:
        for name, content in contents.items():
            write_bytes(beside / name, content)
        publish_folder(beside, folder)
    except BaseException:
        shutil.rmtree(beside, ignore_errors=True)
        raise
    return {name: hashlib.sha256(content).hexdigest() for name, content in contents.items()}


def weights_of(source: str | Path) -> bytes:
    """The bytes of `WEIGHTS` alone, of a model whose other files are at hand already. Raises as `convert`."""
    return weights_content(_network(source))


def weights_content(network: Any) -> bytes:
    """Equal weights give equal bytes."""
    content: bytes = safetensors.torch.save(_tensors(network), metadata={"format": "pt"})
    return content


def _network(source: str | Path) -> Any:
    from transformers import AutoModelForCausalLM
    from transformers.utils import logging

    logging.disable_progress_bar()  # a service has no terminal
    place, options = _place(source)
    if options:
        options["quantization_config"] = _unpacked()
    with _readable(source):
        return AutoModelForCausalLM.from_pretrained(
            place, trust_remote_code=False, use_safetensors=True, dtype=torch.float32, **options
        )


def _tokenizer(source: str | Path) -> Any:
    from transformers import AutoTokenizer

    place, options = _place(source)
    with _readable(source):
        return AutoTokenizer.from_pretrained(place, trust_remote_code=False, **options)


@contextmanager
def _readable(source: str | Path) -> Iterator[None]:
    try:
        yield
    except (OSError, ValueError, KeyError, ImportError, struct.error, SafetensorError) as error:
        raise UnsupportedError(
            f"{source} cannot be read as a causal language model; it needs safetensors or GGUF weights (never .bin),"
            f" a configuration and a tokenizer: {error}"
        ) from error


def _place(source: str | Path) -> tuple[str, dict[str, Any]]:
    """What transformers calls the source, and the options it needs to find it."""
    path = Path(source)
    if path.suffix == ".gguf":
        if not path.is_file():
            raise UnsupportedError(f"there is no GGUF file {path}")
        return str(path.parent), {"gguf_file": path.name}
    _refuse_own_code(str(source))
    return str(source), {}


def _refuse_own_code(place: str) -> None:
    from transformers import PreTrainedConfig

    try:
        told, _ = PreTrainedConfig.get_config_dict(place)
    except (OSError, ValueError) as error:
        raise UnsupportedError(f"{place} has no configuration that can be read: {error}") from error
    if "auto_map" in told:
        raise UnsupportedError(f"{place} brings its own code, which is never run; use a model that transformers knows")


def _unpacked() -> Any:
    from transformers import GgufConfig

    return GgufConfig(dequantize=True)


def _tensors(network: Any) -> dict[str, Tensor]:
    """Every tensor once, under the first of its names: tied ones are tied again when they are loaded."""
    found: dict[int, tuple[str, Tensor]] = {}
    for name, tensor in network.state_dict().items():
        found.setdefault(tensor.data_ptr(), (name, tensor.to(torch.bfloat16).contiguous()))
    return dict(found.values())


def _configuration(network: Any) -> dict[str, Any]:
    told: dict[str, Any] = network.config.to_dict()
    ends = getattr(network.generation_config, "eos_token_id", None)
    if ends is not None:  # it may know more tokens that end an answer, such as the end of a turn
        told["eos_token_id"] = ends
    return {name: value for name, value in told.items() if name not in PASSING} | {"dtype": "bfloat16"}


def _tokenizer_files(tokenizer: Any) -> dict[str, bytes]:
    with tempfile.TemporaryDirectory() as folder:
        tokenizer.save_pretrained(folder)
        return {path.name: path.read_bytes() for path in sorted(Path(folder).iterdir())}
