"""Forward passes over labelled images, in batches: each row gives what it gives alone."""

import pytest
import torch

from models.backbones.prepared import prepare
from models.core.gradient_plan import GradientPlan
from models.core.image import ImageError
from models.data.labelled_image import LabelledImage
from models.training.labelled_outputs import collect

CPU = torch.device("cpu")
ROWS = 10


@pytest.fixture(scope="module")
def rows(digit_archive):
    return list(digit_archive.read(digit_archive.names[:ROWS]))


def test_rows_give_what_they_give_alone(tiny, rows):
    plan = GradientPlan(depth=3, directions=1)
    network = prepare(tiny.network, "timm", tiny.plan.recipe.input_spec, CPU, "float32", plan=plan)
    whole = collect(network, rows, batch=4)
    assert whole.labels.tolist() == [row.label for row in rows]
    alone = [collect(network, [row]).outputs for row in rows]
    for name in ("logits", "features"):
        expected = torch.cat([getattr(each, name) for each in alone])
        torch.testing.assert_close(getattr(whole.outputs, name), expected, rtol=1e-4, atol=1e-4)
    energies = torch.cat([each.gradients.energies for each in alone])
    assert whole.outputs.gradients.layers == alone[0].gradients.layers
    torch.testing.assert_close(whole.outputs.gradients.energies, energies, rtol=1e-3, atol=0)


def test_a_network_without_gradients(tiny, rows):
    network = prepare(tiny.network, "timm", tiny.plan.recipe.input_spec, CPU, "float32")
    assert collect(network, rows).outputs.gradients is None


def test_a_row_that_cannot_be_read_is_refused(tiny):
    network = prepare(tiny.network, "timm", tiny.plan.recipe.input_spec, CPU, "float32")
    with pytest.raises(ImageError):
        collect(network, [LabelledImage("a", b"torn", 0)])
