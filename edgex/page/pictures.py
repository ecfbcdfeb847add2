"""Pictures that stand inside the page, as data URIs."""

import base64
import io
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from edgex.preprocess import Pixels, Preprocessing

if TYPE_CHECKING:
    from PIL.Image import Image


def as_the_model_sees_it(preprocessing: Any, pixels: Callable[[str], Pixels | None]) -> Callable[[str], Pixels | None]:
    """Images by name, cropped, padded or stretched, so that maps lie where they belong.

    Args:
        preprocessing: of the report's settings; images stay as they are where there is none.
        pixels: an image by name, uint8 (height, width, 1 or 3); None if it cannot be read.
    """
    if not isinstance(preprocessing, Mapping):  # a report from elsewhere need not say
        return pixels
    unscaled = Preprocessing.from_json({**preprocessing, "scale": "none"})

    def seen(name: str) -> Pixels | None:
        found = pixels(name)
        return None if found is None else unscaled.apply(found).round().astype(np.uint8)

    return seen


def image_of(pixels: Pixels) -> "Image":
    """Of pixels (height, width, 1 or 3)."""
    from PIL import Image

    return Image.fromarray(pixels[..., 0] if pixels.shape[2] == 1 else pixels)


def fitted(image: "Image", side: int, *, smooth: bool = True) -> "Image":
    """An image whose longer side has so many pixels, also where it had fewer; ``smooth`` mixes neighbours."""
    from PIL import Image

    width, height = (max(1, round(each * side / max(image.size))) for each in image.size)
    return image.resize((width, height), Image.Resampling.BILINEAR if smooth else Image.Resampling.NEAREST)


def jpeg_uri(image: "Image") -> str:
    return _uri(image, "JPEG", quality=85)


def png_uri(image: "Image") -> str:
    return _uri(image, "PNG")


def _uri(image: "Image", form: Literal["JPEG", "PNG"], **options: int) -> str:
    file = io.BytesIO()
    image.save(file, form, **options)
    return f"data:image/{form.lower()};base64,{base64.b64encode(file.getvalue()).decode()}"
