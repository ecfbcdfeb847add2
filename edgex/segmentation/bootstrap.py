"""Bounds on figures of whole sets of images: the bootstrap, with images drawn and never pixels.

A figure such as mean IoU is made of ratios of sums over images. Its spread is seen in sets that are drawn from the
images with replacement. Bounds are those of the bootstrap-t (B. Efron and R. Tibshirani, An Introduction to the
Bootstrap, 1993, section 12.5): how far the figure of a drawn set lies from that of all images is measured in the
standard error of that set, which here follows from the sums by the delta method. Unlike percentiles, plain or
corrected, that keeps one-sided bounds honest where a few of not many images change much; a test of this package
simulates it.

What they know of the world are the images: of a kind of image that none of them is, they say nothing. Of what fewer
than :data:`FEWEST_IMAGES` show, nothing is proven: the bounds are then all that a figure can be.

Draws come from the raw bits of PCG64 with a fixed seed, which are the same in every version of numpy and on every
machine, and sums of whole numbers are exact. So a bound can be computed again, and must come out the same.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from edgex.proportions import ERROR

RESAMPLES = 4000
"""Sets drawn."""

SEED = 0

FEWEST_IMAGES = 30
"""With which bounds begin to hold."""

LEAST_SPREAD = 0.25
"""Of a drawn set, in standard errors of all images: a set in which by chance nothing changes has none of its own.

