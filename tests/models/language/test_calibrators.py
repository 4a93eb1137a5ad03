from dataclasses import replace

import pytest
import torch

from models.core.errors import CheckpointError, UnknownNameError
from models.core.method import Dimensions
from models.core.outputs import ModelOutputs
from models.core.prompt_spec import PromptSpec, Readout
from models.language.calibrators import DIRECTION, OF_LOGITS, PROMPT_CALIBRATORS, TASK_TEMPERATURE, prompt_calibrator
from models.language.continuations import MOST_CHOICES
from models.language.reading import Reading, ResidualStep

DIMENSIONS = Dimensions(MOST_CHOICES, 8)
PROMPTS = PromptSpec(Readout.NEXT_TOKEN, ("mmlu", "sst2"))


def reading(rows=40, *, seed=0):
    generator = torch.Generator().manual_seed(seed)
    logits = 3 * torch.randn(rows, MOST_CHOICES, generator=generator)
    counts = torch.randint(2, 6, (rows,), generator=generator)
    mask = torch.arange(MOST_CHOICES)[None] < counts[:, None]
    own = ModelOutputs(logits, features=torch.randn(rows, 8, generator=generator), mask=mask)
    moved = replace(own, logits=logits + torch.randn(rows, MOST_CHOICES, generator=generator))
    tasks = tuple(("mmlu", "sst2", None, "unheard of")[row % 4] for row in range(rows))
    return Reading(own, tasks, moved)


def labels(found):
    return torch.multinomial(found.outputs.mask.float(), 1, generator=torch.Generator().manual_seed(1))[:, 0]


@pytest.fixture(params=PROMPT_CALIBRATORS)
def fitted(request):
    """Every calibrator of the registry, fitted."""
    made = prompt_calibrator(request.param, DIMENSIONS, PROMPTS)
    if request.param in OF_LOGITS:
        found = reading()
        made.method.fit(found.outputs, labels(found))
        return request.param, made
    if request.param == TASK_TEMPERATURE:
        return request.param, made.load_state({"temperatures": torch.tensor([2.0, 0.5, 1.25])})
    vector = torch.nn.functional.normalize(torch.arange(1.0, 9.0), dim=0)
    return request.param, made.set(ResidualStep(vector, 3, -1.5), 0.8)


def probabilities(made, found):
    return made.transform(found).calibrated_log_probabilities().exp()


def test_a_choice_that_an_item_does_not_have_stays_impossible(fitted):
    found = reading(seed=2)
    given = probabilities(fitted[1], found)
    assert torch.equal(given > 0, found.outputs.mask)
    torch.testing.assert_close(given.sum(dim=1), torch.ones(len(given)))


def test_an_item_depends_on_itself_alone(fitted):
    found = reading(seed=2)
    rows = torch.tensor([7])
    alone = Reading(found.outputs.take(rows), (found.tasks[7],), found.moved.take(rows))
    torch.testing.assert_close(probabilities(fitted[1], alone)[0], probabilities(fitted[1], found)[7])


def test_what_was_fitted_survives_being_stored(fitted):
    name, made = fitted
    again = prompt_calibrator(name, DIMENSIONS, PROMPTS).load_state(made.state())
    found = reading(seed=3)
    assert torch.equal(probabilities(again, found), probabilities(made, found))
    assert (again.step is None) == (name != DIRECTION)


def test_what_does_not_fit_is_refused(fitted):
    name, made = fitted
    with pytest.raises(CheckpointError):
        prompt_calibrator(name, DIMENSIONS, PROMPTS).load_state({})
    broken = {key: torch.full_like(value, torch.nan) for key, value in made.state().items()}
    with pytest.raises(CheckpointError):
        prompt_calibrator(name, DIMENSIONS, PROMPTS).load_state(broken)


def test_a_task_has_its_own_temperature_and_what_is_no_task_the_last(tmp_path):
    made = prompt_calibrator(TASK_TEMPERATURE, DIMENSIONS, PROMPTS)
    made.load_state({"temperatures": torch.tensor([2.0, 0.5, 1.25])})
    found = reading(4)
    divided = found.outputs.logits / torch.tensor([2.0, 0.5, 1.25, 1.25])[:, None]
    torch.testing.assert_close(made.transform(found).calibrated, divided)
    with pytest.raises(CheckpointError, match="above 0"):
        made.load_state({"temperatures": torch.tensor([2.0, 0.0, 1.0])})


def test_an_unknown_name_is_answered_with_the_known_ones():
    with pytest.raises(UnknownNameError, match="calibration_direction"):
        prompt_calibrator("mac_cal", DIMENSIONS, PROMPTS)
