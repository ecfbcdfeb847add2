"""How far two maps agree, and how they are kept."""

import numpy as np

from edgex.explanation import Heat
from edgex.graph.ir import Array

DIGITS = 3
"""Decimals of the values that are kept to be shown."""


def correlation(baseline: Array, other: Array, flat: float = 0.0) -> float | None:
    """Pearson's, over the positions of two maps of one shape.

    Args:
        baseline: what to agree with. None is returned where it is the same everywhere: it says nothing.
        other: 0 is returned where this one is the same everywhere and the baseline is not.
        flat: what a map's values may differ and still count as the same.
    """
    if np.ptp(baseline) <= flat:
        return None
    if np.ptp(other) <= flat:
        return 0.0
    a, b = (each.astype(np.float64) - each.mean(dtype=np.float64) for each in (baseline, other))
    return float(np.clip((a * b).sum() / np.sqrt((a * a).sum() * (b * b).sum()), -1, 1))


def heat(found: Array) -> Heat:
    """A map as it is shown: what speaks against the class is 0, and the most that speaks for it is 1."""
    positive = np.maximum(found, 0).astype(np.float64)
    largest = positive.max()
    scaled = np.round(positive / largest, DIGITS) if largest > 0 else positive
    return tuple(map(tuple, scaled.tolist()))
