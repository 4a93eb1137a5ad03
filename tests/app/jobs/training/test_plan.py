"""What a plan has where the parameters leave it open."""

import pytest
import torch

from app.api.train_params import TrainParams
from app.jobs.training.plan import plan_of
from models.core.device import fast_bfloat16


def plan(rows=40_000, **params):
    return plan_of(TrainParams(**params).model_dump(), rows, torch.device("cpu"))


@pytest.mark.parametrize(
    ("params", "rate"),
    [
        ({}, 1e-3),
        ({"start_from": {}}, 1e-4),
        ({"optimiser": "sgd"}, 0.1),
        ({"optimiser": "sgd", "batch": 32, "start_from": {}}, 0.0025),
        ({"optimiser": "sgd", "batch": 32, "rate": 0.7}, 0.7),
    ],
)
def test_the_rate_goes_by_optimiser_batch_and_start(params, rate):
    assert plan(**params).rate == pytest.approx(rate)


@pytest.mark.parametrize(("rows", "batch"), [(40_000, 128), (800, 32), (60, 16)])
def test_few_rows_get_small_batches(rows, batch):
    assert plan(rows).batch == batch


def test_the_precision_is_what_the_machine_is_fast_at():
    assert plan().precision == ("bfloat16" if fast_bfloat16(torch.device("cpu")) else "float32")
    assert plan(precision="float32").precision == "float32"


def test_groups_become_parts_of_the_plan():
    found = plan(noise_warmup={"steps": 5}, augmentation={"flip": 0})
    assert (found.noise_warmup.steps, found.augmentation.flip, found.augmentation.shift) == (5, 0, 0.125)
    assert plan().noise_warmup is None
