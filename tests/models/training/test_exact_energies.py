"""Exact gradients in parts: those of all rows at once, and finished parts are not computed again."""

import pytest
import torch

from models.backbones.prepared import exact_gradients, example_images
from models.core.gradient_plan import GradientPlan
from models.training.exact_energies import ROWS, collect_exact, gather_exact

COUNT = ROWS + 3


@pytest.fixture(scope="module")
def gradients(tiny):
    spec = tiny.plan.recipe.input_spec
    return exact_gradients(tiny.network, "timm", spec, torch.device("cpu"), GradientPlan(depth=2, directions=1))


@pytest.fixture(scope="module")
def inputs(tiny):
    """Name → input of the network."""
    return {f"{row}": image for row, image in enumerate(example_images(tiny.plan.recipe.input_spec, COUNT))}


def run(gradients, inputs, folder, told, read, classes=10):
    def images(names):
        read.extend(names)
        return torch.stack([inputs[name] for name in names])

    collect_exact(gradients, tuple(inputs), images, folder, told.append, classes=classes)


def test_parts_are_what_one_call_gives_and_are_kept(gradients, inputs, tmp_path):
    told, read = [], []
    run(gradients, inputs, tmp_path / "exact", told, read)
    assert (told, read) == ([ROWS, COUNT], list(inputs))
    found = gather_exact(tmp_path / "exact")
    assert found.energies.shape == (COUNT, found.layers)
    whole = torch.cat([each.energies for each in gradients.energies(torch.stack(list(inputs.values())))])
    torch.testing.assert_close(found.energies, whole.float(), rtol=1e-3, atol=0)

    (tmp_path / "exact" / f"{ROWS:09}.safetensors").unlink()
    told, read = [], []
    run(gradients, inputs, tmp_path / "exact", told, read)
    assert (told, read) == ([ROWS, COUNT], list(inputs)[ROWS:])
    assert gather_exact(tmp_path / "exact").energies.equal(found.energies)


def test_of_many_classes_each_row_is_kept_alone(gradients, inputs, tmp_path):
    told = []
    run(gradients, dict(list(inputs.items())[:3]), tmp_path, told, [], classes=1000)
    assert told == [1, 2, 3]
    assert len(gather_exact(tmp_path).energies) == 3
