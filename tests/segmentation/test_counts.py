"""Pixels are counted as a plain loop counts them, and figures follow from the counts."""

import numpy as np
import pytest

from edgex.segmentation import ClassPixels, Confusions, MapComparison, Measures, confusion_cells
from edgex.segmentation.comparison import Agreement

VOID = 255
CLASSES = 4
RANDOM = np.random.default_rng(0)
TRUTH = RANDOM.choice([0, 1, 2, VOID], (7, 5, 6), p=[0.5, 0.2, 0.2, 0.1]).astype(np.uint8)  # class 3 is nowhere
GUESSED = RANDOM.integers(0, 3, TRUTH.shape)
SAID = np.where(RANDOM.random(TRUTH.shape) < 0.7, np.minimum(TRUTH, 2), GUESSED).astype(np.uint8)


def confusions(said: np.ndarray, truth: np.ndarray = TRUTH, classes: int = CLASSES) -> Confusions:
    return Confusions.joined(classes, [confusion_cells(*pair, classes) for pair in zip(truth, said, strict=True)])


def test_confusions_are_what_a_plain_loop_counts() -> None:
    found = confusions(SAID)
    assert len(found) == 7
    for row in range(7):
        matrix = np.zeros((CLASSES, CLASSES), int)
        for label, said in zip(TRUTH[row].flat, SAID[row].flat, strict=True):
            if label != VOID:
                matrix[label, said] += 1
        cells, pixels = found.image(row)
        again = np.zeros(CLASSES**2, int)
        again[cells] = pixels
        np.testing.assert_array_equal(again.reshape(CLASSES, CLASSES), matrix)
        by_class = found.by_class()
        np.testing.assert_array_equal(by_class.hits[row], matrix.diagonal())
        np.testing.assert_array_equal(by_class.truth[row], matrix.sum(axis=1))
        np.testing.assert_array_equal(by_class.said[row], matrix.sum(axis=0))


def test_figures_are_those_of_sets_of_pixels() -> None:
    found = Measures(confusions(SAID).by_class())
    counted = TRUTH != VOID
    ious = []
    for index in range(CLASSES):
        label, said = (index == TRUTH) & counted, (index == SAID) & counted
        ious.append((label & said).sum() / (label | said).sum() if (label | said).any() else None)
    assert found.class_iou == pytest.approx(ious)
    assert ious[3] is None
    assert found.miou.value == pytest.approx(np.mean(ious[:3]))
    assert found.pixel_accuracy.value == pytest.approx((TRUTH == SAID)[counted].mean())
    assert found.miou.lower() < found.miou.value < found.miou.upper()
    constant = Measures(confusions(np.zeros_like(SAID)).by_class())
    assert constant.miou.value == pytest.approx(found.chance), "class 0 is the commonest"


def test_a_class_that_is_only_said_counts_against_the_mean() -> None:
    truth, said = np.zeros((1, 2, 2), np.uint8), np.array([[[0, 0], [0, 3]]], np.uint8)
    found = Measures(confusions(said, truth).by_class())
    assert found.class_iou == (0.75, None, None, 0.0)
    assert found.miou.value == 0.375


def test_all_void_has_no_figure() -> None:
    truth = np.full((3, 2, 2), VOID, np.uint8)
    found = Measures(confusions(np.zeros_like(truth), truth).by_class())
    assert np.isnan(found.miou.value)
    assert np.isnan(found.miou.upper())
    assert found.chance == 0


def compared(before: np.ndarray, after: np.ndarray, truth: np.ndarray = TRUTH) -> MapComparison:
    equal = (before == after).sum(axis=(1, 2))
    size = before[0].size
    pixels = (confusions(before, truth).by_class(), confusions(after, truth).by_class())
    return MapComparison(tuple("abcd"), *pixels, int((equal < size).sum()), Agreement(equal, size))


def test_a_comparison_is_the_difference_of_figures() -> None:
    better = np.where(TRUTH == VOID, SAID, TRUTH)
    found = compared(better, SAID)
    drop = 100 * (found.of_baseline.miou.value - Measures(found.other).miou.value)
    assert found.drop.points == pytest.approx(drop)
    assert found.drop.low <= drop <= found.drop.high
    assert found.agreement is not None
    assert found.agreement.share == pytest.approx((better == SAID).mean())
    pixels = found.of_baseline.pixel_accuracy.value - Measures(found.other).pixel_accuracy.value
    assert found.pixel_drop.value == pytest.approx(100 * pixels)
    assert found.absent == ["d"]
    by_class = found.classes
    assert by_class[3].drop is None
    for index in range(3):
        change = by_class[index]
        assert change.pixels == (index == TRUTH).sum()
        assert change.images == (index == TRUTH).any(axis=(1, 2)).sum()
        assert change.baseline is not None
        assert change.other is not None
        assert change.drop is not None
        assert change.drop.value == pytest.approx(100 * (change.baseline - change.other))


def test_equal_maps_have_no_drop_at_all() -> None:
    many, truth = (np.tile(maps, (5, 1, 1)) for maps in (SAID, TRUTH))
    found = compared(many, many, truth)
    assert (found.drop.points, found.drop.low, found.drop.high) == (0, 0, 0)
    assert found.discordant == 0
    assert found.agreement is not None
    assert found.agreement.estimate.interval() == (1, 1)


def test_a_class_that_few_images_show_has_no_bounds() -> None:
    """However many there are in which it is said to be."""
    truth = np.zeros((40, 2, 2), np.uint8)
    truth[:29, 0, 0] = 1
    before, after = truth.copy(), truth.copy()
    before[:, 1, 1] = 1
    after[::2, 1, 1] = 1
    shown_by_all, rare = compared(before, after, truth).classes[:2]
    assert shown_by_all.drop is not None
    assert rare.drop is not None
    assert -100 < shown_by_all.drop.lower() < shown_by_all.drop.upper() < 100
    assert rare.images == 29
    assert (rare.drop.lower(), rare.drop.upper()) == (-100, 100)


@pytest.mark.parametrize("shown", [29, 30])
def test_images_that_are_all_void_are_not_counted(shown: int) -> None:
    truth = np.full((40, 2, 2), VOID, np.uint8)
    truth[:shown] = 0
    said = np.zeros_like(truth)
    assert compared(said, said, truth).enough == (shown == 30)


def test_many_classes_fit_into_a_byte() -> None:
    truth = np.arange(255, dtype=np.uint8).reshape(1, 15, 17)
    found = Measures(confusions(truth, truth, 255).by_class())
    assert found.miou.value == 1
    assert found.class_iou == (1.0,) * 255


def test_rows_of_some_images() -> None:
    whole = confusions(SAID).by_class()
    some = whole.of(np.array([4, 1]))
    assert isinstance(some, ClassPixels)
    np.testing.assert_array_equal(some.unions, whole.unions[[4, 1]])
