"""Images of which an artifact labels most pixels otherwise than the baseline, to look at."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from edgex.dataset import VOID
from edgex.page.pictures import fitted, image_of, jpeg_uri, png_uri
from edgex.preprocess import Pixels
from edgex.segmentation.predictions import MapPredictions

SIDE = 160
"""Pixels of the longer side of a picture; smaller ones are enlarged, so that their pixels show."""

MOST_SHOWN = 12
"""Of an artifact."""

Colour = tuple[int, int, int]
"""Red, green and blue."""

VOID_COLOUR: Colour = (224, 224, 192)
COLOUR_BITS = 8


@dataclass(frozen=True)
class ChangedMap:
    """An image; the pictures are data URIs.

    Attributes:
        share: of its pixels that changed.
        picture: the image itself, or None where it cannot be read.
        before: by the baseline; ``after`` by the artifact.
    """

    image: str
    share: float
    picture: str | None
    truth: str
    before: str
    after: str


def changed_maps(
    predictions: MapPredictions, artifact: str, picture: Callable[[str], str | None]
) -> tuple[ChangedMap, ...]:
    """Those kept of which ``artifact`` changes most pixels, most first."""
    kept, changed = predictions.kept, predictions.changed(artifact)
    number = predictions.about.models.index(artifact)
    height, width = predictions.about.size
    places = [(-int(changed[row]), place, row) for place, row in enumerate(kept.rows.tolist()) if changed[row]]
    return tuple(
        ChangedMap(
            image=predictions.about.names[row],
            share=-negative / (height * width),
            picture=picture(predictions.about.names[row]),
            truth=map_uri(kept.truth[place]),
            before=map_uri(kept.maps[0, place]),
            after=map_uri(kept.maps[number, place]),
        )
        for negative, place, row in sorted(places)[:MOST_SHOWN]
    )


def class_colour(index: int) -> Colour:
    """Those of PASCAL VOC, of which neighbours are far apart.

    The bits of the index go to the three colours in turns, from the lowest one, each to their highest free bit.
    """
    channels = [
        sum((index >> (3 * place + channel) & 1) << (COLOUR_BITS - 1 - place) for place in range(COLOUR_BITS))
        for channel in range(3)
    ]
    return channels[0], channels[1], channels[2]


def css_colour(colour: Colour) -> str:
    return "#" + "".join(f"{part:02x}" for part in colour)


def map_uri(labels: Pixels) -> str:
    """A small PNG as a data URI, of class indices (height, width), in the colours of the classes."""
    from PIL import Image

    colours = np.array([*(class_colour(index) for index in range(VOID)), VOID_COLOUR], np.uint8)
    image = Image.fromarray(labels)
    image.putpalette(colours.tobytes())
    return png_uri(fitted(image, SIDE, smooth=False))


def picture_uri(pixels: Pixels) -> str:
    """A small JPEG as a data URI, of pixels (height, width, 1 or 3)."""
    return jpeg_uri(fitted(image_of(pixels), SIDE))
