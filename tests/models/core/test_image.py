"""Every kind of file gives the right pixels or the right refusal, and nothing but ImageError ever comes out."""

import random
import struct

import numpy as np
import pytest
from PIL import Image

from models.core.image import ImageError, Refusal, read_image
from models.core.input_spec import InputSpec
from tests.fixtures.image_files import (
    GREY,
    RGB,
    alpha_ramp,
    encode,
    exif,
    laid_down,
    over_white,
    photograph,
    png,
)

MEAN, STD = (0.5, 0.5, 0.5), (0.5, 0.5, 0.5)
PLAIN = InputSpec(height=32, width=32, resize=32, interpolation="bicubic", mean=MEAN, std=STD, draft=False)
DRAFT = InputSpec(height=32, width=32, resize=32, interpolation="bicubic", mean=MEAN, std=STD)
PICTURE = photograph()
GREY_PICTURE = PICTURE[..., 1]
ALPHA = alpha_ramp()
RGBA_PICTURE = np.dstack([PICTURE, ALPHA])
FEW_COLOURS = Image.fromarray(PICTURE).quantize(16)
THREE_TIMES_GREY = np.dstack([GREY_PICTURE] * 3)
DEEP = GREY_PICTURE.astype(np.uint16) * 256 + 131
ORIENTATIONS = range(1, 9)


def grey_key(value):
    return ((b"tRNS", struct.pack(">H", value)),)


LOSSLESS = {
    "png-rgb": (encode(PICTURE, "PNG"), PICTURE),
    "png-grey": (encode(GREY_PICTURE, "PNG"), THREE_TIMES_GREY),
    "png-1-bit": (encode(Image.fromarray(PICTURE[..., 0] > 99), "PNG"), np.dstack([(PICTURE[..., 0] > 99) * 255] * 3)),
    "png-palette": (encode(FEW_COLOURS, "PNG"), FEW_COLOURS.convert("RGB")),
    "png-16-bit-grey": (png(DEEP, GREY, 16), THREE_TIMES_GREY),
    "png-16-bit-rgb": (png(PICTURE.astype(np.uint16) * 256 + 131, RGB, 16), PICTURE),
    "png-interlaced": (png(PICTURE, RGB, interlaced=True), PICTURE),
    "png-interlaced-16-bit": (png(DEEP, GREY, 16, interlaced=True), THREE_TIMES_GREY),
    "webp-lossless": (encode(PICTURE, "WEBP", lossless=True), PICTURE),
    "bmp-24": (encode(PICTURE, "BMP"), PICTURE),
    "bmp-palette": (encode(FEW_COLOURS, "BMP"), FEW_COLOURS.convert("RGB")),
    "gif": (encode(FEW_COLOURS, "GIF"), FEW_COLOURS.convert("RGB")),
    "tiff": (encode(PICTURE, "TIFF"), PICTURE),
    "tiff-lzw": (encode(PICTURE, "TIFF", compression="tiff_lzw"), PICTURE),
    "tiff-16-bit": (encode(DEEP, "TIFF"), THREE_TIMES_GREY),
    "tiff-16-bit-big-endian": (encode(Image.fromarray(DEEP.astype(">u2")), "TIFF"), THREE_TIMES_GREY),
    "tiff-cmyk": (encode(Image.fromarray(PICTURE).convert("CMYK"), "TIFF"), PICTURE),
    "one-pixel": (encode(PICTURE[:1, :1], "PNG"), PICTURE[:1, :1]),
}

TRANSPARENT = {
    "png-rgba": encode(RGBA_PICTURE, "PNG"),
    "webp-alpha": encode(RGBA_PICTURE, "WEBP", lossless=True, exact=True),
    "tiff-rgba": encode(RGBA_PICTURE, "TIFF"),
}

JPEGS = {
    "baseline": encode(PICTURE, "JPEG", quality=95),
    "progressive": encode(PICTURE, "JPEG", quality=95, progressive=True),
    "4:4:4": encode(PICTURE, "JPEG", quality=95, subsampling=0),
    "cmyk": encode(Image.fromarray(PICTURE).convert("CMYK"), "JPEG", quality=95),
    "mpo": encode(Image.fromarray(PICTURE), "MPO", save_all=True, append_images=[Image.new("RGB", (80, 48))]),
    "webp-lossy": encode(PICTURE, "WEBP", quality=95),
}

