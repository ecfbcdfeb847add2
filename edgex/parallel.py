"""Work ahead of the reader, in order, in constant memory."""

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from queue import SimpleQueue
from threading import Thread
from typing import NamedTuple, TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")


class _Outcome(NamedTuple):
    """What a call came to: a value, or what it raised."""

    value: object
    error: BaseException | None


def ahead(
    function: Callable[[Item], Result], items: Iterable[Item], workers: int, distance: int | None = None
) -> Iterator[Result]:
    """``map`` by threads, results in order.

    Args:
        function: called in several threads at once; worth it where it releases the interpreter's lock.
        items: read only as far as needed.
        workers: threads.
        distance: results at most that wait for the reader; as many as workers by default.

    What the function raises is raised in its turn.
    """
    # A ThreadPoolExecutor takes locks in Python, and Ctrl-C between taking one and using it leaves it taken for good:
    # one run in 240 never ended. A SimpleQueue takes its lock in C, where nothing comes between.
    distance = workers if distance is None else distance
    calls: SimpleQueue[tuple[Item, SimpleQueue[_Outcome]] | None] = SimpleQueue()
    pending: deque[SimpleQueue[_Outcome]] = deque()
    stopped = False

    def work() -> None:
        while (call := calls.get()) is not None:
            item, answer = call
            if stopped:
                continue
            try:
                answer.put(_Outcome(function(item), None))
            except BaseException as error:  # noqa: BLE001  it is raised where the result is read
                answer.put(_Outcome(None, error))

    def take() -> Result:
        value, error = pending.popleft().get()
        if error is not None:
            raise error
        return value  # type: ignore[return-value]  # the queue does not say whose result it carries

    threads = [Thread(target=work, name=f"edgex-{number}", daemon=True) for number in range(workers)]
    try:
        for thread in threads:
            thread.start()
        for item in items:
            answer: SimpleQueue[_Outcome] = SimpleQueue()
            calls.put((item, answer))
            pending.append(answer)
            if len(pending) > distance:
                yield take()
        while pending:
            yield take()
    finally:
        stopped = True
        for _ in threads:
            calls.put(None)
        for thread in threads:
            if thread.ident is not None:
                thread.join()
