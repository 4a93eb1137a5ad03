"""Preprocessing by definition: resize the whole image, then cut the centre out of it."""

from PIL import Image

FILTERS = {name.lower(): filter_ for name, filter_ in Image.Resampling.__members__.items()}


def resize_whole_then_crop(image, spec, axes="xy"):
    """The (height, width) centre of `image` resized so that its shorter side is `spec.resize`, axis by axis in order.

    Pillow rounds and clips to 8 bits between the axes, and picks their order by what costs less.
    """
    columns, rows = resized_size(image.size, spec.resize)
    for axis in axes:
        size = (columns, image.height) if axis == "x" else (image.width, rows)
        image = image.resize(size, FILTERS[spec.interpolation])
    left, top = (columns - spec.width) // 2, (rows - spec.height) // 2
    return image.crop((left, top, left + spec.width, top + spec.height))


def resized_size(size, shorter):
    return tuple(max(shorter, round(side * shorter / min(size))) for side in size)
