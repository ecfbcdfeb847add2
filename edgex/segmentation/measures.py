"""Figures of one file: IoU of each class, their mean, pixel accuracy."""

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from edgex.segmentation.bootstrap import Estimate, Figure, Part, estimates
from edgex.segmentation.counts import ClassPixels, Counts


@dataclass(frozen=True, eq=False)
class Measures:
    """Of one file on some images. Fractions, not percent.

    Attributes:
        pixels: by image and class.
    """

    pixels: ClassPixels

    @property
    def images(self) -> int:
        return len(self.pixels)

    @cached_property
    def truth(self) -> Counts:
        """Pixels of each class, (classes,)."""
        truth: Counts = self.pixels.truth.sum(axis=0)
        return truth

    @cached_property
    def class_iou(self) -> tuple[float | None, ...]:
        """Intersection over union by class index; None of a class that is neither there nor said to be."""
        hits, unions = self.pixels.hits.sum(axis=0).tolist(), self.pixels.unions.sum(axis=0).tolist()
        return tuple(hit / union if union else None for hit, union in zip(hits, unions, strict=True))

    @cached_property
    def miou(self) -> Estimate:
        """The mean over the classes that are there, or are said to be."""
        (found,) = estimates(self.pixels.columns, [Figure((mean_iou(self.pixels.classes),))], 0, 1)
        return found

    @cached_property
    def pixel_accuracy(self) -> Estimate:
        """The share of pixels that are taken for what they are."""
        columns = np.stack([self.pixels.hits.sum(axis=1), self.pixels.truth.sum(axis=1)], axis=1)
        (found,) = estimates(columns, [Figure((Part(1, [0], [1]),))], 0, 1)
        return found

    @cached_property
    def chance(self) -> float:
        """The mean IoU of always saying the commonest class: that has its share, and the others that are there 0."""
        total, known = self.truth.sum(), np.count_nonzero(self.truth)
        return float(self.truth.max() / total / known) if total else 0.0


def mean_iou(classes: int, first: int = 0, factor: float = 1) -> Part:
    """Of columns of hits and then of unions, which begin with ``first``."""
    tops = range(first, first + classes)
    return Part(factor, [*tops], [top + classes for top in tops])
