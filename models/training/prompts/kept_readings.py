"""What a language model reads of many rows, kept on disk chunk by chunk: whoever was ended goes on from there."""

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import safetensors.torch
import torch
from torch import Tensor

from models.core.atomic import write_bytes
from models.core.errors import DataError
from models.core.outputs import LayerGradients, ModelOutputs
from models.core.prompt_spec import Readout
from models.language.causal_lm import CausalLM
from models.language.continuations import MOST_CHOICES
from models.language.reading import Reading, ResidualStep, read_items
from models.training.prompts.rows import QuestionRows

CHUNK = 64  # rows. Ours: some seconds of one core, and neighbours with a common beginning share it


@dataclass(frozen=True, slots=True)
class Chunk:
    """`places` (n,) of the rows that could be read, among all rows; `bad` has the others, with reasons."""

    places: Tensor
    outputs: ModelOutputs
    moved: ModelOutputs | None
    bad: dict[int, str]


@dataclass(frozen=True)
class KeptReadings:
    """Files in `folder`, which is for one model in one precision, these rows, this readout and this step alone."""

    folder: Path
    rows: QuestionRows
    readout: Readout
    step: ResidualStep | None = None

    def fill(self, model: CausalLM) -> Iterator[tuple[int, dict[int, str]]]:
        """Read what is not there yet; after each chunk how many rows were dealt with, and the bad ones of the chunk."""
        self.folder.mkdir(parents=True, exist_ok=True)
        for start in range(0, len(self.rows), CHUNK):
            if not self._path(start).exists():
                write_bytes(self._path(start), _bytes_of(self._read(model, start)))
            yield min(start + CHUNK, len(self.rows)), self._chunk(start).bad

    def readable(self, names: Sequence[str]) -> tuple[str, ...]:
        """Those of these rows that could be read."""
        return tuple(name for name in names if self._places[name] in self._found)

    def take(self, names: Sequence[str]) -> Reading:
        """On the CPU, of readable rows, in the order of `names`."""
        places = [self._places[name] for name in names]
        wanted = torch.tensor([self._found[place] for place in places])
        tasks = tuple(self.rows.questions[place].task for place in places)
        outputs, moved = self._whole
        return Reading(outputs.take(wanted), tasks, None if moved is None else moved.take(wanted))

    @cached_property
    def _places(self) -> dict[str, int]:
        return {name: place for place, name in enumerate(self.rows.names)}

    @cached_property
    def _chunks(self) -> list[Chunk]:
        return [self._chunk(start) for start in range(0, len(self.rows), CHUNK)]

    @cached_property
    def _found(self) -> dict[int, int]:
        """Place among the rows → place among those that could be read."""
        places = torch.cat([chunk.places for chunk in self._chunks]).tolist()
        return {place: found for found, place in enumerate(places)}

    @cached_property
    def _whole(self) -> tuple[ModelOutputs, ModelOutputs | None]:
        moved = [chunk.moved for chunk in self._chunks if chunk.moved is not None]
        return _joined([chunk.outputs for chunk in self._chunks]), _joined(moved) if moved else None

    def _path(self, start: int) -> Path:
        return self.folder / f"{start:08}.safetensors"

    def _chunk(self, start: int) -> Chunk:
        return _chunk_of(self._path(start))

    def _read(self, model: CausalLM, start: int) -> Chunk:
        places = list(range(start, min(start + CHUNK, len(self.rows))))
        bad: dict[int, str] = {}
        try:
            reading = self._reading(model, places)
        except DataError:
            bad = {place: reason for place in places if (reason := self._why_unreadable(model, place))}
            places = [place for place in places if place not in bad]
            reading = self._reading(model, places) if places else _nothing(model)
        return Chunk(torch.tensor(places, dtype=torch.int64), reading.outputs, reading.moved, bad)

    def _reading(self, model: CausalLM, places: Sequence[int]) -> Reading:
        return read_items(model, self.rows.take(places).items, self.readout, self.step, gradients=True)

    def _why_unreadable(self, model: CausalLM, place: int) -> str:
        try:
            self._reading(model, [place])
        except DataError as error:
            return str(error).removeprefix("item 0: ")
        return ""


def _nothing(model: CausalLM) -> Reading:
    none = torch.zeros(0, MOST_CHOICES)
    return Reading(ModelOutputs(none, features=torch.zeros(0, model.width), mask=none.bool()), ())


def step_digest(step: ResidualStep | None) -> str:
    """A short name that only an equal step has."""
    if step is None:
        return "none"
    told = f"{step.layer} {step.length!r} {step.vector.float().cpu().tolist()}"
    return hashlib.sha256(told.encode()).hexdigest()[:16]


def _bytes_of(chunk: Chunk) -> bytes:
    told = json.dumps(chunk.bad).encode()
    tensors = {"places": chunk.places, "bad": torch.frombuffer(bytearray(told), dtype=torch.uint8)}
    for name, outputs in (("own", chunk.outputs), ("moved", chunk.moved)):
        if outputs is not None:
            parts = {"logits": outputs.logits, "features": outputs.require_features(), "mask": outputs.mask}
            if outputs.gradients is not None:
                parts |= {"energies": outputs.gradients.energies, "layers": torch.tensor(outputs.gradients.layers)}
            tensors |= {f"{name}.{key}": value.cpu().contiguous() for key, value in parts.items() if value is not None}
    content: bytes = safetensors.torch.save(tensors)
    return content


def _chunk_of(path: Path) -> Chunk:
    tensors = safetensors.torch.load_file(path)
    bad = json.loads(tensors["bad"].numpy().tobytes())
    parts = {name: _outputs_of(tensors, name) for name in ("own", "moved") if f"{name}.logits" in tensors}
    reasons = {int(place): reason for place, reason in bad.items()}
    return Chunk(tensors["places"], parts["own"], parts.get("moved"), reasons)


def _outputs_of(tensors: Mapping[str, Tensor], name: str) -> ModelOutputs:
    logits, features, mask = (tensors[f"{name}.{key}"] for key in ("logits", "features", "mask"))
    energies = tensors.get(f"{name}.energies")
    gradients = None if energies is None else LayerGradients(energies, int(tensors[f"{name}.layers"]))
    return ModelOutputs(logits, features=features, mask=mask, gradients=gradients)


def _joined(parts: Sequence[ModelOutputs]) -> ModelOutputs:
    return ModelOutputs(
        torch.cat([part.logits for part in parts]),
        features=torch.cat([part.require_features() for part in parts]),
        mask=torch.cat([part.mask for part in parts if part.mask is not None]),
        gradients=_joined_gradients([part.gradients for part in parts if len(part)]),
    )


def _joined_gradients(parts: Sequence[LayerGradients | None]) -> LayerGradients | None:
    """None where some rows have none: those that an earlier release has read."""
    found = [part for part in parts if part is not None]
    if not found or len(found) < len(parts):
        return None
    return LayerGradients(torch.cat([part.energies for part in found]), found[0].layers)
