"""How far the logits of two networks lie apart."""

import math

import numpy as np
from numpy.typing import NDArray

from edgex.graph.ir import Array
from edgex.proportions import Paired

CLEAREST_DB = 100.0
"""About what rounding leaves of float32: an image without noise counts as this."""

MOST_PLACES = 1024
"""Of an image that two networks are compared at; neighbouring pixels say much the same."""


def scored(logits: Array) -> Array:
    """Logits as scores of classes at places, (images, places, classes).

    Args:
        logits: of a classifier (images, classes), whose only place is the image, or of a segmenter (images, height,
            width, classes), of whose pixels those on a grid are taken, at most 1024.
    """
    height, width = logits.shape[1:-1] or (1, 1)
    step = 1
    while len(range(0, height, step)) * len(range(0, width, step)) > MOST_PLACES:
        step += 1
    rows, columns = (slice(min(step // 2, side - 1), None, step) for side in (height, width))
    grid = logits.reshape(len(logits), height, width, -1)[:, rows, columns]
    return grid.reshape(len(logits), -1, logits.shape[-1])


def snr_db(reference: Array, logits: Array) -> float | None:
    """Signal-to-noise ratio of logits in decibels, the mean of the images'; None if not one of them changes.

    Each image has its own (as speech coders are judged, by segmental SNR: Jayant and Noll, Digital Coding of Waveforms,
    1984), because some drive a network so far that their clipping would be all that a ratio of sums tells. Logits
    count less their mean over the classes, which a softmax forgets.

    Args:
        reference: of the float network, (images, …, classes).
        logits: of the other one.
    """
    ratios = []
    for signal, noise in zip(_power(reference), _power(logits - reference), strict=True):
        if signal:
            ratios.append(10 * math.log10(signal / noise) if noise else math.inf)
    clear = [min(ratio, CLEAREST_DB) for ratio in ratios]
    return sum(clear) / len(clear) if any(map(math.isfinite, ratios)) else None


def paired_hits(labels: NDArray[np.int64], reference: Array, logits: Array) -> Paired:
    """Count the images that only one of two networks puts into their class.

    Args:
        labels: class indices (images,).
        reference: logits of the float network, (images, 1, classes).
        logits: of the other one.
    """
    before, after = (each.argmax(axis=-1)[:, 0] == labels for each in (reference, logits))
    return Paired(len(labels), lost=int((before & ~after).sum()), gained=int((after & ~before).sum()))


def _power(logits: Array) -> list[float]:
    centred = logits - logits.mean(axis=-1, keepdims=True, dtype=np.float64)
    power: list[float] = np.square(centred).sum(axis=tuple(range(1, logits.ndim))).tolist()
    return power
