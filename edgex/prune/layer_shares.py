"""How many weights of each kernel go, where a share of all weights is to go by magnitude."""

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from edgex.graph.ir import Array


def lamp_shares(kernels: Mapping[str, Array], share: float) -> dict[str, float]:
    """The share of each kernel's weights that go, so that together a share of all weights goes.

    Layers differ in what they can do without, and the large ones can do without most. The score of a weight is its
    square over the sum of the squares of those in its kernel that are not smaller, and the lowest scores of all
    kernels go (LAMP: Lee et al. 2021, arXiv:2010.07611). The largest weight of a kernel has a score of 1, so no kernel
    is left empty.

    Args:
        kernels: by name, in any layout.
        share: of the weights of all of them.
    """
    scores = {name: _scores(kernel) for name, kernel in kernels.items()}
    everything = np.concatenate(list(scores.values()))
    going = round(share * everything.size)
    if not going:
        return dict.fromkeys(kernels, 0.0)
    threshold = np.partition(everything, going - 1)[going - 1]
    return {
        name: float(np.searchsorted(of_one, threshold, side="right") / of_one.size) for name, of_one in scores.items()
    }


def _scores(kernel: Array) -> NDArray[np.float64]:
    """Ascending; zeros score zero."""
    squares = np.sort(np.square(kernel, dtype=np.float64), axis=None)
    left = np.cumsum(squares[::-1])[::-1]
    scores: NDArray[np.float64] = np.divide(squares, left, out=np.zeros_like(squares), where=left > 0)
    return scores
