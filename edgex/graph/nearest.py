"""Which pixels :class:`edgex.graph.ir.Resize` takes by its method ``nearest``, along one axis."""

import numpy as np
from numpy.typing import NDArray


def nearest_pixels(before: int, after: int) -> NDArray[np.int64]:
    """Index of the old pixel, of ``before``, that each new one takes, (after,).

    The one under the new pixel's centre, and of two that are as near the latter, in float32 as TensorFlow and TFLite
    compute it (``half_pixel_centers``).
    """
    centres = np.arange(after, dtype=np.float32) + np.float32(0.5)
    places: NDArray[np.int64] = np.floor(centres * np.float32(before / after)).astype(np.int64)
    return np.minimum(places, before - 1)


def has_ties(before: int, after: int) -> bool:
    """Whether a new pixel's centre lies on the border of two old ones."""
    return any((2 * place + 1) * before % (2 * after) == 0 for place in range(after))
