"""Histograms of a tensor's values in constant memory, and the ranges that fit them best.

Of the three criteria, ``percentile`` cuts a share of the values off, ``mse`` weighs what clipping costs against what
coarse steps cost, and ``entropy`` keeps the shape of the distribution.

Exact zeros, more than half of the values after a ReLU, count for percentiles only. Every range has a zero point, so
they lose nothing by any of them; as part of the shape they would hide all else, and make the narrowest range look best.
"""

from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from edgex.graph.ir import Array
from edgex.plan import SMALLEST_SCALE, Range, Scheme, quantization_parameters

HistogramMethod = Literal["percentile", "mse", "entropy"]
Counts = NDArray[np.int64]

BINS = 4096
"""Over a whole range: 16 for each step of 8 bits, as in NVIDIA's calibration."""

SHRINKING = 2.0 ** -np.arange(0, 6, 1 / 16)
"""What the ends of a range are tried at, as shares of the outermost values, down to a sixtieth of them."""

NARROWEST = 1 / 16
"""Where a step is as fine as a bin, and so the entropy can tell no more."""


@dataclass(frozen=True)
class Histogram:
    """Counts of values.

    Attributes:
        span: what the bins divide evenly; it holds zero, and all values but for float rounding.
        counts: (BINS,)
        zeros: how many of the values are exactly zero.
    """

    span: Range
    counts: Counts
    zeros: int

    @classmethod
    def of(cls, values: Array, span: Range) -> "Histogram":
        """Of values of any shape."""
        counts = np.bincount(_bins(values, span).ravel(), minlength=BINS)
        return cls(span, counts, values.size - int(np.count_nonzero(values)))

    def __add__(self, other: "Histogram") -> "Histogram":
        """Of the values of both, which have one span."""
        return replace(self, counts=self.counts + other.counts, zeros=self.zeros + other.zeros)

    @property
    def edges(self) -> NDArray[np.float64]:
        """(BINS + 1,)"""
        return np.linspace(self.span.low, self.span.high, BINS + 1)

    @property
    def centres(self) -> NDArray[np.float64]:
        """(BINS,)"""
        edges = self.edges
        centres: NDArray[np.float64] = (edges[:-1] + edges[1:]) / 2
        return centres

    def counts_but_zeros(self) -> Counts:
        """(BINS,)"""
        counts = self.counts.copy()
        counts[_bins(np.zeros((), np.float32), self.span)] -= self.zeros
        return counts


def best_range(histogram: Histogram, method: HistogramMethod, scheme: Scheme, percentile: float) -> Range:
    """The range that a method makes of what was seen; ``percentile`` is for the method of that name."""
    match method:
        case "percentile":
            return percentile_range(histogram, percentile)
        case "mse":
            return least_error_range(histogram, scheme)
        case "entropy":
            return least_divergence_range(histogram, scheme)


def percentile_range(histogram: Histogram, percentile: float) -> Range:
    """The range that leaves out ``100 - percentile`` percent of the values, half of them at each end."""
    cumulative = np.cumsum(histogram.counts)
    outside = (1 - percentile / 100) / 2 * cumulative[-1]
    edges = histogram.edges
    first = int(np.searchsorted(cumulative, outside, side="right"))
    last = int(np.searchsorted(cumulative, cumulative[-1] - outside, side="left"))
    return Range(min(float(edges[first]), 0.0), max(float(edges[last + 1]), 0.0))


def least_error_range(histogram: Histogram, scheme: Scheme) -> Range:
    """The range of least mean squared error.

    A value inside is rounded by a step, which costs step² / 12 on average (W. R. Bennett, Bell System Technical
    Journal 27, 1948, 446-472); one outside costs its squared distance. So the bins need not be finer than the steps.
    """
    counts, centres = histogram.counts_but_zeros(), histogram.centres
    lows, highs = histogram.span.low * SHRINKING, histogram.span.high * SHRINKING
    below = np.square(np.maximum(lows[:, np.newaxis] - centres, 0)) @ counts
    above = np.square(np.maximum(centres - highs[:, np.newaxis], 0)) @ counts
    steps = _steps(lows[:, np.newaxis], highs, scheme)
    errors = counts.sum() * steps**2 / 12 + below[:, np.newaxis] + above
    low, high = np.unravel_index(errors.argmin(), errors.shape)
    return Range(float(lows[low]), float(highs[high]))


def least_divergence_range(histogram: Histogram, scheme: Scheme) -> Range:
    """The range whose quantized distribution is nearest to the real one.

    As in S. Migacz, 8-bit Inference with TensorRT, GTC 2017: both ends are cut at one threshold, what lies outside is
    counted at the ends, and the Kullback-Leibler divergence from there to the distribution after rounding is least.
    There all values are magnitudes; here both signs are kept, and the steps are those of the scheme.
    """
    counts = histogram.counts_but_zeros()
    if not counts.any():
        return histogram.span
    reach = max(-histogram.span.low, histogram.span.high)
    thresholds = reach * SHRINKING[SHRINKING >= NARROWEST]
    ranges = [Range(max(-limit, histogram.span.low), min(limit, histogram.span.high)) for limit in thresholds.tolist()]
    return min(ranges, key=lambda span: _divergence(histogram, counts, span, scheme))


def _bins(values: Array, span: Range) -> Counts:
    """Which bin each value falls into."""
    width = max(span.high - span.low, float(SMALLEST_SCALE))
    bins = ((values - np.float32(span.low)) * np.float32(BINS / width)).astype(np.int64)
    return np.clip(bins, 0, BINS - 1)


def _steps(lows: NDArray[np.float64], highs: NDArray[np.float64], scheme: Scheme) -> NDArray[np.float64]:
    """As :func:`edgex.plan.quantization_parameters`, of many ranges."""
    return np.maximum(-lows, highs) / 127 if scheme == "symmetric" else (highs - lows) / 255


def _divergence(histogram: Histogram, counts: Counts, span: Range, scheme: Scheme) -> float:
    """Kullback-Leibler divergence, in nats, of what ``span`` makes of the values from what they are, clipped to it."""
    centres = histogram.centres
    inside = np.flatnonzero((centres > span.low) & (centres < span.high))
    clipped = counts[inside].astype(np.float64)
    clipped[0] += counts[: inside[0]].sum()
    clipped[-1] += counts[inside[-1] + 1 :].sum()
    levels = np.rint(centres[inside] / float(quantization_parameters(span, scheme).scale)).astype(np.int64)
    levels -= levels[0]
    # A level's values are spread evenly over those of its bins that hold any. A bin that holds clipped values only is
    # taken to have one of its own: a distribution without it would be infinitely far
    held = clipped > 0
    in_level = np.bincount(levels, weights=counts[inside]) / np.maximum(np.bincount(levels, weights=held), 1)
    real, rounded = clipped[held], np.maximum(in_level[levels[held]], 1)
    real, rounded = real / real.sum(), rounded / rounded.sum()
    return float((real * np.log(real / rounded)).sum())
