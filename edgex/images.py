"""Decoding: from the bytes of an image file to upright RGB pixels.

=====================  ====================================================================================
in the file            becomes
=====================  ====================================================================================
gray, palette, CMYK    RGB
16 bits                the high byte
transparency           composited on white, as viewers show it; what hides under it is arbitrary
EXIF orientation       applied
several frames         the first
32-bit integer, float  refused: nothing says which value is white
=====================  ====================================================================================
"""

import io
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from edgex.errors import DataError
from edgex.preprocess import Pixels

if TYPE_CHECKING:
    from PIL.Image import Image

FORMATS = ("BMP", "GIF", "JPEG", "PNG", "TIFF", "WEBP")
"""The only decoders of Pillow that ever see a file; its others are rarely used and rarely audited."""

SUFFIXES = frozenset({".bmp", ".gif", ".jpeg", ".jpg", ".png", ".tif", ".tiff", ".webp"})

MAX_PIXELS = 64_000_000
"""Stricter than Pillow's own limit, so that any image within it decodes into 192 MB or less."""


class DecodedImage(NamedTuple):
    """Pixels uint8 (height, width, 1 or 3), and whether the EXIF orientation turned or mirrored them."""

    pixels: Pixels
    reoriented: bool = False


def is_image(name: str) -> bool:
    """Whether a file's name ends like an image's."""
    return PurePosixPath(name).suffix.lower() in SUFFIXES


def decode(content: bytes, name: str) -> DecodedImage:
    """Decode a whole image file.

    Raises:
        DataError: the bytes are damaged, of no known format, or describe more than ``MAX_PIXELS``, which is found
            out before pixels are allocated. The message starts with ``name``.
    """
    from PIL import ExifTags, Image, ImageOps, UnidentifiedImageError

    try:
        with Image.open(io.BytesIO(content), formats=FORMATS) as image:
            if image.width * image.height > MAX_PIXELS:
                raise ValueError(f"{image.width}x{image.height} pixels are over the limit of {MAX_PIXELS:,}")
            reoriented = image.getexif().get(ExifTags.Base.Orientation, 1) != 1
            ImageOps.exif_transpose(image, in_place=True)
            return DecodedImage(np.asarray(_to_rgb(image)), reoriented)
    except UnidentifiedImageError as error:
        raise DataError(f"{name}: not a {', '.join(FORMATS[:-1])} or {FORMATS[-1]} image") from error
    except Exception as error:  # on damaged bytes Pillow's decoders raise every kind there is
        raise DataError(f"{name}: {str(error) or type(error).__name__}") from error


def _to_rgb(image: "Image") -> "Image":
    from PIL import Image

    if image.mode.startswith("I;16"):
        return Image.fromarray((np.asarray(image) >> 8).astype(np.uint8)).convert("RGB")
    if image.mode in ("I", "F"):
        raise ValueError("32-bit pixels, and nothing says which value is white")
    if image.has_transparency_data:
        image = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image)
    return image.convert("RGB")
