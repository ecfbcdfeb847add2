"""Intervals of medians and of ratios, by resampling blocks (bootstrap; Efron, Tibshirani 1993).

Neighbouring samples share a process and the machine's mood, so they are no independent evidence; blocks are. Of few
blocks the plain percentiles lie too close: they are moved out to where Student's t and the missing degree of freedom
would have them (T. Hesterberg, The American Statistician 69, 2015, "expanded percentile interval").
"""

from collections.abc import Sequence
from dataclasses import dataclass
from math import sqrt
from statistics import NormalDist

import numpy as np
from numpy.typing import NDArray

RESAMPLES = 2_000
LEVEL = 0.95

Milliseconds = NDArray[np.float64]


@dataclass(frozen=True)
class Interval:
    """A 95 % interval."""

    low: float
    high: float

    def half_width(self, value: float) -> float:
        """As a fraction of the value."""
        return (self.high - self.low) / 2 / value

    def __contains__(self, value: float) -> bool:
        return self.low <= value <= self.high


def median_interval(blocks: Sequence[Milliseconds], seed: int) -> Interval:
    """Of the latency, from the medians of its blocks; widened to the median of all runs where that lies beyond."""
    medians = np.array([np.median(block) for block in blocks])
    found = expanded_interval(np.median(medians[_drawn(len(blocks), seed)], axis=1), len(blocks))
    overall = float(np.median(np.concatenate(blocks)))
    return Interval(min(found.low, overall), max(found.high, overall))


def paired_ratio(rounds: Sequence[Sequence[float]], seed: int) -> tuple[float, Interval]:
    """The ratio of two latencies, and its interval.

    Args:
        rounds: for each round, the ratios of neighbouring bursts. Neighbours share a moment of the machine, which is
            gone from their ratio; the median leaves out those that something came between.
        seed: of the drawing.
    """
    logs = np.array([np.median(np.log(ratios)) for ratios in rounds])
    medians = np.median(logs[_drawn(len(logs), seed)], axis=1)
    found = expanded_interval(medians, len(logs))
    return float(np.exp(np.median(logs))), Interval(float(np.exp(found.low)), float(np.exp(found.high)))


def _drawn(count: int, seed: int) -> NDArray[np.int64]:
    return np.random.default_rng(seed).integers(0, count, (RESAMPLES, count))


def expanded_interval(resampled: NDArray[np.float64], blocks: int) -> Interval:
    """The interval from what resampling so many blocks gave."""
    if blocks < 2:
        return Interval(float(resampled.min()), float(resampled.max()))
    reach = _student_quantile((1 + LEVEL) / 2, blocks - 1) * sqrt(blocks / (blocks - 1))
    low, high = np.quantile(resampled, (NormalDist().cdf(-reach), NormalDist().cdf(reach))).tolist()
    return Interval(low, high)


def _student_quantile(share: float, freedom: float) -> float:
    """Of Student's t: Abramowitz and Stegun 26.7.5, right to a thousandth from nine degrees of freedom on."""
    z = NormalDist().inv_cdf(share)
    terms = (
        z,
        (z**3 + z) / 4,
        (5 * z**5 + 16 * z**3 + 3 * z) / 96,
        (3 * z**7 + 19 * z**5 + 17 * z**3 - 15 * z) / 384,
    )
    return sum(term / float(freedom) ** power for power, term in enumerate(terms))
