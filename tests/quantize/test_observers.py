"""Ranges from what images show, and images that are out of line."""

import numpy as np
import pytest

from edgex.graph.ir import Array
from edgex.plan import Range
from edgex.quantize.observers import FEWEST_FOR_ODD, ODD_FACTOR, ImageExtremes, OddImage, spanning_zero

RANDOM = np.random.default_rng(0)


def extremes(lows: Array, highs: Array) -> ImageExtremes:
    """Of images in rows and tensors ``a``, ``b``, … in columns."""
    seen = ImageExtremes("abcdefgh"[: np.shape(lows)[1]])
    for low, high in zip(np.asarray(lows, np.float32), np.asarray(highs, np.float32), strict=True):
        seen.add(low, high)
    return seen


def usual(images: int, tensors: int = 2) -> tuple[Array, Array]:
    lows, highs = -RANDOM.uniform(1, 2, (images, tensors)), RANDOM.uniform(2, 4, (images, tensors))
    return lows.astype(np.float32), highs.astype(np.float32)


def names(count: int) -> list[str]:
    return [f"{number}.png" for number in range(count)]


def test_minmax_takes_the_outermost() -> None:
    seen = extremes([[-1, 0], [-3, 1]], [[5, 2], [4, 8]])
    assert seen.ranges("minmax") == {"a": Range(-3, 5), "b": Range(0, 8)}


def test_average_takes_the_mean_of_each_end() -> None:
    seen = extremes([[-1, 0], [-3, 1]], [[5, 2], [4, 8]])
    assert seen.ranges("average") == {"a": Range(-2, 4.5), "b": Range(0, 5)}


@pytest.mark.parametrize("method", ["minmax", "average"])
def test_ranges_span_zero(method: str) -> None:
    seen = extremes([[1, -5], [2, -4]], [[3, -1], [4, -2]])
    assert all(low <= 0 <= high for low, high in seen.ranges(method).values())  # literals by name
    assert spanning_zero(1.0, 2.0) == Range(0.0, 2.0)
    assert spanning_zero(-2.0, -1.0) == Range(-2.0, 0.0)


def test_an_odd_image_is_named_with_its_worst_tensor() -> None:
    lows, highs = usual(9, 3)
    lows[4, 1], highs[4, 2] = -300.0, 90.0
    seen = extremes(lows, highs)
    (odd,) = seen.odd_images(names(9))
    median = np.median(np.maximum(-lows[:, 1], highs[:, 1]))
    assert odd == OddImage("4.png", 2, pytest.approx(300 / median), "b")
    assert seen.odd()[4].tolist() == [False, True, True]
    assert seen.odd().sum() == 2


def test_the_worst_image_comes_first() -> None:
    lows, highs = usual(12, 3)
    highs[2, 0] = 5000
    highs[7] = 200
    highs[9] = 400
    assert [image.image for image in extremes(lows, highs).odd_images(names(12))] == ["9.png", "7.png", "2.png"]


def test_odd_means_more_than_the_factor_over_the_median() -> None:
    seen = extremes(np.zeros((5, 2)), [[1, 1], [1, 1], [1, 1], [1, 1], [ODD_FACTOR, 1.01 * ODD_FACTOR]])
    assert seen.odd().tolist() == [[False, False]] * 4 + [[False, True]]


def test_average_leaves_odd_images_out_of_the_tensors_they_drive() -> None:
    lows, highs = usual(9)
    expected = extremes(np.delete(lows, 4, 0), np.delete(highs, 4, 0)).ranges("average")
    everyone = extremes(lows, highs).ranges("average")
    highs[4, 0] = 1000.0
    found = extremes(lows, highs).ranges("average")
    assert found["a"] == expected["a"]
    assert found["b"] == everyone["b"], "where it is not odd it counts"
    assert extremes(lows, highs).ranges("minmax")["a"].high == 1000.0


def test_usual_ranges_are_the_outermost_of_all_but_odd_images() -> None:
    lows, highs = usual(9)
    highs[4, 0] = 1000.0
    found = extremes(lows, highs).usual_ranges()
    assert found["a"] == extremes(np.delete(lows, 4, 0), np.delete(highs, 4, 0)).ranges("minmax")["a"]
    assert found["b"] == extremes(lows, highs).ranges("minmax")["b"], "where it is not odd it counts"


def test_too_few_images_have_no_odd_one() -> None:
    lows, highs = usual(FEWEST_FOR_ODD)
    highs[0] = 1000
    assert extremes(lows, highs).odd().any()
    assert not extremes(lows[:-1], highs[:-1]).odd().any()


def test_half_the_images_may_be_odd() -> None:
    highs = np.array([[1.0]] * 5 + [[100.0]] * 4)
    seen = extremes(np.zeros((9, 1)), highs)
    assert seen.ranges("average") == {"a": Range(0, 1)}
    assert len(seen.odd_images(names(9))) == 4


def test_tensors_of_zeros_have_no_odd_image() -> None:
    seen = extremes(np.zeros((6, 1)), np.zeros((6, 1)))
    assert not seen.odd().any()
    assert seen.ranges("average") == seen.ranges("minmax") == {"a": Range(0, 0)}
