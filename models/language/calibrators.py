"""The registry of calibrators for language models. Adding one is one class and one line of `PROMPT_CALIBRATORS`."""

from abc import ABC, abstractmethod
from collections.abc import Callable
from functools import partial
from typing import Self

import torch

from models.calibration import calibrator
from models.core.errors import CheckpointError, UnknownNameError
from models.core.method import Dimensions, State
from models.core.outputs import ModelOutputs
from models.core.prompt_spec import PromptSpec
from models.language.reading import Reading, ResidualStep

DIRECTION, TASK_TEMPERATURE = "calibration_direction", "task_temperature"
FEWEST_OF_TASK = 20  # rows. Ours: of fewer a temperature of their own is mostly noise


class PromptCalibrator(ABC):
    """Changes the probabilities of choices; built with the version's sizes and prompts, then given its state.

    `step` is a change of the residual stream that the answers have to be read under too.
    """

    step: ResidualStep | None = None

    @abstractmethod
    def state(self) -> State:
        """The fitted tensors, on the CPU."""

    @abstractmethod
    def load_state(self, state: State) -> Self:
        """Raises CheckpointError for other tensors than `state` gives."""

    @abstractmethod
    def transform(self, reading: Reading) -> ModelOutputs:
        """The reading's own outputs with `calibrated` set; each item depends on itself only."""


class OfLogits(PromptCalibrator):
    """A calibrator of logits, as images have them too."""

    def __init__(self, name: str, dimensions: Dimensions, prompts: PromptSpec) -> None:
        self.method = calibrator(name)(dimensions)

    def state(self) -> State:
        return self.method.state()

    def load_state(self, state: State) -> Self:
        self.method.load_state(state)
        return self

    def transform(self, reading: Reading) -> ModelOutputs:
        self.method.to(reading.outputs.logits.device)
        return self.method.transform(reading.outputs)


class TaskTemperature(PromptCalibrator):
    """A temperature for each task, and one (the last) for items of no known task."""

    def __init__(self, dimensions: Dimensions, prompts: PromptSpec) -> None:
        self.tasks = prompts.tasks
        self.temperatures = torch.ones(len(self.tasks) + 1)

    def state(self) -> State:
        return {"temperatures": self.temperatures.clone()}

    def load_state(self, state: State) -> Self:
        _check(state, {"temperatures": (len(self.tasks) + 1,)})
        if not bool((state["temperatures"] > 0).all()):
            raise CheckpointError(f"{TASK_TEMPERATURE}: temperatures must be above 0")
        self.temperatures = state["temperatures"].float().cpu()
        return self

    def transform(self, reading: Reading) -> ModelOutputs:
        places = [self.tasks.index(task) if task in self.tasks else len(self.tasks) for task in reading.tasks]
        divisors = self.temperatures[places].to(reading.outputs.logits)
        return reading.outputs.with_calibrated(reading.outputs.logits / divisors[:, None])


class CalibrationDirection(PromptCalibrator):
    """A step of the residual stream (arXiv 2511.00280), then a temperature, 1 where none was fitted."""

    def __init__(self, dimensions: Dimensions, prompts: PromptSpec) -> None:
        self.width = dimensions.features
        self.temperature = 1.0

    def set(self, step: ResidualStep, temperature: float = 1.0) -> Self:
        self.step, self.temperature = step, temperature
        return self

    def state(self) -> State:
        if self.step is None:
            raise CheckpointError(f"{DIRECTION} is not fitted")
        layer, length = (torch.tensor(float(value)) for value in (self.step.layer, self.step.length))
        temperature = torch.tensor(self.temperature)
        return {"vector": self.step.vector.cpu(), "layer": layer, "length": length, "temperature": temperature}

    def load_state(self, state: State) -> Self:
        _check(state, {"vector": (self.width,), "layer": (), "length": (), "temperature": ()})
        step = ResidualStep(state["vector"], int(state["layer"]), float(state["length"]))
        return self.set(step, float(state["temperature"]))

    def transform(self, reading: Reading) -> ModelOutputs:
        if reading.moved is None:
            raise ValueError("the items were not read under the step")
        return reading.outputs.with_calibrated(reading.moved.logits / self.temperature)


def _check(state: State, shapes: dict[str, tuple[int, ...]]) -> None:
    found = {name: tuple(tensor.shape) for name, tensor in state.items()}
    if found != shapes or not all(bool(torch.isfinite(tensor).all()) for tensor in state.values()):
        raise CheckpointError(f"expected finite tensors {shapes}, found {found}")


# Of the calibrators of logits those that take items with different numbers of choices.
OF_LOGITS = ("temperature", "beta", "histogram", "isotonic", "vector")

PROMPT_CALIBRATORS: dict[str, Callable[[Dimensions, PromptSpec], PromptCalibrator]] = {
    **{name: partial(OfLogits, name) for name in OF_LOGITS},
    TASK_TEMPERATURE: TaskTemperature,
    DIRECTION: CalibrationDirection,
}


def prompt_calibrator(name: str, dimensions: Dimensions, prompts: PromptSpec) -> PromptCalibrator:
    """One that is not fitted yet. Raises UnknownNameError."""
    if name not in PROMPT_CALIBRATORS:
        raise UnknownNameError("calibrator of language models", name, PROMPT_CALIBRATORS)
    return PROMPT_CALIBRATORS[name](dimensions, prompts)
