"""Images that an artifact classifies otherwise than the baseline: some to look at."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from edgex.page.pictures import fitted, image_of, jpeg_uri
from edgex.predictions import Predictions
from edgex.preprocess import Pixels

MOST_FLIPS = 24
"""Of an artifact."""

LOST_FLIPS = 16
"""Of those, while there are gained ones for the rest."""

THUMBNAIL = 96
"""Pixels of the longer side at most."""


@dataclass(frozen=True)
class Flip:
    """An image that one of two models gets right.

    Attributes:
        before: class by the baseline, and its probability; so ``after`` by the artifact.
        thumbnail: a data URI, or None where the image cannot be read.
    """

    image: str
    label: str
    before: tuple[str, float]
    after: tuple[str, float]
    thumbnail: str | None


@dataclass(frozen=True)
class Gallery:
    """Some of the images of each way; ``lost`` are those that only the baseline gets right."""

    lost: tuple[Flip, ...]
    gained: tuple[Flip, ...]


def gallery(predictions: Predictions, artifact: str, thumbnail: Callable[[str], str | None]) -> Gallery:
    """At most ``MOST_FLIPS`` images, those first of which the artifact is surest."""
    baseline = predictions.about.models[0]
    before, after = predictions.hits(baseline), predictions.hits(artifact)
    surest = np.argsort(-predictions.of[artifact].probability, kind="stable")
    lost, gained = (surest[flipped[surest]].tolist() for flipped in (before & ~after, after & ~before))
    lost = lost[: max(LOST_FLIPS, MOST_FLIPS - len(gained))]
    gained = gained[: MOST_FLIPS - len(lost)]

    def said(model: str, row: int) -> tuple[str, float]:
        one = predictions.of[model]
        return predictions.about.class_names[one.top1[row]], float(one.probability[row])

    def flip(row: int) -> Flip:
        name, label = predictions.about.names[row], predictions.about.class_names[predictions.labels[row]]
        return Flip(name, label, said(baseline, row), said(artifact, row), thumbnail(name))

    return Gallery(tuple(map(flip, lost)), tuple(map(flip, gained)))


def thumbnail_uri(pixels: Pixels) -> str:
    """A small JPEG as a data URI, of pixels (height, width, 1 or 3)."""
    return jpeg_uri(fitted(image_of(pixels), min(THUMBNAIL, max(pixels.shape[:2]))))
