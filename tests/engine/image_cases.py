"""Images for tests: good ones by number, and ones that are faulty or odd."""

from __future__ import annotations

from io import BytesIO

import numpy as np
from PIL import Image


def picture(seed: int = 0, size: tuple[int, int] = (50, 40)) -> Image.Image:
    """An image of noise in large squares; size: width, height."""
    squares = np.random.default_rng(seed).integers(0, 255, (5, 5, 3), dtype=np.uint8)
    return Image.fromarray(squares).resize(size, Image.Resampling.NEAREST)


def saved(image: Image.Image, image_format: str = "PNG", **more: object) -> bytes:
    """The bytes of an image's file."""
    file = BytesIO()
    image.save(file, image_format, **more)
    return file.getvalue()


def png(seed: int = 0) -> bytes:
    return saved(picture(seed))


def turned() -> bytes:
    """The picture lying on its side, and EXIF that says so."""
    exif = Image.Exif()
    exif[0x0112] = 6  # turn it clockwise
    return saved(picture().rotate(90, expand=True), exif=exif)


def shades_16() -> bytes:
    """The picture in shades of 16 bits."""
    return saved(Image.fromarray(np.asarray(picture().convert("L")).astype(np.uint16) * 257))


SAME = {
    "bmp": lambda: saved(picture(), "BMP"),
    "alpha": lambda: saved(picture().convert("RGBA")),
    "palette": lambda: saved(picture().quantize(64)),
    "tiff": lambda: saved(picture(), "TIFF"),
    "exif": turned,
    "gif": lambda: saved(picture().quantize(64), "GIF", save_all=True, append_images=[picture(1).quantize(64)]),
    "apng": lambda: saved(picture(), save_all=True, append_images=[picture(1)]),
}
"""Files of picture() in other forms."""

GOOD = {
    "one pixel": lambda: saved(picture(size=(1, 1))),
    "one row": lambda: saved(picture(size=(70, 1))),
    "three columns": lambda: saved(picture(size=(3, 70))),
    "cmyk": lambda: saved(picture().convert("CMYK"), "JPEG"),
    "bits": lambda: saved(picture().convert("1")),
}

BAD = {
    "empty": (lambda: b"", "the image is empty (0 bytes)"),
    "text": (lambda: b"hello, world", r"the 12 bytes are no image that can be read; they begin with b'hello, w'"),
    "cut png": (lambda: png()[:100], "the image is broken (OSError: image file is truncated)"),
    "cut jpeg": (lambda: saved(picture(), "JPEG")[:300], "the image is broken"),
    "postscript": (lambda: saved(picture(), "EPS"), "are no image that can be read"),
    "32-bit": (lambda: saved(picture().convert("F"), "TIFF"), "its pixels are numbers of 32 bits (mode F)"),
    "100 megapixels": (
        lambda: saved(Image.new("1", (10_000, 10_000))),
        "the image has 10,000 x 10,000 pixels, and at most 64 million are decoded; scale it down",
    ),
    "400 megapixels": (
        lambda: saved(Image.new("1", (20_000, 20_000)), compress_level=1),
        "the image has 400,000,000 pixels, and at most 64 million are decoded",
    ),
}
"""What a faulty file costs its row."""
