"""Mixup: blended images, and the loss that belongs to them."""

import pytest
import torch

from models.training.classifier.losses import plain
from models.training.classifier.mixing import mixed
from models.training.classifier.randomness import generator_for
from tests.oracles import training as oracle

IMAGES = torch.randn(6, 3, 2, 2, generator=torch.Generator().manual_seed(0))
LABELS = torch.tensor([0, 1, 2, 0, 1, 2])


def drawn(seed, alpha=0.4):
    return mixed(IMAGES, LABELS, alpha, generator_for(seed, "mixup", 0))


def test_the_loss_is_the_cross_entropy_to_blended_labels():
    batch = drawn(1)
    logits = torch.randn(6, 3, generator=torch.Generator().manual_seed(2), dtype=torch.float64)
    targets = [
        [batch.share * (label == place) + (1 - batch.share) * (other == place) for place in range(3)]
        for label, other in zip(batch.labels.tolist(), batch.others.tolist(), strict=True)
    ]
    expected = [oracle.soft_cross_entropy(row, target) for row, target in zip(logits.tolist(), targets, strict=True)]
    assert 0.5 < batch.share < 1
    assert batch.loss(plain, logits).tolist() == pytest.approx(expected)


def test_each_image_is_blended_with_the_one_that_its_other_label_is_of():
    images = torch.arange(6.0)[:, None, None, None].expand(6, 3, 2, 2)
    batch = mixed(images, torch.arange(6), 0.4, generator_for(1, "mixup", 0))
    expected = batch.share * torch.arange(6.0) + (1 - batch.share) * batch.others
    torch.testing.assert_close(batch.images[:, 0, 0, 0], expected)
    assert sorted(batch.others.tolist()) == list(range(6))


def test_the_own_image_has_the_larger_part_and_shares_follow_the_beta_distribution():
    shares = torch.tensor([drawn(seed, alpha=1.0).share for seed in range(300)])
    assert float(shares.min()) >= 0.5
    assert float(shares.mean()) == pytest.approx(0.75, abs=0.03)  # Beta(1, 1) is uniform


def test_one_seed_gives_one_batch():
    assert torch.equal(drawn(3).images, drawn(3).images)
    assert drawn(3).share != drawn(4).share


def test_without_mixing_the_batch_is_as_it_was():
    batch = drawn(1, alpha=0.0)
    assert batch.images is IMAGES
    assert torch.equal(batch.loss(plain, torch.eye(3)[LABELS]), plain(torch.eye(3)[LABELS], LABELS))
