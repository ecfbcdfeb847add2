"""How far the logits of two networks lie apart."""

import math

import numpy as np
from numpy.typing import NDArray

from edgex.graph.ir import Array
from edgex.proportions import Paired

CLEAREST_DB = 100.0
"""About what rounding leaves of float32: an image without noise counts as this."""


def snr_db(reference: Array, logits: Array) -> float | None:
    """Signal-to-noise ratio of logits in decibels, the mean of the images'; None if not one of them changes.

    Each image has its own (as speech coders are judged, by segmental SNR: Jayant and Noll, Digital Coding of Waveforms,
    1984), because some drive a network so far that their clipping would be all that a ratio of sums tells. Logits
    count less their mean over the classes, which a softmax forgets.

    Args:
        reference: of the float network, (images, classes).
        logits: of the other one.
    """
    ratios = []
    for signal, noise in zip(_power(reference), _power(logits - reference), strict=True):
        if signal:
            ratios.append(10 * math.log10(signal / noise) if noise else math.inf)
    clear = [min(ratio, CLEAREST_DB) for ratio in ratios]
    return sum(clear) / len(clear) if any(map(math.isfinite, ratios)) else None


def paired_hits(labels: NDArray[np.int64], reference: Array, logits: Array) -> Paired:
    """Count the images (images,) that only one of two networks puts into their class; arrays as for :func:`snr_db`."""
    before, after = reference.argmax(axis=1) == labels, logits.argmax(axis=1) == labels
    return Paired(len(labels), lost=int((before & ~after).sum()), gained=int((after & ~before).sum()))


def _power(logits: Array) -> list[float]:
    centred = logits - logits.mean(axis=1, keepdims=True, dtype=np.float64)
    power: list[float] = np.square(centred).sum(axis=1).tolist()
    return power
