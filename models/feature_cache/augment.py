"""One augmented view of a decoded image. It depends on the plan, the image's position and the view's number alone."""

import math

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageEnhance

from models.core.input_spec import RESAMPLING, InputSpec
from models.feature_cache.counted_noise import uniforms
from models.feature_cache.view_plan import ViewPlan

RATIO = (3 / 4, 4 / 3)  # width to height of a crop
TRIES = 10  # crops drawn until one fits into the picture
JITTERS = (ImageEnhance.Brightness, ImageEnhance.Contrast, ImageEnhance.Color)
DRAWS = 2 * TRIES + 2 + 1 + len(JITTERS)

Box = tuple[float, float, float, float]


def augmented(image: Image.Image, spec: InputSpec, plan: ViewPlan, position: int, number: int) -> NDArray[np.uint8]:
    """(height, width, 3) of an RGB image, which is resized only once, from the crop to the network's input size."""
    draws = uniforms((plan.seed, position, number), DRAWS)
    box = crop_box(image.width, image.height, plan.scale, draws[: 2 * TRIES + 2])
    view = image.resize((spec.width, spec.height), RESAMPLING[spec.interpolation], box=box)
    if draws[2 * TRIES + 2] < plan.flip:
        view = view.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
    if plan.jitter:
        for enhance, draw in zip(JITTERS, draws[-len(JITTERS) :], strict=True):
            view = enhance(view).enhance(1 + plan.jitter * (2 * float(draw) - 1))
    return np.array(view)


def crop_box(width: int, height: int, scale: tuple[float, float], draws: NDArray[np.float64]) -> Box:
    """Left, top, right, bottom in pixels, by 22 `draws` from [0, 1): area even in `scale`, ratio in its logarithm.

    The first of ten that fits; for a picture too narrow for any, the largest one in its centre.
    """
    low, high = (math.log(ratio) for ratio in RATIO)
    areas = width * height * (scale[0] + (scale[1] - scale[0]) * draws[:TRIES])
    ratios = np.exp(low + (high - low) * draws[TRIES : 2 * TRIES])
    across, down = np.sqrt(areas * ratios), np.sqrt(areas / ratios)
    fits = np.flatnonzero((across <= width) & (down <= height))
    if not len(fits):
        return _centre(width, height)
    wide, tall = float(across[fits[0]]), float(down[fits[0]])
    left, top = float(draws[2 * TRIES]) * (width - wide), float(draws[2 * TRIES + 1]) * (height - tall)
    return left, top, min(left + wide, width), min(top + tall, height)


def _centre(width: int, height: int) -> Box:
    wide, tall = min(width, height * RATIO[1]), min(height, width / RATIO[0])
    left, top = (width - wide) / 2, (height - tall) / 2
    return left, top, left + wide, top + tall
