"""Rows are read in any order, as the network's input spec has them."""

import numpy as np
import pytest
import torch

from models.core.errors import DataError
from models.training.classifier.rows import PixelRows
from tests.models.training.classifier.small_trainings import CPU, ROWS, SPEC


def test_rows_are_read_in_the_order_asked_for():
    pixels, labels = ROWS.read(torch.tensor([7, 0, 7]))
    assert np.array_equal(pixels.numpy(), ROWS.pixels[[7, 0, 7]])
    assert labels.tolist() == ROWS.labels[[7, 0, 7]].tolist()
    expected = (pixels.permute(0, 3, 1, 2).double() / 255 - 0.5) / 0.25
    torch.testing.assert_close(ROWS.images(pixels, CPU).double(), expected, rtol=0, atol=1e-6)


@pytest.mark.parametrize("shape", [(2, 8, 8, 3), (3, 8, 7, 3), (3, 3, 8, 8)])
def test_pixels_that_do_not_go_with_labels_or_spec_are_refused(shape):
    with pytest.raises(ValueError, match="3 labels and a spec of 8 x 8"):
        PixelRows(np.zeros(shape, np.uint8), torch.zeros(3, dtype=torch.long), SPEC)


def test_no_images_are_refused():
    with pytest.raises(DataError, match="give at least one"):
        PixelRows(np.zeros((0, 8, 8, 3), np.uint8), torch.zeros(0, dtype=torch.long), SPEC)
