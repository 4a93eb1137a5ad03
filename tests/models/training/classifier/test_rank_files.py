"""What a launcher and its ranks hand over is read as it was written."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from models.core.errors import CheckpointError
from models.training.classifier.plan import Augmentation, NoiseWarmUp
from models.training.classifier.rank_files import Recipe, read_result, write_result
from tests.models.training.classifier.several import recipe
from tests.models.training.classifier.small_trainings import PLAN, ROWS, SPEC, perceptron, same, train

WARMED_UP = replace(PLAN, augmentation=Augmentation(flip=0.5), noise_warmup=NoiseWarmUp(steps=3, batch=8))


@pytest.mark.parametrize("plan", [PLAN, WARMED_UP])
def test_a_rank_reads_the_recipe_that_was_written(tmp_path, plan):
    given = recipe(tmp_path, plan)
    given.write(tmp_path)
    found = Recipe.read(tmp_path)
    assert (found.plan, found.spec, found.device_type) == (plan, SPEC, "cpu")
    assert same(found.network.build().state_dict(), perceptron().state_dict())
    rows = found.trained.rows(found.spec)
    assert np.array_equal(rows.pixels, ROWS.pixels)
    assert torch.equal(rows.labels, ROWS.labels)


def test_a_pixel_file_may_have_more_images_than_labels(tmp_path):
    file = recipe(tmp_path).trained
    assert len(replace(file, labels=file.labels[:7]).rows(SPEC)) == 7


def test_weights_of_another_network_are_refused(tmp_path):
    network = replace(recipe(tmp_path).network, state=perceptron(depth=4).state_dict())
    with pytest.raises(CheckpointError, match="do not fit howsure perceptron"):
        network.build()


@pytest.mark.parametrize("plan", [PLAN, WARMED_UP])
def test_a_result_is_read_as_it_was_written(tmp_path, plan):
    trained = train(perceptron(), plan)
    write_result(tmp_path, trained)
    found = read_result(tmp_path)
    assert same(found.state, trained.state)
    assert (found.curve, found.noise, found.stopped) == (trained.curve, trained.noise, trained.stopped)


def test_a_folder_without_a_recipe_is_told(tmp_path):
    with pytest.raises(FileNotFoundError, match="started by train_on_several"):
        Recipe.read(tmp_path)
