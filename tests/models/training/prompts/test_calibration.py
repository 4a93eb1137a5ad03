"""What each calibrator is fitted to, on made-up readings with up to four choices."""

import pytest
import torch

from models.calibration.temperature import Temperature
from models.core.errors import DataError
from models.core.method import Dimensions
from models.core.outputs import ModelOutputs
from models.core.prompt_spec import PromptSpec, Readout
from models.language.calibrators import OF_LOGITS, PROMPT_CALIBRATORS
from models.language.continuations import MOST_CHOICES
from models.language.reading import Reading, ResidualStep
from models.training.prompts.calibration import fit_calibrator, own_tasks, select_prompt_calibrator, taken

SIZES = Dimensions(MOST_CHOICES, 3)
STEP = ResidualStep(torch.tensor([1.0, 0, 0]), 1, 2.0)
SHARPNESS = {"sea": 4.0, "sand": 1.0, None: 2.0}


def outputs_of(logits, counts):
    return ModelOutputs(logits, features=torch.ones(len(logits), 3), mask=torch.arange(MOST_CHOICES) < counts[:, None])


def reading_of(rows, tasks, seed=0):
    """Rows whose labels are drawn from logits that were then sharpened, by task; `moved` is twice as sharp again."""
    generator = torch.Generator().manual_seed(seed)
    counts = torch.randint(2, 5, (rows,), generator=generator)
    logits = torch.zeros(rows, MOST_CHOICES)
    logits[:, :4] = torch.randn(rows, 4, generator=generator)
    honest = outputs_of(logits, counts)
    labels = torch.multinomial(honest.log_probabilities().exp(), 1, generator=generator)[:, 0]
    of_row = tuple(tasks[row % len(tasks)] for row in range(rows))
    sharp = logits * torch.tensor([SHARPNESS[task] for task in of_row])[:, None]
    return Reading(outputs_of(sharp, counts), of_row, outputs_of(2 * sharp, counts)), labels


def prompts_of(*tasks):
    return PromptSpec(Readout.NEXT_TOKEN, tasks)


@pytest.mark.parametrize("name", PROMPT_CALIBRATORS)
def test_every_calibrator_can_be_fitted_stored_and_loaded(name):
    reading, labels = reading_of(80, ["sea"])
    fitted = fit_calibrator(name, SIZES, prompts_of("sea"), reading, labels, STEP)
    again = PROMPT_CALIBRATORS[name](SIZES, prompts_of("sea")).load_state(fitted.state())
    found, expected = (each.transform(reading).calibrated_log_probabilities() for each in (again, fitted))
    assert torch.equal(found, expected)
    assert bool((found[~reading.outputs.mask] == -torch.inf).all())


def test_a_task_gets_the_temperature_of_its_own_rows_and_others_that_of_all():
    reading, labels = reading_of(1200, ["sea", "sand", None])
    fitted = fit_calibrator("task_temperature", SIZES, prompts_of("sand", "sea"), reading, labels)
    rows = {task: torch.tensor([each == task for each in reading.tasks]) for task in ("sand", "sea")}
    rows["all"] = torch.ones(1200, dtype=torch.bool)
    alone = [Temperature(SIZES).fit(reading.outputs.take(chosen), labels[chosen]) for chosen in rows.values()]
    assert fitted.state()["temperatures"].tolist() == [float(each.state()["temperature"]) for each in alone]
    # The temperatures that the logits were made with, within what 400 rows tell.
    assert fitted.state()["temperatures"][:2].tolist() == pytest.approx([1, 4], rel=0.25)


def test_a_task_needs_twenty_rows():
    tasks = ["a"] * 20 + ["b"] * 19 + [None] * 30
    assert own_tasks(tasks) == ("a",)
    reading, labels = reading_of(30, ["sea", "sand"])
    with pytest.raises(DataError, match="no task has 20 rows to fit on"):
        fit_calibrator("task_temperature", SIZES, prompts_of(*own_tasks(reading.tasks)), reading, labels)


def test_the_temperature_of_a_direction_is_fitted_after_its_step():
    reading, labels = reading_of(400, ["sea"])
    fitted = fit_calibrator("calibration_direction", SIZES, prompts_of(), reading, labels, STEP)
    expected = Temperature(SIZES).fit(reading.moved, labels).state()["temperature"]
    assert fitted.state()["temperature"] == expected
    assert float(expected) == pytest.approx(8, rel=0.25)
    assert fitted.step is STEP
    with pytest.raises(ValueError, match="under its step"):
        fit_calibrator("calibration_direction", SIZES, prompts_of(), taken(reading, torch.arange(400) < 40), labels)


def test_temperatures_by_task_are_chosen_where_tasks_differ_and_there_are_any():
    reading, labels = reading_of(600, ["sea", "sand"])
    chosen = select_prompt_calibrator(SIZES, prompts_of("sand", "sea"), reading, labels, seed=0)
    assert chosen.chosen == "task_temperature"
    assert [row.name for row in chosen.table] == ["none", *OF_LOGITS, "task_temperature"]
    alike, labels = reading_of(600, ["sea"])
    assert select_prompt_calibrator(SIZES, prompts_of("sea"), alike, labels, seed=0).chosen == "temperature"
    assert select_prompt_calibrator(SIZES, prompts_of(), reading, labels, seed=0).table[-1].name != "task_temperature"
