"""Views: the same for the same plan, image and number; crops within the picture and as large as asked for."""

from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from models.core.input_spec import InputSpec
from models.feature_cache.augment import RATIO, augmented, crop_box
from models.feature_cache.counted_noise import uniforms
from models.feature_cache.view_plan import ViewPlan
from tests.fixtures.image_files import photograph

SPEC = InputSpec(32, 40, 48, "bilinear", (0.5,) * 3, (0.5,) * 3)
PLAN = ViewPlan(count=2, seed=1)
PLAIN = replace(PLAN, flip=0.0, jitter=0.0)
PICTURE = Image.fromarray(photograph(96, 120))


def test_a_view_follows_from_plan_position_and_number_alone():
    first = augmented(PICTURE, SPEC, PLAN, 3, 1)
    assert first.shape == (32, 40, 3)
    assert first.dtype == np.uint8
    augmented(PICTURE, SPEC, PLAN, 4, 0)
    assert np.array_equal(first, augmented(PICTURE.copy(), SPEC, replace(PLAN, count=9), 3, 1))
    others = [(PLAN, 3, 0), (PLAN, 1, 3), (replace(PLAN, seed=2), 3, 1)]
    assert all(not np.array_equal(first, augmented(PICTURE, SPEC, *other)) for other in others)


def test_without_chance_a_view_is_the_picture_itself():
    """A crop of the whole fits only where its ratio happens to: then nothing is left but the resizing."""
    square = Image.fromarray(photograph(64, 64))
    whole = replace(PLAIN, scale=(1.0, 1.0))
    view = augmented(square, replace(SPEC, fit="squash"), whole, 0, 0)
    assert np.abs(view.astype(int) - np.array(square.resize((40, 32), Image.Resampling.BILINEAR))).max() < 40


@pytest.mark.parametrize("size", [(120, 96), (1, 1), (500, 3), (3, 500), (64, 64)])
def test_crops_lie_within_the_picture(size):
    width, height = size
    areas, ratios = [], []
    for image in range(300):
        left, top, right, bottom = crop_box(width, height, (0.08, 1.0), uniforms((9, image, 0), 22))
        assert 0 <= left < right <= width
        assert 0 <= top < bottom <= height
        areas.append((right - left) * (bottom - top) / (width * height))
        ratios.append((right - left) / (bottom - top))
    if width < 10 * height < 100 * width:
        assert min(areas) == pytest.approx(0.08, abs=0.02)
        assert 0.35 < np.mean(areas) < 0.55, "the largest ones fit in few ratios only"
        assert RATIO[0] - 1e-9 <= min(ratios) < 0.78
        assert 1.28 < max(ratios) <= RATIO[1] + 1e-9


def test_a_picture_too_narrow_for_any_crop_is_cut_in_its_centre():
    left, top, right, bottom = crop_box(500, 3, (0.9, 1.0), uniforms((0, 0, 0), 22))
    assert (left, top, right, bottom) == pytest.approx((248, 0, 252, 3))


def test_half_of_the_views_are_flipped():
    left_to_right = Image.fromarray(np.tile(np.linspace(0, 255, 64).astype(np.uint8)[None, :, None], (64, 1, 3)))
    views = [augmented(left_to_right, SPEC, replace(PLAIN, flip=0.5), image, 0) for image in range(200)]
    flipped = [int(view[0, 0, 0]) > int(view[0, -1, 0]) for view in views]
    assert 70 < sum(flipped) < 130
    straight = [augmented(left_to_right, SPEC, PLAIN, image, 0) for image in range(200)]
    assert all(int(view[0, 0, 0]) < int(view[0, -1, 0]) for view in straight)
    mirrored = [view[:, ::-1] if turned else view for view, turned in zip(views, flipped, strict=True)]
    assert all(np.array_equal(one, other) for one, other in zip(mirrored, straight, strict=True))


def test_jitter_changes_brightness_by_no_more_than_asked():
    grey = Image.new("RGB", (64, 64), (100, 100, 100))
    levels = [augmented(grey, SPEC, replace(PLAN, jitter=0.4), image, 0).mean() for image in range(200)]
    assert 60 <= min(levels) < 66
    assert 134 < max(levels) <= 140
