"""From columns of predictions to the figures of a report."""

from collections import Counter
from collections.abc import Sequence

import numpy as np

from edgex.predictions import Column, ModelPredictions
from edgex.report import Confusion

BINS = 15
MOST_CONFUSIONS = 20


def calibration_error(predictions: ModelPredictions, labels: Column) -> float:
    """Expected calibration error: how far confidence is from accuracy, averaged over images in 15 equal bins.

    C. Guo, G. Pleiss, Y. Sun, K. Weinberger, 2017, arXiv:1706.04599.
    """
    confidence = predictions.probability.astype(np.float64)
    excess = confidence - (predictions.top1 == labels)
    bins = np.minimum((confidence * BINS).astype(np.int64), BINS - 1)
    sums = np.bincount(bins, weights=excess, minlength=BINS)
    return float(np.abs(sums).sum() / len(labels))


def hits_among_best(predictions: ModelPredictions, labels: Column) -> int:
    """Images whose label is among the five likeliest classes."""
    return int((predictions.best == labels[:, np.newaxis]).any(axis=1).sum())


def confusions(labels: Column, baseline: Column, other: Column, class_names: Sequence[str]) -> tuple[Confusion, ...]:
    """Where predictions went from which class to which, the commonest ways first; class indices (images,) each."""
    moved = baseline != other
    ways = Counter(zip(labels[moved].tolist(), baseline[moved].tolist(), other[moved].tolist(), strict=True))
    commonest = sorted(ways.items(), key=lambda way: (-way[1], way[0]))[:MOST_CONFUSIONS]
    return tuple(
        Confusion(label=class_names[label], baseline=class_names[before], artifact=class_names[after], images=images)
        for (label, before, after), images in commonest
    )
