"""Bytes to images in RGB, upright, one frame; decoded on several threads. Knows no model and no torch."""

from __future__ import annotations

import os
import re
import threading
import warnings
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from io import BytesIO
from typing import Any, TypeVar

from sqlinfer.errors import first_line

MAX_PIXELS = 64_000_000
MOST_THREADS = 8
FORMATS = ("PNG", "JPEG", "MPO", "WEBP", "GIF", "BMP", "TIFF", "PPM", "ICO", "AVIF", "JPEG2000", "TGA")
"""Pillow's others start programs, or are no images of pixels."""
_NUM_SHADES_16 = 257  # a step of 8 bits, in 16 bits
_opening = threading.Lock()  # warnings are the whole process's
Given = TypeVar("Given")
Result = TypeVar("Result")


class BadImage(ValueError):
    """Why bytes cannot be read as an image."""


@dataclass(frozen=True, slots=True)
class DecodedImage:
    """An image."""

    pixels: Any
    """PIL's, in RGB."""
    is_animated: bool
    """Whether it is the first frame of several."""


def decode_image(content: bytes) -> DecodedImage:
    """Decode an image. Raises BadImage; one of too many pixels is refused before they are decoded.

    It is turned as its EXIF says, 16 bits become 8, and transparency is left out, as transformers' own pipelines do it.
    """
    from PIL import Image, ImageOps

    if not content:
        raise BadImage("the image is empty (0 bytes)")
    try:
        with _opening, warnings.catch_warnings():
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)  # of a limit that is not ours
            Image.init()  # once; it loads the formats
            image = Image.open(BytesIO(content), formats=[name for name in FORMATS if name in Image.OPEN])
        if image.width * image.height > MAX_PIXELS:
            raise BadImage(_too_large(f"{image.width:,} x {image.height:,}"))
        is_animated = image.format != "MPO" and getattr(image, "is_animated", False)
        return DecodedImage(ImageOps.exif_transpose(_to_rgb(image)), bool(is_animated))
    except BadImage:
        raise
    except Image.DecompressionBombError as error:
        raise BadImage(_too_large(f"{int(re.findall('[0-9]+', str(error))[0]):,}")) from error
    except Image.UnidentifiedImageError as error:
        start = content[:8]
        raise BadImage(
            f"the {len(content):,} bytes are no image that can be read; they begin with {start!r}"
        ) from error
    except Exception as error:  # each format has errors of its own
        raise BadImage(f"the image is broken ({type(error).__name__}: {first_line(error)})") from error


def _too_large(size: str) -> str:
    return f"the image has {size} pixels, and at most {MAX_PIXELS // 10**6} million are decoded; scale it down"


def _to_rgb(image: Any) -> Any:
    """Pillow cuts all above 255 off, where it should scale."""
    import numpy as np
    from PIL import Image

    if image.mode not in ("I", "F") and not image.mode.startswith("I;"):
        return image.convert("RGB")
    pixels = np.asarray(image)
    if image.mode == "F" or pixels.min() < 0 or pixels.max() > 255 * _NUM_SHADES_16:
        raise BadImage(f"its pixels are numbers of 32 bits (mode {image.mode}), not shades; save it with 8 or 16 bits")
    upright = Image.fromarray((pixels // _NUM_SHADES_16).astype(np.uint8)).convert("RGB")
    upright.info, upright._exif = image.info, image.getexif()
    return upright


def sample_images() -> list[DecodedImage]:
    """Two images of equal size, to try a model with."""
    import numpy as np
    from PIL import Image

    rows, columns = np.mgrid[:48, :48].astype(np.uint8)
    pixels = [np.stack([5 * rows, 5 * columns, shade + rows], axis=-1) for shade in (np.uint8(0), np.uint8(200))]
    return [DecodedImage(Image.fromarray(each), is_animated=False) for each in pixels]


def on_threads(work: Callable[[Given], Result], items: Iterable[Given]) -> list[Result]:
    """What work makes of each item, in order; several at a time."""
    given = list(items)
    num_threads = min(len(given), os.cpu_count() or 1, MOST_THREADS)
    if num_threads <= 1:
        return [work(item) for item in given]
    with ThreadPoolExecutor(num_threads, thread_name_prefix="sqlinfer-images") as pool:
        return list(pool.map(work, given))
