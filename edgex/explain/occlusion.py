"""How far the probability of a class drops where a gray patch covers the image; see :mod:`edgex.explain`."""

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from edgex.evaluate import are_probabilities
from edgex.graph.ir import Array
from edgex.preprocess import Preprocessing
from edgex.runtime import Runner

POSITIONS = 8
"""Of the patch, in height and in width."""

REACH = 2
"""Sides of the patch, in steps from position to position: neighbours overlap by half."""

GRAY = 128


def occlusion_map(runner: Runner, image: Array, label: int, patch: Array) -> Array:
    """A map (rows, columns) of one image (height, width, channels); negative where the class gains.

    Args:
        runner: of the model.
        image: preprocessed.
        label: the class.
        patch: the gray of the patch, preprocessed likewise, (1, 1, channels).
    """
    height, width = image.shape[:2]
    rows, columns = min(POSITIONS, height), min(POSITIONS, width)
    covered = [image]
    for top, bottom in _spans(height, rows):
        for left, right in _spans(width, columns):
            other = image.copy()
            other[top:bottom, left:right] = patch
            covered.append(other)
    chances = _probabilities(runner.run(np.stack(covered)))[:, label]
    drops: Array = (chances[0] - chances[1:]).reshape(rows, columns)
    return drops


def gray_patch(preprocessing: Preprocessing) -> Array:
    """What preprocessing makes of a gray pixel, (1, 1, channels)."""
    image = np.full((*preprocessing.size, preprocessing.channels), GRAY, np.uint8)
    return preprocessing.apply(image)[:1, :1]


def _spans(size: int, positions: int) -> Iterator[tuple[int, int]]:
    """Where a patch begins and ends, centred on each of so many cells."""
    cell = size / positions
    for position in range(positions):
        middle = (position + 0.5) * cell
        yield max(round(middle - REACH * cell / 2), 0), min(round(middle + REACH * cell / 2), size)


def _probabilities(scores: Array) -> NDArray[np.float64]:
    """The softmax of scores (n, classes), unless they are one already."""
    if are_probabilities(scores):
        return scores.astype(np.float64)
    powers = np.exp(scores - scores.max(axis=1, keepdims=True), dtype=np.float64)
    shares: NDArray[np.float64] = powers / powers.sum(axis=1, keepdims=True)
    return shares
