"""Observers: what they see of each image's tensors, and the range they make of it.

``average`` is the default. A range of smallest and largest values ever seen, ``minmax``, is at the mercy of one odd
image: on a trained Xception single images drive some tensors a hundred times over the usual. Averaging the images' own
extremes (as in TensorFlow Lite's moving-average observers, Jacob et al. 2018, arXiv:1712.05877) is robust, and leaving
the odd images out makes it independent of how many there are.

The other methods look at all values, see :mod:`edgex.quantize.histogram`. They leave odd images out as well: one in a
hundred holds more values than a percentile cuts off, and clipping it costs more squared error than all others make.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from edgex.graph.ir import Array
from edgex.plan import Range
from edgex.quantize.histogram import HistogramMethod

ExtremesMethod = Literal["average", "minmax"]
Method = ExtremesMethod | HistogramMethod

ODD_FACTOR = 10.0
"""An image is odd for a tensor when it drives it this many times further than the median image does."""

FEWEST_FOR_ODD = 4
"""With fewer images a median says nothing about what is usual."""


@dataclass(frozen=True)
class OddImage:
    """An image far out of line.

    Attributes:
        image: its name.
        tensors: how many tensors it drives more than :data:`ODD_FACTOR` times over the median image.
        factor: how far it drives the worst of them, over the median image.
        worst: the name of that tensor.
    """

    image: str
    tensors: int
    factor: float
    worst: str


class ImageExtremes:
    """Smallest and largest value of each tensor in each image: 8 bytes a tensor and image, and no more."""

    def __init__(self, tensors: Sequence[str]) -> None:
        self.tensors = tuple(tensors)
        self._lows: list[Array] = []
        self._highs: list[Array] = []

    def add(self, lows: Array, highs: Array) -> None:
        """Add one image: (tensors,) each."""
        self._lows.append(lows)
        self._highs.append(highs)

    @property
    def lows(self) -> Array:
        """(images, tensors)"""
        return np.stack(self._lows)

    @property
    def highs(self) -> Array:
        """(images, tensors)"""
        return np.stack(self._highs)

    def reach(self) -> NDArray[np.float64]:
        """How far each image drives each tensor, over the median image: (images, tensors)."""
        magnitudes = np.maximum(np.abs(self.lows), np.abs(self.highs)).astype(np.float64)
        medians = np.median(magnitudes, axis=0)
        return np.divide(magnitudes, medians, out=np.zeros_like(magnitudes), where=medians > 0)

    def odd(self) -> NDArray[np.bool_]:
        """Which image is odd for which tensor: (images, tensors)."""
        reach = self.reach()
        return reach > ODD_FACTOR if len(reach) >= FEWEST_FOR_ODD else np.zeros(reach.shape, bool)

    def odd_images(self, names: Sequence[str]) -> list[OddImage]:
        """The odd images, worst first; ``names`` are those of the images, in the order they were added."""
        reach, odd = self.reach(), self.odd()
        found = [
            OddImage(name, int(of_image.sum()), float(reached.max()), self.tensors[int(reached.argmax())])
            for name, of_image, reached in zip(names, odd, reach, strict=True)
            if of_image.any()
        ]
        return sorted(found, key=lambda image: (-image.tensors, -image.factor))

    def ranges(self, method: ExtremesMethod) -> dict[str, Range]:
        """A range for each tensor, spanning zero."""
        if method == "minmax":
            return self._spanning_zero(self.lows.min(axis=0), self.highs.max(axis=0))
        usual = ~self.odd()
        return self._spanning_zero(*(np.average(ends, axis=0, weights=usual) for ends in (self.lows, self.highs)))

    def usual_ranges(self) -> dict[str, Range]:
        """The outermost values of the images that are not odd for a tensor, and zero."""
        odd = self.odd()
        return self._spanning_zero(np.where(odd, 0, self.lows).min(axis=0), np.where(odd, 0, self.highs).max(axis=0))

    def _spanning_zero(self, lows: NDArray[np.floating[Any]], highs: NDArray[np.floating[Any]]) -> dict[str, Range]:
        return {
            name: spanning_zero(float(low), float(high))
            for name, low, high in zip(self.tensors, lows, highs, strict=True)
        }


def spanning_zero(low: float, high: float) -> Range:
    """Zero must be exact: padding, ReLU and pruned channels are made of it."""
    return Range(min(low, 0.0), max(high, 0.0))
