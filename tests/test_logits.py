"""What of two networks' logits counts as noise, and which images count as lost."""

import numpy as np
import pytest

from edgex.graph.ir import Array
from edgex.logits import CLEAREST_DB, paired_hits, snr_db
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
    assert paired_hits(labels, before, after) == Paired(5, lost=2, gained=1)
    assert paired_hits(labels, before, before) == Paired(5, lost=0, gained=0)
