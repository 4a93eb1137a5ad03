"""Augmented batches are the images themselves, moved, mirrored and cut, as slow slicing would have it."""

import numpy as np
import pytest
import torch

from models.training.classifier.augmenting import GREY, augmented
from models.training.classifier.plan import Augmentation
from models.training.classifier.randomness import generator_for
from tests.oracles import training as oracle

HEIGHT, WIDTH = 8, 12
PIXELS = torch.from_numpy(np.random.default_rng(0).integers(0, 256, (40, HEIGHT, WIDTH, 3), np.uint8))


def drawn(pixels=PIXELS, seed=0, **augmentation):
    return augmented(pixels, Augmentation(**augmentation), generator_for(seed, "augmentation", 0))


def windows(image, most_down, most_across, flips):
    """Every result there can be, by (flip, down, across)."""
    margin = max(most_down, most_across)
    return {
        (flip, down, across): oracle.moved(image, flip, down, across, margin)
        for flip in flips
        for down in range(-most_down, most_down + 1)
        for across in range(-most_across, most_across + 1)
    }


@pytest.mark.parametrize(("flip", "flips"), [(0.0, [False]), (1.0, [True]), (0.5, [False, True])])
def test_each_image_is_a_moved_window_of_itself_reflected_beyond_the_edge(flip, flips):
    found = set()
    for before, after in zip(PIXELS.numpy(), drawn(flip=flip, shift=0.25).numpy(), strict=True):
        places = [place for place, image in windows(before, 2, 3, flips).items() if np.array_equal(image, after)]
        assert len(places) == 1
        found.add(places[0])
    assert {flip for flip, _, _ in found} == set(flips)
    assert {down for _, down, _ in found} == {-2, -1, 0, 1, 2}
    assert {across for _, _, across in found} == {-3, -2, -1, 0, 1, 2, 3}


def test_the_farthest_shift_stays_within_the_reflected_image():
    for seed in range(5):
        for before, after in zip(PIXELS.numpy(), drawn(seed=seed, shift=1.0).numpy(), strict=True):
            wide = np.pad(before, ((HEIGHT - 1,) * 2, (WIDTH - 1,) * 2, (0, 0)), mode="reflect")
            views = np.lib.stride_tricks.sliding_window_view(wide, (HEIGHT, WIDTH, 3))
            assert (views == after).all(axis=(-3, -2, -1)).any()


def test_half_of_the_images_are_flipped():
    many = PIXELS[:1].expand(400, -1, -1, -1)
    flipped = (drawn(many, flip=0.5) == many.flip(2)).flatten(1).all(dim=1)
    assert 160 < int(flipped.sum()) < 240


def test_a_grey_rectangle_is_cut_out_around_a_random_place():
    coloured = PIXELS.clamp(max=GREY - 1)
    sizes = set()
    for before, after in zip(coloured.numpy(), drawn(coloured, cutout=0.5).numpy(), strict=True):
        grey = (after == GREY).all(axis=2)
        down, across = np.flatnonzero(grey.any(axis=1)), np.flatnonzero(grey.any(axis=0))
        assert grey[down[0] : down[-1] + 1, across[0] : across[-1] + 1].all()
        assert np.array_equal(after[~grey], before[~grey])
        sizes.add((len(down), len(across)))
    assert max(sizes) == (4, 6)
    assert min(size for size, _ in sizes) == 2, "it may reach over the edge, its centre not"


def test_the_batch_given_is_left_alone_and_one_seed_gives_one_batch():
    before = PIXELS.clone()
    asked = {"flip": 0.5, "shift": 0.2, "cutout": 0.3}
    assert torch.equal(drawn(**asked), drawn(**asked))
    assert not torch.equal(drawn(**asked), drawn(seed=1, **asked))
    assert torch.equal(PIXELS, before)
    assert drawn() is PIXELS
