"""A causal language model ready to be asked: the network on its device, and its tokenizer."""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from torch import nn

from models.core.device import PRECISIONS
from models.core.errors import CheckpointError, DataError, UnsupportedError
from models.language import anatomy
from models.language.tail_gradients import TailGradients
from models.language.tree_forward import check_tree_forward

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class CausalLM:
    """`network` and `tokenizer` are transformers' own; nothing here changes what they compute.

    `gradients` are those of its last layers; None for an architecture of which they are not known.
    """

    network: Any
    tokenizer: Any
    device: torch.device
    precision: str
    gradients: TailGradients | None = None

    @property
    def layers(self) -> int:
        return int(self.network.config.num_hidden_layers)

    @property
    def width(self) -> int:
        return int(self.network.config.hidden_size)

    @property
    def vocabulary(self) -> int:
        """Rows of the unembedding, which may be more than the tokenizer has tokens."""
        return int(self.unembedding.weight.shape[0])

    @property
    def context(self) -> int:
        """The most tokens that the network was made for."""
        return int(self.network.config.max_position_embeddings)

    @property
    def unembedding(self) -> nn.Linear:
        return anatomy.unembedding(self.network)

    def encode(self, text: str) -> list[int]:
        """Tokens of a text, after the token that begins every text where the tokenizer has such a one and the text does
        not bring it; never one that ends it. Raises DataError for text that is not valid Unicode.
        """
        return [*self._beginning(text), *self.encode_more(text)]

    def encode_more(self, text: str) -> list[int]:
        """As `encode`, for a text that goes on from another one: nothing is put before it."""
        try:
            text.encode()
        except UnicodeEncodeError as error:
            raise DataError(f"the text is not valid Unicode, it cannot be encoded as UTF-8: {error}") from error
        found: list[int] = self.tokenizer.encode(text, add_special_tokens=False)
        return found

    def chat(self, messages: Sequence[Mapping[str, str]]) -> str:
        """The text that asks for the next message of a conversation, by the model's chat template.

        A message has `role` and `content`. Raises UnsupportedError for a model without a template, and DataError for
        messages that the template refuses.
        """
        from jinja2 import TemplateError

        if not self.tokenizer.chat_template:
            raise UnsupportedError("the model has no chat template; send one text as the prompt instead")
        if not messages or not all({"role", "content"} <= message.keys() for message in messages):
            raise DataError("a conversation has at least one message, and each has a role and a content")
        try:
            text: str = self.tokenizer.apply_chat_template(list(messages), tokenize=False, add_generation_prompt=True)
        except TemplateError as error:
            raise DataError(f"the model's chat template refuses these messages: {error}") from error
        return text

    def _beginning(self, text: str) -> list[int]:
        first = self.tokenizer.encode("")[:1]
        begins = first == [self.tokenizer.bos_token_id] and not text.startswith(self.tokenizer.bos_token)
        return list(first) if begins else []


def load_causal_lm(folder: Path, device: torch.device, precision: str) -> CausalLM:
    """The model that `convert` wrote into `folder`, in float32 or bfloat16.

    Raises CheckpointError for a folder that cannot be read, and UnsupportedError for a network that cannot be asked
    along a tree of tokens, or whose logits are not its unembedding's alone.
    """
    from transformers import AutoModelForCausalLM, AutoTokenizer
    from transformers.utils import logging

    if precision not in PRECISIONS:
        raise UnsupportedError(f"precision {precision!r} is not known; use one of {', '.join(PRECISIONS)}")
    if not (folder / "config.json").is_file():
        raise CheckpointError(f"{folder} holds no converted language model: convert one into it first")
    logging.disable_progress_bar()  # a service has no terminal
    local = {"local_files_only": True, "trust_remote_code": False}
    try:
        tokenizer = AutoTokenizer.from_pretrained(folder, **local)
        network = AutoModelForCausalLM.from_pretrained(
            folder, dtype=PRECISIONS[precision], use_safetensors=True, **local
        )
    except (OSError, ValueError, KeyError, RuntimeError, SafetensorError) as error:
        raise CheckpointError(f"{folder} is damaged or incomplete, convert it again: {error}") from error
    network = network.requires_grad_(False).eval().to(device)
    check_tree_forward(network)
    return CausalLM(network, tokenizer, device, precision, _gradients(network))


def _gradients(network: Any) -> TailGradients | None:
    try:
        return TailGradients(network)
    except UnsupportedError as error:
        log.info("the epistemic score is that of the last layer: %s", error)
        return None
