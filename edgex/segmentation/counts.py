"""Pixels of each image by their class and by what a network takes them for."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgex.preprocess import LARGEST_SIDE

VOID = 255
"""The index of pixels of which nobody says what they show."""

MOST_CLASSES = VOID
"""So many indices fit into a byte beside :data:`VOID`."""

MOST_PIXELS = LARGEST_SIDE**2
"""Of a map, as of what a network reads."""

Counts = NDArray[np.int64]
Column = NDArray[Any]


@dataclass(frozen=True, eq=False)
class ClassPixels:
    """Of each image and class, int64 (images, classes).

    Attributes:
        hits: pixels of the class that are taken for it.
        truth: pixels of the class.
        said: pixels that are taken for it.
    """

    hits: Counts
    truth: Counts
    said: Counts

    def __len__(self) -> int:
        return len(self.hits)

    @property
    def classes(self) -> int:
        return int(self.hits.shape[1])

    @property
    def unions(self) -> Counts:
        """Pixels that are of the class, or are taken for it."""
        return self.truth + self.said - self.hits

    @property
    def columns(self) -> Counts:
        """Hits, and then unions, (images, 2 × classes)."""
        return np.concatenate([self.hits, self.unions], axis=1)

    def of(self, rows: Column) -> "ClassPixels":
        """Of some of the images."""
        return ClassPixels(self.hits[rows], self.truth[rows], self.said[rows])


@dataclass(frozen=True, eq=False)
class Confusions:
    """A confusion matrix for each image, without its zeros, since an image shows few of all classes.

    Attributes:
        classes: how many there are.
        starts: of each image's entries, and the end, int64 (images + 1,).
        cells: class times ``classes`` plus what it is taken for, uint16 (entries,), rising within an image.
        pixels: so many, int32 (entries,).
    """

    classes: int
    starts: Column
    cells: Column
    pixels: Column

    def __len__(self) -> int:
        return len(self.starts) - 1

    @classmethod
    def joined(cls, classes: int, images: Sequence[tuple[Column, Column]]) -> "Confusions":
        """Of several images, each as :func:`confusion_cells` counts it."""
        lengths = [0, *(len(cells) for cells, _ in images)]
        cells = np.concatenate([np.zeros(0, np.uint16), *(cells for cells, _ in images)])
        pixels = np.concatenate([np.zeros(0, np.int32), *(pixels for _, pixels in images)])
        return cls(classes, np.cumsum(lengths, dtype=np.int64), cells, pixels)

    def image(self, row: int) -> tuple[Column, Column]:
        """The entries of one image: cells and pixels."""
        entries = slice(self.starts[row], self.starts[row + 1])
        return self.cells[entries], self.pixels[entries]

    def by_class(self) -> ClassPixels:
        """The sums of rows and columns of each image's matrix, and its diagonal."""
        images = np.repeat(np.arange(len(self)), np.diff(self.starts))
        truth, said = np.divmod(self.cells.astype(np.int64), self.classes)
        shape = (len(self), self.classes)

        def summed(classes: Counts, chosen: NDArray[np.bool_]) -> Counts:
            places = (images * self.classes + classes)[chosen]
            sums = np.zeros(shape[0] * shape[1], np.int64)
            np.add.at(sums, places, self.pixels[chosen])
            return sums.reshape(shape)

        everything = np.ones(len(truth), bool)
        return ClassPixels(summed(truth, truth == said), summed(truth, everything), summed(said, everything))


def confusion_cells(truth: NDArray[np.uint8], said: NDArray[np.uint8], classes: int) -> tuple[Column, Column]:
    """Count one image: cells and pixels as in :class:`Confusions`.

    Args:
        truth: class indices (height, width); those from ``classes`` on are not counted.
        said: class indices (height, width) below ``classes``.
        classes: how many there are.
    """
    counted = truth < classes
    cells = truth[counted].astype(np.int64) * classes + said[counted]
    counts = np.bincount(cells, minlength=classes * classes)
    (found,) = np.nonzero(counts)
    return found.astype(np.uint16), counts[found].astype(np.int32)
