"""Latency of model files, measured side by side.

Files take turns in blocks, A B B A A B B A, so that what drifts (clock, temperature, other programs) meets all alike.
Ratios are of medians; their intervals come from resampling whole rounds (bootstrap; Efron, Tibshirani 1993), because
neighbouring samples are not independent.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from itertools import combinations
from pathlib import Path
from time import perf_counter, perf_counter_ns
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgex.errors import UsageError
from edgex.runtime import Runner, open_runner, physical_cores

ROUNDS = 12
FEWEST_RUNS = 30
MOST_RUNS = 2_000
RUNS_FOR_P99 = 1_000
RESAMPLES = 2_000

SETTLE_SECONDS = 0.06
"""Untimed runs when another file takes its turn. ONNX Runtime's threads spin on for 44 to 56 ms after their last run
(measured, 1.31) and would slow the next file by a fifth; forbidding them to spin makes ONNX Runtime itself slower by a
tenth to a third, which no user would see. The runs also bring the file's weights back into the caches."""

Milliseconds = NDArray[np.float64]


@dataclass(frozen=True)
class BenchResult:
    """Latency of one file at batch 1.

    Attributes:
        runs: timed runs.
        p99_ms: None below 1,000 runs, which are too few to tell.
        samples: every run, in milliseconds, in order.
    """

    path: Path
    runtime: str
    threads: int
    runs: int
    median_ms: float
    p90_ms: float
    p99_ms: float | None
    samples: Milliseconds = field(repr=False, compare=False)


@dataclass(frozen=True)
class Ratio:
    """Median latency of ``a`` over that of ``b``; ``low`` and ``high`` bound a 95 % interval."""

    a: Path
    b: Path
    ratio: float
    low: float
    high: float


@dataclass(frozen=True)
class BenchReport:
    """Results in the order given, and the ratio of each pair of them."""

    results: tuple[BenchResult, ...]
    ratios: tuple[Ratio, ...]


def bench(
    paths: Sequence[Path],
    *,
    runtime: str | None = None,
    threads: int | None = None,
    runs: int | None = None,
    warmup: int = 3,
    seconds: float = 3.0,
    seed: int = 0,
    progress: Callable[[int, int], None] | None = None,
) -> BenchReport:
    """Time model files at batch 1 on random images.

    Args:
        paths: one or more files; the same one twice is a check on the method.
        runtime: None for the usual one of each file.
        threads: None for the physical cores.
        runs: timed runs of each file; None for as many as fit in ``seconds``, 30 to 2,000.
        warmup: untimed runs of each file at the start, at least 1.
        seconds: about how long each file is timed.
        seed: of images and resampling.
        progress: called with blocks done and blocks in all.

    Raises:
        UsageError: no files, or counts that are not positive; EdgexError as :func:`edgex.runtime.open_runner`.
    """
    if not paths:
        raise UsageError("There is no file to time.", fix="Give at least one .tflite or .onnx file.")
    if min(warmup, seconds, 1 if runs is None else runs) <= 0:
        raise UsageError("Runs, warm-up runs and seconds must be positive.", fix="Leave them out for the defaults.")
    threads = physical_cores() if threads is None else threads
    with ExitStack() as stack:
        runners = [stack.enter_context(open_runner(path, runtime=runtime, threads=threads)) for path in paths]
        timers = [_Timer(runner, seed) for runner in runners]
        estimates = [timer.settle(warmup) for timer in timers]
        counts = [runs or _fitting_runs(seconds, estimate) for estimate in estimates]
        blocks = _time_blocks(timers, counts, progress)
    results = tuple(
        _result(path, runner, np.concatenate(samples))
        for path, runner, samples in zip(paths, runners, blocks, strict=True)
    )
    medians = [np.array([np.median(block) for block in samples]) for samples in blocks]
    ratios = tuple(
        Ratio(
            results[a].path,
            results[b].path,
            results[a].median_ms / results[b].median_ms,
            *ratio_interval(medians[a], medians[b], seed),
        )
        for a, b in combinations(range(len(paths)), 2)
    )
    return BenchReport(results, ratios)


class _Timer:
    """One runner and the image that it is timed on."""

    def __init__(self, runner: Runner, seed: int) -> None:
        self._runner = runner
        self._image = _random_image(runner, seed)

    def run(self) -> float:
        """Milliseconds of one run."""
        start = perf_counter_ns()
        self._runner.run(self._image)
        return (perf_counter_ns() - start) / 1e6

    def settle(self, runs: int = 1) -> float:
        """Run for a moment, at least ``runs`` times; returns the median in milliseconds."""
        end = perf_counter() + SETTLE_SECONDS
        samples = [self.run() for _ in range(runs)]
        while perf_counter() < end:
            samples.append(self.run())
        return float(np.median(samples))


def _random_image(runner: Runner, seed: int) -> NDArray[Any]:
    """A batch of one, in the type that the file takes, so that nothing is converted while the clock runs."""
    random = np.random.default_rng(seed)
    shape = (1, *runner.input_shape)
    if np.issubdtype(runner.input_dtype, np.integer):
        limits = np.iinfo(runner.input_dtype)
        return random.integers(limits.min, limits.max, shape, runner.input_dtype, endpoint=True)
    return random.uniform(-1.0, 1.0, shape).astype(runner.input_dtype)


def _fitting_runs(seconds: float, milliseconds: float) -> int:
    return min(max(int(seconds * 1e3 / milliseconds), FEWEST_RUNS), MOST_RUNS)


def turns(files: int, rounds: int) -> Iterator[int]:
    """Which file runs next: 0 1 2, 2 1 0, 0 1 2, …"""
    for number in range(rounds):
        forth = range(files)
        yield from reversed(forth) if number % 2 else forth


def _time_blocks(
    timers: Sequence[_Timer], counts: Sequence[int], progress: Callable[[int, int], None] | None
) -> list[list[Milliseconds]]:
    """Samples of each timer by block; a block of each in each round."""
    rounds = min(ROUNDS, *counts)
    blocks: list[list[Milliseconds]] = [[] for _ in timers]
    before: int | None = None
    for done, index in enumerate(turns(len(timers), rounds), start=1):
        timer, own = timers[index], blocks[index]
        if index != before:
            timer.settle()
        size = counts[index] // rounds + (len(own) < counts[index] % rounds)
        own.append(np.array([timer.run() for _ in range(size)]))
        before = index
        if progress is not None:
            progress(done, rounds * len(timers))
    return blocks


def _result(path: Path, runner: Runner, samples: Milliseconds) -> BenchResult:
    median, p90, p99 = np.percentile(samples, (50, 90, 99)).tolist()
    return BenchResult(
        path=path,
        runtime=runner.runtime,
        threads=runner.threads,
        runs=len(samples),
        median_ms=median,
        p90_ms=p90,
        p99_ms=p99 if len(samples) >= RUNS_FOR_P99 else None,
        samples=samples,
    )


def ratio_interval(a: Milliseconds, b: Milliseconds, seed: int) -> tuple[float, float]:
    """A 95 % interval for the ratio of two latencies.

    Args:
        a: median of each block of the one (rounds,).
        b: of the other. Rounds are resampled whole: blocks of one round are neighbours and share its conditions.
        seed: of the resampling.
    """
    rounds = len(a)
    chosen = np.random.default_rng(seed).integers(0, rounds, (RESAMPLES, rounds))
    resampled = np.median(a[chosen], axis=1) / np.median(b[chosen], axis=1)
    low, high = np.percentile(resampled, (2.5, 97.5)).tolist()
    return low, high
