"""How each calibrator of language models is fitted, and which of the cheap ones suits some rows."""

from collections import Counter
from collections.abc import Sequence
from functools import partial

import torch
from torch import Tensor

from models.calibration.temperature import best_inverse_temperature
from models.core.errors import DataError
from models.core.method import Dimensions
from models.core.outputs import ModelOutputs
from models.core.prompt_spec import PromptSpec
from models.language.calibrators import (
    FEWEST_OF_TASK,
    OF_LOGITS,
    TASK_TEMPERATURE,
    CalibrationDirection,
    OfLogits,
    PromptCalibrator,
    TaskTemperature,
    prompt_calibrator,
)
from models.language.reading import Reading, ResidualStep
from models.training.select import Selection, compared


def fit_calibrator(
    name: str,
    dimensions: Dimensions,
    prompts: PromptSpec,
    reading: Reading,
    labels: Tensor,
    step: ResidualStep | None = None,
) -> PromptCalibrator:
    """Fitted on N readings, labels (N,) int64; `step` is the calibration direction's, under which they were read.

    Raises UnknownNameError, ValueError for labels that do not fit, and DataError where the calibrator needs what the
    rows lack.
    """
    made = prompt_calibrator(name, dimensions, prompts)
    if isinstance(made, CalibrationDirection):
        return _with_step(made, reading, labels, step)
    if isinstance(made, TaskTemperature):
        return _with_temperatures(made, reading, labels)
    assert isinstance(made, OfLogits)
    made.method.fit(reading.outputs, labels)
    return made


def own_tasks(tasks: Sequence[str | None]) -> tuple[str, ...]:
    """Those with rows enough for a temperature of their own."""
    found = Counter(task for task in tasks if task is not None)
    return tuple(sorted(task for task, rows in found.items() if rows >= FEWEST_OF_TASK))


def select_prompt_calibrator(
    dimensions: Dimensions, prompts: PromptSpec, reading: Reading, labels: Tensor, *, seed: int
) -> Selection:
    """Among the calibrators of logits, and temperatures by task where `prompts` has tasks; see `compared`."""
    names = (*OF_LOGITS, TASK_TEMPERATURE) if prompts.tasks else OF_LOGITS
    candidates = {name: partial(_fitted_on_others, name, dimensions, prompts, reading, labels) for name in names}
    return compared(reading.outputs, labels, candidates, seed=seed)


def taken(reading: Reading, rows: Tensor) -> Reading:
    """Some of the items: `rows` is (N,) bool."""
    tasks = tuple(reading.tasks[row] for row in rows.nonzero()[:, 0].tolist())
    moved = None if reading.moved is None else reading.moved.take(rows)
    return Reading(reading.outputs.take(rows), tasks, moved)


def _fitted_on_others(
    name: str, dimensions: Dimensions, prompts: PromptSpec, reading: Reading, labels: Tensor, rows: Tensor
) -> Tensor:
    fitted = fit_calibrator(name, dimensions, prompts, taken(reading, ~rows), labels[~rows])
    return fitted.transform(taken(reading, rows)).calibrated_log_probabilities()


def _with_step(
    made: CalibrationDirection, reading: Reading, labels: Tensor, step: ResidualStep | None
) -> PromptCalibrator:
    if step is None or reading.moved is None:
        raise ValueError("the calibration direction is fitted on rows that were read under its step")
    return made.set(step, _temperature(reading.moved, labels))


def _with_temperatures(made: TaskTemperature, reading: Reading, labels: Tensor) -> PromptCalibrator:
    if not made.tasks:
        raise DataError(
            f"no task has {FEWEST_OF_TASK} rows to fit on: give rows a `task`, send more of them, or use temperature"
        )
    temperatures = []
    for task in made.tasks:
        rows = torch.tensor([each == task for each in reading.tasks])
        # In a fold of a comparison a task may have no row at all.
        rows = rows if bool(rows.any()) else torch.ones_like(rows)
        temperatures.append(_temperature(reading.outputs.take(rows), labels[rows]))
    common = _temperature(reading.outputs, labels)
    return made.load_state({"temperatures": torch.tensor([*temperatures, common])})


def _temperature(outputs: ModelOutputs, labels: Tensor) -> float:
    return 1 / best_inverse_temperature(outputs.logits.double(), labels, outputs.mask)
