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
from edgex.graph.ir import Pair
from edgex.preprocess import Pixels

if TYPE_CHECKING:
    from PIL.Image import Image

FORMATS = ("BMP", "GIF", "JPEG", "PNG", "TIFF", "WEBP")
"""The only decoders of Pillow that ever see a file; its others are rarely used and rarely audited."""

SUFFIXES = frozenset({".bmp", ".gif", ".jpeg", ".jpg", ".png", ".tif", ".tiff", ".webp"})

MAX_PIXELS = 64_000_000
"""Stricter than Pillow's own limit, so that any image within it decodes into 192 MB or less."""

UNKNOWN = f"not a {', '.join(FORMATS[:-1])} or {FORMATS[-1]} image"

QUARTER_TURNS = (5, 6, 7, 8)
"""EXIF orientations that swap height and width."""

PNG_BITS, PNG_KIND = 24, 25
"""Bytes of a PNG's header, which comes first: bits of a sample, and what samples are."""

PNG_GRAY, PNG_PALETTE, PNG_ALPHA = 0, 3, 4
"""What samples are (ISO/IEC 15948, 11.2.2)."""


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
            _check_pixels(image)
            reoriented = image.getexif().get(ExifTags.Base.Orientation, 1) != 1
            ImageOps.exif_transpose(image, in_place=True)
            return DecodedImage(np.asarray(_to_rgb(image)), reoriented)
    except UnidentifiedImageError as error:
        raise DataError(f"{name}: {UNKNOWN}") from error
    except Exception as error:  # on damaged bytes Pillow's decoders raise every kind there is
        raise DataError(f"{name}: {str(error) or type(error).__name__}") from error


def upright_shape(content: bytes, name: str) -> Pair:
    """(height, width) of what :func:`decode` makes of a file, from its header alone. DataError as of that."""
    from PIL import ExifTags, Image, UnidentifiedImageError

    try:
        with Image.open(io.BytesIO(content), formats=FORMATS) as image:
            turned = image.getexif().get(ExifTags.Base.Orientation, 1) in QUARTER_TURNS
            return (image.width, image.height) if turned else (image.height, image.width)
    except UnidentifiedImageError as error:
        raise DataError(f"{name}: {UNKNOWN}") from error
    except Exception as error:  # as above
        raise DataError(f"{name}: {str(error) or type(error).__name__}") from error


def decode_mask(content: bytes, name: str) -> Pixels:
    """The class index of each pixel, uint8 (height, width), from a PNG with a palette or in gray.

    The values are taken as they are stored: the colours of a palette mean nothing, and gray of fewer than 8 bits is
    not brought to the range of 8.

    Raises:
        DataError: the bytes are damaged, no PNG, in colour, or describe too many pixels. The message starts with
            ``name``.
    """
    from PIL import Image, UnidentifiedImageError

    try:
        with Image.open(io.BytesIO(content), formats=("PNG",)) as image:
            _check_pixels(image)
            bits, kind = content[PNG_BITS], content[PNG_KIND]
            if kind not in (PNG_GRAY, PNG_PALETTE):
                what = "gray with transparency" if kind == PNG_GRAY + PNG_ALPHA else "a colour image"
                raise ValueError(f"{what}, and no class indices; save it with a palette or in gray")
            pixels = np.asarray(image)
            if kind == PNG_GRAY and bits < 8:
                pixels = pixels // ((256 - 1) // (2**bits - 1)) if bits > 1 else pixels
            if bits > 8 and pixels.max() > np.iinfo(np.uint8).max:
                raise ValueError(f"it has the index {pixels.max()}, which no mask can have")
            return pixels.astype(np.uint8)
    except UnidentifiedImageError as error:
        raise DataError(f"{name}: not a PNG image") from error
    except Exception as error:  # as above
        raise DataError(f"{name}: {str(error) or type(error).__name__}") from error


def _check_pixels(image: "Image") -> None:
    if image.width * image.height > MAX_PIXELS:
        raise ValueError(f"{image.width}x{image.height} pixels are over the limit of {MAX_PIXELS:,}")


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
