"""Observers: what they see of each image's tensors, and the range they make of it.

``average`` is the default. A range of smallest and largest values ever seen is at the mercy of one odd image: on a
trained Xception single images drive some tensors a hundred times over the usual. Averaging the images' own extremes
(as in TensorFlow Lite's moving-average observers, Jacob et al. 2018, arXiv:1712.05877) is robust, and leaving the
odd images out makes it independent of how many there are.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from edgex.graph.ir import Array
from edgex.plan import Range

Method = Literal["average", "minmax", "percentile"]

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

    def ranges(self, method: Literal["average", "minmax"]) -> dict[str, Range]:
        """A range for each tensor, spanning zero."""
        if method == "minmax":
            lows, highs = self.lows.min(axis=0), self.highs.max(axis=0)
        else:
            usual = ~self.odd()
            lows = np.average(self.lows, axis=0, weights=usual)
            highs = np.average(self.highs, axis=0, weights=usual)
        return {
            name: spanning_zero(float(low), float(high))
            for name, low, high in zip(self.tensors, lows, highs, strict=True)
        }


class Histogram:
    """Counts of one tensor's values in constant memory, for percentiles.

    The bins span (-limit, limit); when a value lies outside, the limit doubles and pairs of bins become one, so
    what was counted stays exact.
    """

    BINS = 8192

    def __init__(self) -> None:
        self._counts = np.zeros(self.BINS, np.int64)
        self._limit = 0.0
        self._seen = Range(0.0, 0.0)

    def add(self, values: Array) -> None:
        """Count values of any shape."""
        self._seen = self._seen.union(Range(float(values.min()), float(values.max())))
        largest = max(-self._seen.low, self._seen.high)
        if self._limit == 0.0:
            # A power of two keeps the bin edges exact however often they double
            self._limit = 2.0 ** np.ceil(np.log2(max(largest, 1e-30)))
        while largest > self._limit:
            self._double()
        counts, _ = np.histogram(values, bins=self.BINS, range=(-self._limit, self._limit))
        self._counts += counts

    def range(self, percentile: float) -> Range:
        """The range that leaves out ``100 - percentile`` percent of the values, half of them at each end."""
        cumulative = np.cumsum(self._counts)
        outside = (1 - percentile / 100) / 2 * cumulative[-1]
        edges = np.linspace(-self._limit, self._limit, self.BINS + 1)
        first = int(np.searchsorted(cumulative, outside, side="right"))
        last = int(np.searchsorted(cumulative, cumulative[-1] - outside, side="left"))
        # The outermost bins reach further than the values in them
        return spanning_zero(max(float(edges[first]), self._seen.low), min(float(edges[last + 1]), self._seen.high))

    def _double(self) -> None:
        quarter = self.BINS // 4
        pairs = self._counts.reshape(-1, 2).sum(axis=1)
        self._counts = np.concatenate([np.zeros(quarter, np.int64), pairs, np.zeros(quarter, np.int64)])
        self._limit *= 2


def spanning_zero(low: float, high: float) -> Range:
    """Zero must be exact: padding, ReLU and pruned channels are made of it."""
    return Range(min(low, 0.0), max(high, 0.0))
