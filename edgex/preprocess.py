"""Preprocessing: from a decoded image to what a model was trained to read. The only place that does it.

The scales are those of ``keras.applications`` (``preprocess_input``), bit for bit:

============  =====================================================  ====================================
scale         per channel                                            trained with it
============  =====================================================  ====================================
``xception``  x / 127.5 - 1                                          Xception, InceptionV3, MobileNetV2
``none``      x                                                      models that rescale in a layer
``imagenet``  (x / 255 - mean) / standard deviation, of ImageNet     DenseNet, torchvision's models
``caffe``     blue, green, red; x - mean of ImageNet                 ResNet50, VGG16
============  =====================================================  ====================================
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import TYPE_CHECKING, Any, Literal, get_args

import numpy as np
from numpy.typing import NDArray

from edgex.errors import UsageError

if TYPE_CHECKING:
    from PIL.Image import Image

Scale = Literal["xception", "none", "imagenet", "caffe"]
Resize = Literal["stretch", "crop", "pad"]
Pixels = NDArray[np.uint8]

IMAGENET_MEAN = np.array([0.485, 0.456, 0.406], np.float32)
IMAGENET_DEVIATION = np.array([0.229, 0.224, 0.225], np.float32)
CAFFE_MEAN_BGR = np.array([103.939, 116.779, 123.68], np.float32)

LARGEST_SIDE = 4096
"""Of what a model reads, in pixels; an image of that size takes 200 MB as float32."""


@dataclass(frozen=True)
class Preprocessing:
    """What happens to an image before the model sees it; part of every plan and manifest.

    Attributes:
        size: (height, width) in pixels.
        channels: 3 for RGB, 1 for gray (luma of ITU-R BT.601).
        scale: see the module docstring.
        resize: ``stretch`` ignores the aspect ratio; ``crop`` brings the shorter side to size and cuts the longer
            one at the centre; ``pad`` brings the longer side to size and centres the image on black. All are
            bilinear with half-pixel centres, and average over the source's area when they shrink.

    Raises:
        UsageError: an unknown mode, a size that is not positive or over :data:`LARGEST_SIDE`, or a gray image with a
            scale defined on RGB.
    """

    size: tuple[int, int]
    channels: int = 3
    scale: Scale = "xception"
    resize: Resize = "stretch"

    def __post_init__(self) -> None:
        _expect_one_of("scale", self.scale, get_args(Scale))
        _expect_one_of("resize", self.resize, get_args(Resize))
        _expect_one_of("channels", self.channels, (1, 3))
        if len(self.size) != 2 or not all(isinstance(side, int) and 0 < side <= LARGEST_SIDE for side in self.size):
            raise UsageError(
                f"Preprocessing has the size {self.size!r}.",
                fix=f"Give height and width, two integers from 1 to {LARGEST_SIDE}.",
            )
        if self.channels == 1 and self.scale in ("imagenet", "caffe"):
            raise UsageError(
                f"The scale {self.scale!r} is defined on RGB, and the model reads one channel.",
                fix="Use the scale 'xception' or 'none'.",
            )

    def apply(self, image: "Pixels | Image") -> NDArray[np.float32]:
        """One image, uint8 (height, width, 1 or 3) or PIL's, as float32 (*size, channels)."""
        return self.normalize(self._resized(image))

    def normalize(self, pixels: Pixels) -> NDArray[np.float32]:
        """Scale pixels that already have size and channels: uint8 (…, channels) to float32 of the same shape."""
        values = pixels.astype(np.float32)
        match self.scale:
            case "none":
                return values
            case "xception":
                values /= 127.5
                values -= 1.0
            case "imagenet":
                values /= 255.0
                values -= IMAGENET_MEAN
                values /= IMAGENET_DEVIATION
            case "caffe":
                values = values[..., ::-1] - CAFFE_MEAN_BGR
        return values

    def to_json(self) -> dict[str, Any]:
        """The attributes as JSON values."""
        return {**asdict(self), "size": list(self.size)}

    @classmethod
    def from_json(cls, document: Mapping[str, Any], source: str = "The preprocessing") -> "Preprocessing":
        """The inverse of :meth:`to_json`; what is left out takes its default.

        Raises:
            UsageError: an unknown or missing key, or a value that the class refuses; names ``source``.
        """
        known = [field.name for field in fields(cls)]
        unknown = sorted(set(document) - set(known))
        if unknown:
            raise UsageError(f"{source} has unknown keys: {', '.join(unknown)}.", fix=f"Known are {', '.join(known)}.")
        try:
            return cls(**{**document, "size": tuple(document["size"])})
        except (KeyError, TypeError):
            raise UsageError(f"{source} has no size.", fix='Add "size": [height, width].') from None

    def _resized(self, image: "Pixels | Image") -> Pixels:
        """uint8 (*size, channels)."""
        from PIL import Image, ImageOps

        height, width = self.size
        if not isinstance(image, Image.Image):
            image = Image.fromarray(image[..., 0] if image.shape[-1] == 1 else image)
        image = image.convert("L" if self.channels == 1 else "RGB")
        match self.resize:
            case "stretch":
                image = image.resize((width, height), Image.Resampling.BILINEAR)
            case "crop":
                image = ImageOps.fit(image, (width, height), Image.Resampling.BILINEAR)
            case "pad":
                image = ImageOps.pad(image, (width, height), Image.Resampling.BILINEAR)
        return np.asarray(image).reshape(height, width, self.channels)


def stretch_mask(mask: Pixels, size: tuple[int, int]) -> Pixels:
    """Class indices, uint8 (height, width), brought to ``size`` as ``stretch`` does it, but by the nearest pixel."""
    # The pixel under the centre of each, in whole numbers: floats go astray where a centre lies on an edge
    rows, columns = ((2 * np.arange(new) + 1) * old // (2 * new) for new, old in zip(size, mask.shape, strict=True))
    stretched: Pixels = mask[rows[:, np.newaxis], columns]
    return stretched


def _expect_one_of(name: str, value: object, choices: tuple[object, ...]) -> None:
    if value not in choices:
        listed = ", ".join(map(str, choices))
        raise UsageError(f"Preprocessing has the unknown {name} {value!r}.", fix=f"Choose one of {listed}.")
