"""Memory that a model file takes."""

from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from edgex.runtime import profiler
from edgex.runtime.process import Worker


def peak_memory(path: Path, runtime: str, threads: int, feed: NDArray[Any], python: Path | None = None) -> int | None:
    """Bytes that loading a file and running it once take at most, on top of the runtime, in a fresh process.

    Args:
        path: of the file; ``runtime``, ``threads`` and ``python`` as :func:`edgex.runtime.open_runner`.
        feed: a batch of one, in the type that the file takes.

    Returns:
        None where the system does not say (it is Linux' ``VmHWM``).

    Raises:
        EdgexError: as :meth:`edgex.runtime.process.Worker.open`.
    """
    with Worker(python, program=Path(profiler.__file__)) as worker:
        limits = worker.limits
        patience = limits.open_seconds + limits.run_seconds
        header = {"path": str(path), "runtime": runtime, "threads": threads}
        answer, _ = worker.ask("memory", patience, [feed], **header)
    peak: int | None = answer["peak"]
    return peak
