"""Figures against values reckoned by hand."""

import numpy as np
import pytest

from edgex.predictions import About, ModelPredictions, Predictions
from edgex.report import Confusion
from edgex.validate.figures import calibration_error, confusions, hits_among_best

LABELS = np.array([0, 1, 2, 2], np.int32)


def predictions(best: list[list[int]], probability: list[float], noise: float = 0.0) -> ModelPredictions:
    rows = len(best)
    return ModelPredictions(
        np.array(best, np.int32), np.array(probability, np.float32), np.full(rows, noise, np.float32)
    )


def test_calibration_error_is_the_mean_distance_of_confidence_from_accuracy_in_bins() -> None:
    of = predictions([[0, 1], [1, 0], [0, 2], [2, 0]], [0.9, 0.91, 0.92, 0.5])
    # One bin has 0.9, 0.91 and 0.92, of which two of three are right; the other 0.5, right
    expected = (abs(0.9 + 0.91 + 0.92 - 2) + abs(0.5 - 1)) / 4
    assert calibration_error(of, LABELS) == pytest.approx(expected, abs=1e-6)


def test_full_confidence_has_a_bin() -> None:
    assert calibration_error(predictions([[0], [1], [2], [2]], [1.0] * 4), LABELS) == 0


def test_hits_among_best() -> None:
    assert hits_among_best(predictions([[0, 1], [0, 1], [0, 1], [1, 2]], [1.0] * 4), LABELS) == 3


def test_snr_is_of_the_sums() -> None:
    about = About("key", ("a", "b", "c"), ("1", "2", "3", "4"), ("float", "int8", "same"), 4)
    of = {name: predictions([[0]] * 4, [1.0] * 4, noise) for name, noise in (("int8", 0.25), ("same", 0.0))}
    signal = np.array([10, 20, 30, 40], np.float32)
    found = Predictions(about, np.zeros((4, 32), np.uint8), LABELS, signal, of)
    assert found.snr_db("int8") == pytest.approx(20.0)
    assert found.snr_db("same") is None


def test_confusions_are_counted_and_ordered() -> None:
    labels = np.array([0, 0, 0, 1, 2])
    before = np.array([0, 0, 0, 1, 1])
    after = np.array([1, 1, 2, 1, 2])
    assert confusions(labels, before, after, ["a", "b", "c"]) == (
        Confusion(label="a", baseline="a", artifact="b", images=2),
        Confusion(label="a", baseline="a", artifact="c", images=1),
        Confusion(label="c", baseline="b", artifact="c", images=1),
    )
