"""Two files on the same images: what became of mean IoU, of pixel accuracy, of each class, and of the maps."""

from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from edgex.comparison import Drop
from edgex.segmentation.bootstrap import Estimate, Figure, Part, estimates
from edgex.segmentation.counts import ClassPixels, Counts
from edgex.segmentation.measures import Measures, mean_iou


@dataclass(frozen=True, eq=False)
class ClassChange:
    """IoU of one class.

    Attributes:
        images: that show it, which are those that bound its drop.
        pixels: of it, in all images.
        baseline: IoU, a fraction; None if the class is neither there nor said to be. So ``other``.
        drop: in points; None if it has not an IoU by both.
    """

    name: str
    images: int
    pixels: int
    baseline: float | None
    other: float | None
    drop: Estimate | None


@dataclass(frozen=True, eq=False)
class Agreement:
    """Of maps that both files make, void pixels included: how many pixels of each image are equal, of ``size``."""

    equal: NDArray[np.int64]
    size: int

    @property
    def share(self) -> float:
        return float(self.equal.sum()) / (self.size * len(self.equal))

    @cached_property
    def estimate(self) -> Estimate:
        """Of the share."""
        columns = np.stack([self.equal, np.full_like(self.equal, self.size)], axis=1)
        (found,) = estimates(columns, [Figure((Part(1, [0], [1]),))], 0, 1)
        return found


@dataclass(frozen=True, eq=False)
class MapComparison:
    """A file against a baseline, on the same images.

    Attributes:
        names: of the classes, by index.
        baseline: its pixels, by image and class; so ``other``. Their truth is the same.
        discordant: images of which the maps differ anywhere.
        agreement: None where maps were not compared pixel by pixel.
    """

    names: tuple[str, ...]
    baseline: ClassPixels
    other: ClassPixels
    discordant: int
    agreement: Agreement | None

    @property
    def images(self) -> int:
        return len(self.baseline)

    @property
    def enough(self) -> bool:
        """Whether the drop has bounds at all."""
        return self.estimate.enough

    @cached_property
    def of_baseline(self) -> Measures:
        return Measures(self.baseline)

    @property
    def drop(self) -> Drop:
        """Of mean IoU."""
        found = self.estimate
        return Drop(points=found.value, low=found.lower(), high=found.upper())

    @property
    def absent(self) -> list[str]:
        """Classes without pixels."""
        there = self.baseline.truth.sum(axis=0).tolist()
        return [name for name, found in zip(self.names, there, strict=True) if not found]

    @cached_property
    def estimate(self) -> Estimate:
        """Of the drop, in points; negative is a gain."""
        count = len(self.names)
        figure = Figure((mean_iou(count, factor=100), mean_iou(count, first=2 * count, factor=-100)))
        (found,) = estimates(self._columns, [figure], -100, 100)
        return found

    @cached_property
    def pixel_drop(self) -> Estimate:
        """Of the drop of pixel accuracy, in points; negative is a gain. Of the same images as :attr:`estimate`."""
        columns = np.stack([each.sum(axis=1) for each in (self.baseline.hits, self.other.hits, self.baseline.truth)], 1)
        (found,) = estimates(columns, [Figure((Part(100, [0], [2]), Part(-100, [1], [2])))], -100, 100)
        return found

    @cached_property
    def classes(self) -> tuple[ClassChange, ...]:
        """By class index."""
        count = len(self.names)
        figures = [
            Figure((Part(100, [index], [index + count]), Part(-100, [index + 2 * count], [index + 3 * count])))
            for index in range(count)
        ]
        drops = estimates(self._columns, figures, -100, 100)
        ious = zip(self.of_baseline.class_iou, Measures(self.other).class_iou, strict=True)
        images = np.count_nonzero(self.baseline.truth, axis=0).tolist()
        pixels = self.baseline.truth.sum(axis=0).tolist()
        return tuple(
            ClassChange(
                name,
                images=images[index],
                pixels=pixels[index],
                baseline=before,
                other=after,
                # Where a class is only said to be, nothing is seen of how it is found
                drop=None if before is None or after is None else replace(drops[index], shown=images[index]),
            )
            for index, (name, (before, after)) in enumerate(zip(self.names, ious, strict=True))
        )

    @cached_property
    def _columns(self) -> Counts:
        return np.concatenate([self.baseline.columns, self.other.columns], axis=1)
