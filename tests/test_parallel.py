"""Work ahead of the reader: in order, lazily, and no further than asked."""

import threading
import time
from collections.abc import Iterator

import pytest

from edgex.parallel import ahead


def test_results_come_in_order() -> None:
    def slow_when_even(number: int) -> int:
        time.sleep(0.002 * (number % 2 == 0))
        return number * number

    assert list(ahead(slow_when_even, range(20), workers=4)) == [number * number for number in range(20)]


def test_nothing_is_nothing() -> None:
    assert list(ahead(str, [], workers=2)) == []


def test_workers_work_at_the_same_time() -> None:
    barrier = threading.Barrier(3, timeout=10)
    assert len(list(ahead(lambda _: barrier.wait(), range(3), workers=3))) == 3


@pytest.mark.parametrize(("workers", "distance", "most"), [(1, None, 2), (3, None, 4), (3, 1, 2), (1, 5, 6)])
def test_items_are_read_only_as_far_as_needed(workers: int, distance: int | None, most: int) -> None:
    read = 0

    def items() -> Iterator[int]:
        nonlocal read
        while read < 100:
            read += 1
            yield read

    for taken, _ in enumerate(ahead(str, items(), workers, distance)):
        assert read <= min(taken + most, 100)
    assert read == 100


def test_an_error_reaches_the_reader_at_its_place() -> None:
    results = ahead(lambda number: 10 // (3 - number), range(10), workers=2)
    assert [next(results) for _ in range(3)] == [3, 5, 10]
    with pytest.raises(ZeroDivisionError):
        next(results)


def test_a_reader_that_stops_leaves_nothing_running() -> None:
    before = threading.active_count()
    results = ahead(lambda number: time.sleep(0.01) or number, range(1000), workers=4)
    assert next(results) == 0
    results.close()  # type: ignore[attr-defined]  # a generator's
    assert threading.active_count() == before
