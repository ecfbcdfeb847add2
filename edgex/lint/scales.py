"""Which scales can quantize nothing."""

from typing import Any

import numpy as np
from numpy.typing import NDArray


def bad_scale(scales: NDArray[np.floating[Any]]) -> str:
    """A sentence about the first scale that is not a positive, normal number; empty if all are.

    A subnormal one has few digits left, its inverse may overflow, and hardware that flushes it to zero divides by that.
    """
    smallest = np.finfo(scales.dtype).tiny
    bad = scales[~(np.isfinite(scales) & (scales >= smallest))]
    if not bad.size:
        return ""
    first = bad.flat[0]
    return f"it has the scale {first}" + (", a subnormal number" if 0 < first < smallest else "")
