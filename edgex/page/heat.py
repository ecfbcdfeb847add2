"""Images with a heat map over them."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from edgex.explanation import ArtifactMaps, Heat
from edgex.page.pictures import as_the_model_sees_it, fitted, image_of, jpeg_uri
from edgex.preprocess import Pixels
from edgex.report import Report

SIDE = 112
"""Pixels of the longer side."""

COLD, WARM, HOT = (np.array(colour, np.float32) for colour in ((13, 8, 135), (204, 71, 120), (240, 249, 33)))
"""From the ends and the middle of matplotlib's colour map plasma."""

OPACITY = 0.6


@dataclass(frozen=True)
class Look:
    """One image: as it is, and with each map over it, as data URIs; None where it cannot be read."""

    image: str
    label: str
    flipped: bool
    correlation: float | None
    plain: str | None
    baseline: str | None
    artifact: str | None


@dataclass(frozen=True)
class Looks:
    """All images of one artifact."""

    maps: ArtifactMaps
    images: tuple[Look, ...]


def looks(report: Report, pixels: Callable[[str], Pixels | None]) -> dict[str, Looks]:
    """What there is to see of each explained artifact, by its name; nothing where no explanation was asked for."""
    explained = () if report.explanation is None else report.explanation.artifacts
    if not explained:
        return {}
    seen = as_the_model_sees_it(report.settings.get("preprocessing"), pixels)
    return {each.name: Looks(each, tuple(_look(image, seen) for image in each.images)) for each in explained}


def _look(image: Any, seen: Callable[[str], Pixels | None]) -> Look:
    found = seen(image.image)
    drawn: tuple[str | None, str | None, str | None] = (None, None, None)
    if found is not None:
        plain = jpeg_uri(fitted(image_of(found), SIDE))
        drawn = (plain, overlaid(found, image.baseline), overlaid(found, image.artifact))
    return Look(image.image, image.label, image.flipped, image.correlation, *drawn)


def overlaid(pixels: Pixels, heat: Heat) -> str:
    """A JPEG as a data URI: pixels (height, width, 1 or 3) in gray, under the map in colours."""
    from PIL import Image

    image = fitted(image_of(pixels), SIDE)
    gray = np.asarray(image.convert("L"), np.float32)[..., np.newaxis]
    values = np.asarray(heat, np.float32)
    smooth = Image.fromarray(values, "F").resize(image.size, Image.Resampling.BILINEAR)
    warmth = np.clip(np.asarray(smooth), 0, 1)[..., np.newaxis]
    colours = np.where(warmth < 0.5, COLD + (WARM - COLD) * 2 * warmth, WARM + (HOT - WARM) * (2 * warmth - 1))
    mixed = (1 - OPACITY) * gray + OPACITY * colours
    return jpeg_uri(Image.fromarray(mixed.round().astype(np.uint8)))
