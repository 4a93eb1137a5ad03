"""Corrupted images: twelve of the corruptions of CIFAR-10-C (arXiv 1903.12261), at its five strengths each.

Ours, from the published strengths, with scikit-image, SciPy and Pillow. Left out are those that need ImageMagick or
pictures of its own (motion blur, snow, frost, spatter) and glass blur, fog and elastic. Rounded; it truncates.
"""

import io
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray
from PIL import Image
from scipy.ndimage import affine_transform, convolve, gaussian_filter
from skimage.color import hsv2rgb, rgb2hsv
from skimage.util import random_noise

Pixels = NDArray[np.uint8]  # (N, H, W, 3)
Images = NDArray[np.float64]  # (N, H, W, 3) in [0, 1]; what a corruption gives is clipped to that
Corrupt = Callable[..., Images]  # images, random generator, strength
SEVERITIES = (1, 2, 3, 4, 5)
SATURATION, VALUE = 1, 2  # channels of HSV
ZOOM_STEP = 0.01


@dataclass(frozen=True, slots=True)
class Corruption:
    """`strengths` are the arguments of `corrupt` at each severity."""

    corrupt: Corrupt
    strengths: tuple[tuple[float, ...], ...]

    def __call__(self, pixels: Pixels, severity: int, seed: int) -> Pixels:
        """Equal for equal seeds."""
        found = self.corrupt(pixels / 255, np.random.default_rng(seed), *self.strengths[severity - 1])
        rounded: Pixels = (found.clip(0, 1) * 255).round().astype(np.uint8)
        return rounded


def gaussian_noise(images: Images, rng: Generator, deviation: float) -> Images:
    return images + rng.normal(0, deviation, images.shape)


def shot_noise(images: Images, rng: Generator, photons: float) -> Images:
    """`photons` are those of a white pixel."""
    return rng.poisson(images * photons) / photons


def impulse_noise(images: Images, rng: Generator, share: float) -> Images:
    found: Images = random_noise(images, "s&p", rng=rng, amount=share)
    return found


def speckle_noise(images: Images, rng: Generator, deviation: float) -> Images:
    return images * (1 + rng.normal(0, deviation, images.shape))


def gaussian_blur(images: Images, rng: Generator, sigma: float) -> Images:
    found: Images = gaussian_filter(images, (0, sigma, sigma, 0), mode="nearest")
    return found


def defocus_blur(images: Images, rng: Generator, radius: float, sigma: float) -> Images:
    """With a disk, which a Gaussian of 3 by 3 pixels softens."""
    offsets = np.arange(-8, 9)
    disk = (offsets[:, None] ** 2 + offsets**2 <= radius**2).astype(float)
    kernel = gaussian_filter(disk / disk.sum(), sigma, radius=1)
    found: Images = convolve(images, kernel[None, :, :, None], mode="mirror")
    return found


def zoom_blur(images: Images, rng: Generator, largest: float) -> Images:
    """The mean of the images and of them enlarged by 1, 1.01, … `largest` about their centre."""
    factors = np.arange(1, largest + ZOOM_STEP / 2, ZOOM_STEP)
    total: Images = images + sum(_zoomed(images, factor) for factor in factors)
    return total / (len(factors) + 1)


def brightness(images: Images, rng: Generator, added: float) -> Images:
    return _in_hsv(images, VALUE, 1, added)


def saturation(images: Images, rng: Generator, factor: float, added: float) -> Images:
    return _in_hsv(images, SATURATION, factor, added)


def contrast(images: Images, rng: Generator, factor: float) -> Images:
    means = images.mean(axis=(1, 2), keepdims=True)
    return (images - means) * factor + means


def pixelation(images: Images, rng: Generator, share: float) -> Images:
    """Shrunk to `share` of the side and enlarged again, by means over squares."""
    side = images.shape[1]
    small, box = int(side * share), Image.Resampling.BOX
    return _one_by_one(images, lambda image: image.resize((small, small), box).resize((side, side), box))


def jpeg(images: Images, rng: Generator, quality: float) -> Images:
    return _one_by_one(images, partial(_compressed, quality=int(quality)))


CORRUPTIONS = {
    "Gaussian noise": Corruption(gaussian_noise, ((0.04,), (0.06,), (0.08,), (0.09,), (0.1,))),
    "shot noise": Corruption(shot_noise, ((500,), (250,), (100,), (75,), (50,))),
    "impulse noise": Corruption(impulse_noise, ((0.01,), (0.02,), (0.03,), (0.05,), (0.07,))),
    "speckle noise": Corruption(speckle_noise, ((0.06,), (0.1,), (0.12,), (0.16,), (0.2,))),
    "Gaussian blur": Corruption(gaussian_blur, ((0.4,), (0.6,), (0.7,), (0.8,), (1,))),
    "defocus blur": Corruption(defocus_blur, ((0.3, 0.4), (0.4, 0.5), (0.5, 0.6), (1, 0.2), (1.5, 0.1))),
    "zoom blur": Corruption(zoom_blur, ((1.05,), (1.1,), (1.15,), (1.2,), (1.25,))),
    "brightness": Corruption(brightness, ((0.05,), (0.1,), (0.15,), (0.2,), (0.3,))),
    "saturation": Corruption(saturation, ((0.3, 0), (0.1, 0), (1.5, 0), (2, 0.1), (2.5, 0.2))),
    "contrast": Corruption(contrast, ((0.75,), (0.5,), (0.4,), (0.3,), (0.15,))),
    "pixelation": Corruption(pixelation, ((0.95,), (0.9,), (0.85,), (0.75,), (0.65,))),
    "JPEG": Corruption(jpeg, ((80,), (65,), (58,), (50,), (40,))),
}


def _zoomed(images: Images, factor: float) -> Images:
    centre = (images.shape[1] - 1) / 2
    shift = centre * (1 - 1 / factor)
    found: Images = affine_transform(
        images, (1, 1 / factor, 1 / factor, 1), (0, shift, shift, 0), order=1, mode="nearest"
    )
    return found


def _in_hsv(images: Images, channel: int, factor: float, added: float) -> Images:
    hsv = rgb2hsv(images)
    hsv[..., channel] = (hsv[..., channel] * factor + added).clip(0, 1)
    found: Images = hsv2rgb(hsv)
    return found


def _one_by_one(images: Images, change: Callable[[Image.Image], Image.Image]) -> Images:
    pixels = (images * 255).round().astype(np.uint8)
    return np.stack([np.asarray(change(Image.fromarray(each))) for each in pixels]) / 255


def _compressed(image: Image.Image, quality: int) -> Image.Image:
    file = io.BytesIO()
    image.save(file, "JPEG", quality=quality)
    return Image.open(file)
