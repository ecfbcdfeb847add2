"""Work ahead of the reader, in order, in constant memory."""

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")


def ahead(
    function: Callable[[Item], Result], items: Iterable[Item], workers: int, distance: int | None = None
) -> Iterator[Result]:
    """``map`` by threads, results in order.

    Args:
        function: called in several threads at once; worth it where it releases the interpreter's lock.
        items: read only as far as needed.
        workers: threads.
        distance: results at most that wait for the reader; as many as workers by default.
    """
    distance = workers if distance is None else distance
    pending: deque[Future[Result]] = deque()
    with ThreadPoolExecutor(workers, thread_name_prefix="edgex") as pool:
        try:
            for item in items:
                pending.append(pool.submit(function, item))
                if len(pending) > distance:
                    yield pending.popleft().result()
            while pending:
                yield pending.popleft().result()
        finally:
            for future in pending:
                future.cancel()