FRAMES = [Image.new("RGB", (20, 10), colour) for colour in ("red", "blue")]
FLOAT = encode(Image.fromarray(PICTURE[..., 0].astype(np.float32)), "TIFF")
REFUSED = {
    "empty": (b"", Refusal.FORMAT),
    "text": (b"how sure is the model?\n" * 20, Refusal.FORMAT),
    "html": (b"<!doctype html><html><body>404</body></html>", Refusal.FORMAT),
    "svg": (b'<?xml version="1.0"?><svg xmlns="http://www.w3.org/2000/svg" width="9" height="9"/>', Refusal.FORMAT),
    "pdf": (encode(PICTURE, "PDF"), Refusal.FORMAT),
    "postscript": (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n", Refusal.FORMAT),
    "ppm": (encode(PICTURE, "PPM"), Refusal.FORMAT),
    "ico": (encode(PICTURE[:16, :16], "ICO"), Refusal.FORMAT),
    "zeros": (bytes(2000), Refusal.FORMAT),
    "gif-animated": (encode(FRAMES[0], "GIF", save_all=True, append_images=FRAMES[1:]), Refusal.ANIMATED),
    "webp-animated": (encode(FRAMES[0], "WEBP", save_all=True, append_images=FRAMES[1:]), Refusal.ANIMATED),
    "png-animated": (encode(FRAMES[0], "PNG", save_all=True, append_images=FRAMES[1:]), Refusal.ANIMATED),
    "tiff-pages": (encode(FRAMES[0], "TIFF", save_all=True, append_images=FRAMES[1:]), Refusal.ANIMATED),
    "tiff-float": (FLOAT, Refusal.MODE),
    "tiff-32-bit": (encode(Image.fromarray(DEEP.astype(np.int32)), "TIFF"), Refusal.MODE),
    "tiff-lab": (encode(Image.new("LAB", (9, 9)), "TIFF"), Refusal.MODE),
    "png-claims-10-gigapixels": (png(PICTURE, RGB, claim=(100_000, 100_000)), Refusal.PIXELS),
    "png-claims-100-megapixels": (png(PICTURE, RGB, claim=(10_000, 10_000)), Refusal.PIXELS),
    "gif-claims-4-gigapixels": (b"GIF89a" + b"\xff" * 4 + encode(FEW_COLOURS, "GIF")[10:], Refusal.PIXELS),
}


@pytest.mark.parametrize("kind", LOSSLESS)
def test_lossless_files_give_the_exact_pixels(kind):
    content, expected = LOSSLESS[kind]
    image = read_image(content, PLAIN)
    assert image.mode == "RGB"
    np.testing.assert_array_equal(np.asarray(image), np.asarray(expected))


@pytest.mark.parametrize("kind", TRANSPARENT)
def test_alpha_is_laid_over_white(kind):
    pixels = np.asarray(read_image(TRANSPARENT[kind], PLAIN)).astype(float)
    assert np.abs(pixels - over_white(PICTURE, ALPHA)).max() <= 1
    np.testing.assert_array_equal(pixels[:, 0], 255)


@pytest.mark.parametrize("image_format", ["PNG", "TIFF"])
def test_grey_with_alpha_is_laid_over_white(image_format):
    grey_with_alpha = Image.merge("LA", [Image.fromarray(GREY_PICTURE), Image.fromarray(ALPHA)])
    pixels = np.asarray(read_image(encode(grey_with_alpha, image_format), PLAIN)).astype(float)
    assert np.abs(pixels - over_white(THREE_TIMES_GREY, ALPHA)).max() <= 1


@pytest.mark.parametrize(
    ("content", "clear"),
    [
        pytest.param(encode(FEW_COLOURS, "PNG", transparency=3), np.asarray(FEW_COLOURS) == 3, id="png-palette-index"),
        pytest.param(
            encode(FEW_COLOURS, "PNG", transparency=b"\xff\xff\xff\0" + b"\xff" * 12),
            np.asarray(FEW_COLOURS) == 3,
            id="png-palette-alpha",
        ),
        pytest.param(encode(FEW_COLOURS, "GIF", transparency=3), np.asarray(FEW_COLOURS) == 3, id="gif-index"),
    ],
)
def test_a_clear_palette_entry_becomes_white(content, clear):
    expected = np.where(clear[..., None], 255, np.asarray(FEW_COLOURS.convert("RGB")))
    assert clear.any()
    np.testing.assert_array_equal(np.asarray(read_image(content, PLAIN)), expected)


@pytest.mark.parametrize(
    ("content", "picture"),
    [
        pytest.param(encode(PICTURE, "PNG", transparency=tuple(PICTURE[3, 5].tolist())), PICTURE, id="rgb"),
        pytest.param(png(GREY_PICTURE, GREY, chunks=grey_key(GREY_PICTURE[3, 5])), THREE_TIMES_GREY, id="grey"),
        pytest.param(png(DEEP, GREY, 16, chunks=grey_key(DEEP[3, 5])), THREE_TIMES_GREY, id="grey-16-bit"),
    ],
)
def test_the_clear_colour_of_a_png_becomes_white(content, picture):
    clear = (picture == picture[3, 5]).all(axis=-1, keepdims=True)
    np.testing.assert_array_equal(np.asarray(read_image(content, PLAIN)), np.where(clear, 255, picture))


@pytest.mark.parametrize("kind", JPEGS)
@pytest.mark.parametrize("spec", [PLAIN, DRAFT], ids=["whole", "draft"])
def test_lossy_files_give_nearly_the_pixels(kind, spec):
    image = read_image(JPEGS[kind], spec)
    assert (image.mode, image.size) == ("RGB", (80, 48))
    assert np.abs(np.asarray(image).astype(float) - PICTURE).mean() < 3


def test_a_grey_jpeg_is_grey_in_all_channels():
    pixels = np.asarray(read_image(encode(GREY_PICTURE, "JPEG", quality=95), DRAFT)).astype(int)
    assert (pixels == pixels[..., :1]).all()
    assert np.abs(pixels[..., 0] - GREY_PICTURE).max() <= 3


@pytest.mark.parametrize("orientation", ORIENTATIONS)
@pytest.mark.parametrize(
    ("image_format", "options"),
    [
        ("PNG", {}),
        ("TIFF", {}),
        ("TIFF", {"compression": "tiff_lzw"}),
        ("WEBP", {"lossless": True}),
        ("JPEG", {"quality": 95, "subsampling": 0}),
    ],
    ids=["png", "tiff", "tiff-lzw", "webp", "jpeg"],
)
def test_exif_orientation_shows_the_upright_twin(image_format, options, orientation):
    content = encode(laid_down(PICTURE, orientation), image_format, exif=exif(orientation), **options)
    image = read_image(content, PLAIN)
    assert image.size == (80, 48)
    assert np.abs(np.asarray(image).astype(int) - PICTURE).max() <= (9 if image_format == "JPEG" else 0)


@pytest.mark.parametrize("mode", ["RGBA", "LA", "L", "P", "CMYK", "I;16"])
@pytest.mark.parametrize("orientation", [3, 6])
def test_orientation_survives_every_change_of_mode(mode, orientation):
    stored = laid_down(PICTURE, orientation)
    if mode == "I;16":
        image = Image.fromarray(stored[..., 1].astype(np.uint16) * 256)
    else:
        image = Image.fromarray(stored).convert(mode)
    image_format = "TIFF" if mode == "CMYK" else "PNG"
    turned = read_image(encode(image, image_format, exif=exif(orientation)), PLAIN)
    upright = read_image(encode(image, image_format), PLAIN)
    expected = laid_down(upright, {3: 3, 6: 8}[orientation])  # what undoes a half turn, and a turn to the left
    np.testing.assert_array_equal(np.asarray(turned), expected)


@pytest.mark.parametrize("orientation", [1, 6, 8])
@pytest.mark.parametrize(("height", "width"), [(32, 128), (128, 32)])
def test_a_turned_jpeg_is_never_decoded_below_what_squashing_needs(orientation, height, width):
    spec = InputSpec(height, width, 32, "bicubic", MEAN, STD, fit="squash")
    upright = np.asarray(Image.fromarray(PICTURE).resize((1024, 512)))
    image = read_image(encode(laid_down(upright, orientation), "JPEG", exif=exif(orientation)), spec)
    reduction = 4 if height == 128 else 8  # 512 / 128 and 1024 / 32, or 512 / 32 and 1024 / 128
    assert image.size == (1024 // reduction, 512 // reduction)


@pytest.mark.parametrize(
    "damaged",
    [
        b"Exif\0\0" + b"\xff" * 60,
        b"Exif\0\0MM\0*\0\0\0\x08\xff\xff" + b"\x01" * 40,
        exif(6)[:20],
        exif(200),
        b"Exif\0\0",
    ],
    ids=["garbage", "many-entries", "cut", "orientation-200", "nothing"],
)
@pytest.mark.filterwarnings("ignore::UserWarning")  # Pillow's word on the damage
def test_damaged_exif_is_no_reason_to_refuse(damaged):
    image = read_image(encode(PICTURE, "JPEG", quality=95, exif=damaged), PLAIN)
    assert np.abs(np.asarray(image).astype(float) - PICTURE).mean() < 3


@pytest.mark.parametrize("kind", REFUSED)
def test_refuses_with_the_reason(kind):
    content, refusal = REFUSED[kind]
    with pytest.raises(ImageError) as caught:
        read_image(content, PLAIN)
    assert caught.value.refusal is refusal
    assert str(caught.value)


@pytest.mark.parametrize("image_format", ["PNG", "JPEG", "WEBP", "GIF", "BMP", "TIFF"])
def test_the_limit_is_the_last_size_allowed(image_format):
    content = encode(FEW_COLOURS if image_format == "GIF" else PICTURE, image_format)
    assert read_image(content, DRAFT, max_pixels=80 * 48).size == (80, 48)
    with pytest.raises(ImageError, match="80 x 48") as caught:
        read_image(content, DRAFT, max_pixels=80 * 48 - 1)
    assert caught.value.refusal is Refusal.PIXELS


@pytest.mark.parametrize("share", [0.0005, 0.02, 0.3, 0.6, 0.9])
@pytest.mark.parametrize("kind", ["jpeg", "jpeg-progressive", "png", "webp", "gif", "bmp", "tiff", "tiff-lzw"])
@pytest.mark.filterwarnings("ignore::UserWarning")
def test_a_cut_file_is_refused(kind, share):
    noise = np.random.default_rng(0).integers(0, 256, (96, 96, 3), dtype=np.uint8)
    name, _, variant = kind.partition("-")
    options = {"progressive": {"progressive": True}, "lzw": {"compression": "tiff_lzw"}}.get(variant, {})
    content = encode(noise, name.upper(), **options)
    with pytest.raises(ImageError) as caught:
        read_image(content[: int(len(content) * share)], PLAIN)
    assert caught.value.refusal in (Refusal.FORMAT, Refusal.DAMAGED)


def test_a_jpeg_without_its_end_marker_is_refused():
    content = JPEGS["baseline"]
    assert content.endswith(b"\xff\xd9")
    with pytest.raises(ImageError, match="truncated") as caught:
        read_image(content[:-2], PLAIN)
    assert caught.value.refusal is Refusal.DAMAGED


FUZZED = {
    **{kind: content for kind, (content, _) in LOSSLESS.items()},
    **{kind: content for kind, (content, _) in REFUSED.items() if "animated" in kind or "pages" in kind},
    **TRANSPARENT,
    **JPEGS,
    "exif": encode(PICTURE, "JPEG", exif=exif(6)),
}


@pytest.mark.parametrize("kind", FUZZED)
@pytest.mark.filterwarnings("ignore::UserWarning")  # as in production, where a warning does not stop the decoder
def test_damaged_bytes_give_an_rgb_image_or_an_image_error(kind):
    generator = random.Random(kind)
    for _ in range(200):
        content = bytearray(FUZZED[kind])
        # Most damage near the start, where headers and offsets stand.
        reach = generator.choice([64, 256, len(content)])
        for _ in range(generator.choice([1, 2, 8])):
            content[generator.randrange(min(reach, len(content)))] = generator.randrange(256)
        if generator.random() < 0.2:
            del content[generator.randrange(len(content)) :]
        try:
            image = read_image(bytes(content), DRAFT, max_pixels=1_000_000)
        except ImageError:
            continue
        assert image.mode == "RGB"
        assert 1 <= image.width * image.height <= 1_000_000
