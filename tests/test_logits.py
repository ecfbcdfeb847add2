"""What of two networks' logits counts as noise, and which images count as lost."""

import numpy as np
import pytest

from edgex.graph.ir import Array
from edgex.logits import CLEAREST_DB, MOST_PLACES, paired_hits, scored, snr_db
from edgex.proportions import Paired


def rows(*logits: list[float]) -> Array:
    return np.array(logits, np.float32)


def test_noise_is_counted_less_what_a_softmax_forgets() -> None:
    reference = rows([1, -1], [3, -3])
    assert snr_db(reference, reference) is None
    assert snr_db(reference, rows([6, 4], [3, -3])) is None
    assert snr_db(reference, rows([1.1, -1.1], [3.3, -3.3])) == pytest.approx(20)


def test_images_count_alike_however_loud_they_are() -> None:
    reference = rows([1, -1], [1000, -1000], [5, 5])  # the last says nothing
    loud, silent = rows([1.1, -1.1], [2000, -2000], [5, 5]), rows([1.1, -1.1], [1000, -1000], [5, 6])
    assert snr_db(reference, loud) == pytest.approx((20 + 0) / 2)
    assert snr_db(reference, silent) == pytest.approx((20 + CLEAREST_DB) / 2)


def test_images_lost_and_gained_are_counted_apart() -> None:
    labels = np.array([0, 1, 0, 1, 0])
    before = rows([2, 1], [1, 2], [0, 1], [1, 0], [2, 1])  # right, right, wrong, wrong, right
    after = rows([1, 2], [1, 2], [1, 0], [1, 0], [1, 2])
    before, after = scored(before), scored(after)
    assert paired_hits(labels, before, after) == Paired(5, lost=2, gained=1)
    assert paired_hits(labels, before, before) == Paired(5, lost=0, gained=0)


def test_noise_of_an_image_is_that_of_all_its_places() -> None:
    reference = np.array([[[1, -1], [10, -10]]], np.float32)
    assert snr_db(reference, reference * np.float32(1.1)) == pytest.approx(20, abs=1e-4)
    assert snr_db(reference, reference + np.array([[1, -1], [0, 0]])) == pytest.approx(10 * np.log10(101))


@pytest.mark.parametrize(
    ("shape", "places"),
    [
        ((), 1),
        ((1, 1), 1),
        ((32, 32), 32 * 32),
        ((33, 33), 16 * 16),
        ((64, 16), 64 * 16),
        ((1, 4000), 1000),
        ((8001, 1), 1000),
    ],
)
def test_places_are_the_image_or_a_grid_of_its_pixels(shape: tuple[int, ...], places: int) -> None:
    logits = np.random.default_rng(0).normal(size=(2, *shape, 5)).astype(np.float32)
    found = scored(logits)
    assert found.shape == (2, places, 5)
    assert places <= MOST_PLACES
    assert {tuple(each) for each in found[1]} <= {tuple(each) for each in logits[1].reshape(-1, 5)}
