"""What scores of classes say, be they logits or their softmax."""

import numpy as np
from numpy.typing import NDArray

from edgex.graph.ir import Array

Indices = NDArray[np.int64]

SMALLEST = float(np.finfo(np.float32).tiny)
"""What is taken for a probability of 0, whose logarithm there is not."""


def best_classes(scores: Array, count: int) -> Indices:
    """Indices of the likeliest classes of scores (n, classes), best first: (n, count), or all classes if fewer."""
    # Stable, so that of equal scores the first class wins, as with argmax
    return np.argsort(-scores, axis=1, kind="stable")[:, :count]


def are_probabilities(scores: Array) -> bool:
    """Whether scores (n, classes) are in 0…1 and sum to 1 within a tenth, as integers of a softmax do."""
    return bool(scores.min() >= 0 and scores.max() <= 1 and (abs(scores.sum(axis=1) - 1) < 0.1).all())


def centred_logits(scores: Array, floor: float) -> Array:
    """The logits that scores come from, less their mean: (n, classes), float64.

    A softmax forgets only a constant, which the mean takes with it; so the logarithms of its probabilities, centred,
    are its input, centred.

    Args:
        scores: (n, classes), logits or their softmax.
        floor: lower probabilities are taken for this one.
    """
    logits = np.log(np.maximum(scores, floor, dtype=np.float64)) if are_probabilities(scores) else scores
    centred: Array = logits - logits.mean(axis=1, keepdims=True, dtype=np.float64)
    return centred


def probabilities(scores: Array) -> Array:
    """The softmax of scores (n, classes), unless they are one already."""
    if are_probabilities(scores):
        return scores
    powers = np.exp(scores - scores.max(axis=1, keepdims=True), dtype=np.float64)
    shares: Array = powers / powers.sum(axis=1, keepdims=True)
    return shares
