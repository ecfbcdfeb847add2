"""A file in a process made for one block of timed runs.

A process of its own gives each block fresh memory and threads, so that what luck they bring is part of the interval.
Between its bursts of runs the process is stopped, so that no runtime's threads disturb another's: ONNX Runtime's spin
on for 50 ms after a run.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from edgex.errors import UsageError
from edgex.runtime import Limits, Worker
from edgex.runtime.worker import Port

WARM_SECONDS = 0.06
REWARM_RUNS = 2
SLACK = 10
"""A run may take so many times what it took before."""

Milliseconds = NDArray[np.float64]
Feeds = Sequence[NDArray[Any]]


@dataclass(frozen=True)
class Contender:
    """A file in a runtime.

    Attributes:
        threads: that one inference may use.
        python: the interpreter that has the runtime; None for this one.
        input_size: height and width where the file leaves them open.
        feed: what it is run on, one array; None for random values of the right type.
        optional: nobody asked for this runtime by name, and the file has another.
        external_data: an ``.onnx`` may keep weights in plain files beside itself.
    """

    path: Path
    runtime: str
    threads: int
    python: Path | None = None
    input_size: int | None = None
    feed: NDArray[Any] | None = None
    optional: bool = False
    external_data: bool = False

    @property
    def limits(self) -> Limits:
        """What the file may use."""
        return Limits(external_data=self.external_data)


@dataclass(frozen=True)
class Block:
    """What one process measured, in milliseconds.

    Attributes:
        init_ms: of loading the file.
        first_ms: of the first run.
        bursts: of the steady runs of each turn (runs,); empty where the contender sat out.
    """

    init_ms: float
    first_ms: float
    bursts: tuple[Milliseconds, ...]

    @property
    def steady(self) -> Milliseconds:
        """All steady runs (runs,), in order."""
        return np.concatenate(self.bursts)


def ratios_of_neighbours(a: Block, b: Block) -> list[float]:
    """The ratio of the medians of two blocks of one round, turn by turn."""
    pairs = zip(a.bursts, b.bursts, strict=True)
    return [float(np.median(one) / np.median(other)) for one, other in pairs if len(one) and len(other)]


class Entry:
    """A contender in a fresh process, loaded, warmed up and stopped; a context manager.

    Attributes:
        init_ms: of loading the file.
        first_ms: of the first run.
        usual_ms: about what a run takes.

    Raises:
        UsageError: the file leaves sizes open that ``input_size`` does not fill. Other EdgexErrors as
            :meth:`edgex.runtime.Worker.open`.
    """

    def __init__(self, contender: Contender) -> None:
        self._worker = Worker(contender.python, contender.limits)
        try:
            described = self._worker.open(contender.path, contender.runtime, contender.threads)
            ports = [Port(**port) for port in described["inputs"]]
            feeds = random_feeds(contender, ports) if contender.feed is None else [contender.feed]
            patience = 2 * self._worker.limits.run_seconds
            times, (warm,) = self._worker.ask("warm", patience, feeds, seconds=WARM_SECONDS)
        except BaseException:
            self._worker.close()
            raise
        self._worker.pause()
        self.init_ms: float = times["init"]
        self.first_ms: float = times["first"]
        self.usual_ms = float(np.median(warm))

    def burst(self, runs: int) -> Milliseconds:
        """Time so many runs (runs,), after a few untimed ones that bring the model back into the caches."""
        if not runs:
            return np.empty(0)
        patience = self._worker.limits.run_seconds + runs * SLACK * self.usual_ms / 1e3
        self._worker.resume()
        _, (samples,) = self._worker.ask("time", patience, runs=REWARM_RUNS + runs)
        self._worker.pause()
        return samples[REWARM_RUNS:]

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self._worker.close()


def random_feeds(contender: Contender, ports: Sequence[Port], seed: int = 0) -> Feeds:
    """An array for each input, in its own type, so that nothing is converted while the clock runs."""
    random = np.random.default_rng(seed)
    return [_random(random, _shape(contender, port), np.dtype(port.dtype)) for port in ports]


def _shape(contender: Contender, port: Port) -> tuple[int, ...]:
    """One image: an open batch is 1, open heights and widths are the input size."""
    if not port.shape:
        return ()
    batch, *rest = port.shape
    filled = [contender.input_size if size is None else size for size in rest]
    sizes = tuple(size for size in filled if size is not None)
    if len(sizes) < len(rest):
        listed = ", ".join("?" if size is None else str(size) for size in port.shape)
        raise UsageError(
            f"{contender.path} leaves the size of its input {port.name} open: ({listed}).", fix="Give --input-size N."
        )
    return (1 if batch is None else batch, *sizes)


def _random(random: np.random.Generator, shape: tuple[int, ...], dtype: np.dtype[Any]) -> NDArray[Any]:
    if dtype.kind == "f":
        # Made in no wider type than needed, for inputs can be large
        return (2 * random.random(shape, np.float32) - 1).astype(dtype, copy=False)
    # Wider integers are counts or indices, of which only small ones are sure to be valid
    low, high = (np.iinfo(dtype).min, np.iinfo(dtype).max) if dtype in (np.int8, np.uint8) else (0, 1)
    return random.integers(low, high, shape, dtype.type, endpoint=True)