Where one image of many changes, its bound then lies at five times of what that one costs, where the limit of a count of
one lies (4.74, by Poisson's distribution).
"""

CHUNK_BYTES = 1 << 20
"""Of draws at a time."""

Figures = NDArray[np.float64]
Columns = NDArray[np.int64]


@dataclass(frozen=True)
class Part:
    """The mean of ratios of sums over those that are no 0/0, times ``factor``.

    Attributes:
        tops: columns of the sums, one for each ratio; so ``bottoms``.
    """

    factor: float
    tops: Sequence[int]
    bottoms: Sequence[int]


@dataclass(frozen=True)
class Figure:
    """A sum of parts; NaN if one has no ratio that is known."""

    parts: tuple[Part, ...]

    @property
    def used(self) -> list[int]:
        """The columns that it is made of."""
        return sorted({column for part in self.parts for column in (*part.tops, *part.bottoms)})

    def of(self, sums: Figures) -> tuple[Figures, Figures]:
        """From sums (sets, columns) to the figure of each set (sets,), and its slopes by the columns ``used``."""
        values, slopes = np.zeros(len(sums)), np.zeros_like(sums)
        for part in self.parts:
            tops, bottoms = sums[:, part.tops], sums[:, part.bottoms]
            known = bottoms > 0
            weights = np.full(len(sums), np.nan)
            np.divide(part.factor, known.sum(axis=1), out=weights, where=known.any(axis=1))
            inverse = np.where(known, 1 / np.where(known, bottoms, 1), 0)
            ratios = tops * inverse
            values += weights * ratios.sum(axis=1)
            slopes[:, part.tops] += weights[:, np.newaxis] * inverse
            slopes[:, part.bottoms] -= weights[:, np.newaxis] * ratios * inverse
        return values, slopes[:, self.used]


@dataclass(frozen=True, eq=False)
class Estimate:
    """A figure with bounds.

    Attributes:
        value: of all images.
        deviation: its standard error.
        distances: of drawn sets from it, each in standard errors of its own, rising.
        images: that were drawn from.
        shown: of those, how many add anything to the figure.
        least: no bound lies below it; so ``most`` above.
    """

    value: float
    deviation: float
    distances: Figures
    images: int
    shown: int
    least: float
    most: float

    @property
    def enough(self) -> bool:
        """Whether so many images show it that bounds hold; else they are ``least`` and ``most``."""
        return self.shown >= FEWEST_IMAGES

    def lower(self, error: float = ERROR) -> float:
        """The one-sided bound that is above the true value with a chance of ``error``."""
        return self._bound(1 - error)

    def upper(self, error: float = ERROR) -> float:
        """The one-sided bound that is below the true value with a chance of ``error``."""
        return self._bound(error)

    def interval(self, error: float = ERROR) -> tuple[float, float]:
        """Two-sided."""
        return self.lower(error / 2), self.upper(error / 2)

    def _bound(self, share: float) -> float:
        if math.isnan(self.value):
            return self.value
        if not self.enough:
            return self.most if share < 0.5 else self.least
        count = len(self.distances)
        place = min(max(math.ceil(share * count) - 1, 0), count - 1) if share < 0.5 else math.floor(share * count)
        bound = self.value - self.deviation * float(self.distances[min(place, count - 1)])
        return min(max(bound, self.least), self.most)


def estimates(columns: Columns, figures: Sequence[Figure], least: float, most: float) -> list[Estimate]:
    """Draw sets from images, and see how far figures spread.

    Args:
        columns: of which figures are made, (images, columns).
        figures: to estimate.
        least: that a figure can be.
        most: that it can be.

    Raises:
        ValueError: there are no images.
    """
    count = len(columns)
    if not count:
        raise ValueError("no images to draw from")
    values = columns.astype(np.float64)
    of_all = [figure.of(values.sum(axis=0)[np.newaxis]) for figure in figures]
    shown = [_Shown.of(values, figure) for figure in figures]
    errors = [each.error(np.ones((1, count)), slopes)[0] for each, (_, slopes) in zip(shown, of_all, strict=True)]
    found: list[list[Figures]] = [[] for _ in figures]
    bits = np.random.PCG64(SEED)
    step = max(1, CHUNK_BYTES // (8 * count))
    for first in range(0, RESAMPLES, step):
        times = _draw(bits, min(step, RESAMPLES - first), count)
        sums = times @ values
        for distances, figure, each, (value, _), error in zip(found, figures, shown, of_all, errors, strict=True):
            drawn, slopes = figure.of(sums)
            spread = np.maximum(each.error(times, slopes), LEAST_SPREAD * error)
            distances.append(np.divide(drawn - value, spread, out=np.zeros_like(drawn), where=spread != 0))
    return [
        Estimate(
            float(value[0]), float(error), _rising(np.concatenate(distances)), count, len(each.images), least, most
        )
        for each, (value, _), error, distances in zip(shown, of_all, errors, found, strict=True)
    ]


def _draw(bits: np.random.PCG64, sets: int, count: int) -> Figures:
    """How often each image is in each set, (sets, images); each has as many as there are."""
    raw: NDArray[np.uint64] = bits.random_raw(sets * count)
    # The upper 32 bits as a fraction of all, times the number of images: whole numbers throughout
    images = ((raw >> np.uint64(32)) * np.uint64(count)) >> np.uint64(32)
    places = images.astype(np.int64).reshape(sets, count) + count * np.arange(sets)[:, np.newaxis]
    return np.bincount(places.ravel(), minlength=sets * count).reshape(sets, count).astype(np.float64)


@dataclass(frozen=True)
class _Shown:
    """What images add to the sums of a figure.

    Attributes:
        images: those that add anything.
        values: of them, (columns used, images).
        count: of all images.
    """

    images: NDArray[np.int64]
    values: Figures
    count: int

    @classmethod
    def of(cls, values: Figures, figure: Figure) -> "_Shown":
        used = values[:, figure.used]
        (images,) = np.nonzero(used.any(axis=1))
        return cls(images, np.ascontiguousarray(used[images].T), len(values))

    def error(self, times: Figures, slopes: Figures) -> Figures:
        """Standard error of the figure of each set (sets,), by the delta method.

        The slopes weigh what each image adds to the sums. A ratio of sums does not change with their size, so over a
        set what the images add comes to 0, and their mean need not be taken off.
        """
        added = slopes @ self.values
        np.square(added, out=added)
        added *= times if len(self.images) == self.count else times[:, self.images]
        spread: Figures = np.sqrt(added.sum(axis=1) * (self.count / max(self.count - 1, 1)))
        return spread


def _rising(distances: Figures) -> Figures:
    """Sorted, without sets that do not tell the figure; a single 0 if none does."""
    known = np.sort(distances[np.isfinite(distances)])
    return known if len(known) else np.zeros(1)
