"""Latency of model files, measured side by side.

In each round every file has a fresh process, and they take turns in short bursts, A B B A or B A A B, so that what
drifts (clock, temperature, other programs) meets all alike. On a machine whose other guests took a third of its time,
the interval of a file against itself was ±2 to ±6 % wide this way, and ±5 to ±88 % with one long burst for each
process. Files that run on one thread also share a core, another one in each round: with another program on the other
core, the ratio of a file to itself then spread about half as wide from round to round.
"""

import csv
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgex.bench.block import Block, Contender, Entry, Milliseconds, ratios_of_neighbours
from edgex.bench.interval import Interval, median_interval, paired_ratio
from edgex.errors import EdgexError, UsageError
from edgex.runtime import RUNTIMES, installed_runtimes, one_core, physical_cores, runtimes_for

ROUNDS = 10
MOST_ROUNDS = 200
CHECK_ROUNDS = 2
"""Times as many rounds before a first look at a file against itself. Who stops as soon as an interval is narrow enough
prefers those that came out too narrow: of rounds drawn from a normal of 8 %, 75 of 1,000 checks that look first at
ten rounds end in a wrong verdict, 55 of those that look at twenty."""
PATIENCE = 2
BURSTS = 8
"""Turns of each file in a round."""
FEWEST_IN_BURST = 4
FEWEST_RUNS = 30
MOST_RUNS = 2_000
RUNS_FOR_P99 = 1_000
NOISY = 0.05
"""Half the width of an interval, as a fraction, from which on a machine is too noisy to compare on."""

Progress = Callable[[int, int], None]


@dataclass(frozen=True)
class BenchResult:
    """Latency of one file in one runtime at batch 1, in milliseconds.

    Attributes:
        runs: timed runs.
        init_ms: to load the file; median over processes.
        first_ms: of a process' first run; median over processes.
        median_ms: of the steady runs, as the percentiles.
        p99_ms: None below 1,000 runs, which are too few to tell.
        interval: of the median.
        blocks: every run.
    """

    path: Path
    runtime: str
    threads: int
    runs: int
    init_ms: float
    first_ms: float
    median_ms: float
    p90_ms: float
    p99_ms: float | None
    interval: Interval
    blocks: tuple[Block, ...] = field(repr=False, compare=False)

    @property
    def samples(self) -> Milliseconds:
        """All steady runs, in order."""
        return np.concatenate([block.steady for block in self.blocks])


@dataclass(frozen=True)
class Ratio:
    """Latency of ``a`` over that of ``b``, by bursts that are neighbours, and its interval.

    Nearly the ratio of their medians, but what slowed both is not in it.
    """

    a: BenchResult
    b: BenchResult
    ratio: float
    interval: Interval


@dataclass(frozen=True)
class BenchReport:
    """Results file by file in the order given, the ratio of each pair of them, and what was left out and why."""

    results: tuple[BenchResult, ...]
    ratios: tuple[Ratio, ...]
    notes: tuple[str, ...] = ()

    @property
    def fastest(self) -> BenchResult:
        """The file and runtime of the least median."""
        return min(self.results, key=lambda result: result.median_ms)

    @property
    def noisy(self) -> bool | None:
        """Whether a file and itself differ, or might by more than ±5 %; None if none was timed against itself."""
        checks = [ratio for ratio in self.ratios if (ratio.a.path, ratio.a.runtime) == (ratio.b.path, ratio.b.runtime)]
        if not checks:
            return None
        return any(1.0 not in check.interval or check.interval.half_width(check.ratio) > NOISY for check in checks)


@dataclass(frozen=True)
class BenchOptions:
    """How files are timed.

    Attributes:
        runtimes: to run each file by; all that can, if none is given. One that was not asked for and cannot run a
            file after all is left out, unless it is the file's usual one.
        threads: None for the physical cores.
        python: the interpreter that has the runtimes; None for this one.
        runs: timed runs of each; None for as many as fit in ``seconds``, 30 to 2,000.
        seconds: about how long each is timed, not counting the start of processes.
        rounds: fresh processes for each file, at least; fewer where there are fewer runs.
        until: go on until all intervals are this narrow: half their width, as a fraction. Stopping when it looks
            good makes intervals a little too narrow.
        most_rounds: after which it stops in any case.
        input_size: height and width for files that leave them open.
        external_data: an ``.onnx`` may keep weights in plain files beside itself.
        seed: of resampling.

    Raises:
        UsageError: a number that is not positive.
    """

    runtimes: tuple[str, ...] = ()
    threads: int | None = None
    python: Path | None = None
    runs: int | None = None
    seconds: float = 3.0
    rounds: int = ROUNDS
    until: float | None = None
    most_rounds: int = MOST_ROUNDS
    input_size: int | None = None
    external_data: bool = False
    seed: int = 0

    def __post_init__(self) -> None:
        numbers = (self.threads, self.runs, self.seconds, self.rounds, self.until, self.input_size)
        if not all(0 < number < float("inf") for number in numbers if number is not None):
            raise UsageError("Threads, runs, rounds, seconds and widths must be positive.", fix="Leave them out.")


def contenders(
    paths: Sequence[Path], options: BenchOptions, feeds: Mapping[Path, NDArray[Any]] | None = None
) -> Iterator[Contender]:
    """Each file in each of its runtimes, the usual one first. EdgexError as :func:`edgex.runtime.runtimes_for`."""
    threads = physical_cores() if options.threads is None else options.threads
    for path in paths:
        feed = None if feeds is None else feeds[path]
        for position, name in enumerate(runtimes_for(path, installed_runtimes(options.python), options.runtimes)):
            optional = position > 0 and not options.runtimes
            yield Contender(
                path, name, threads, options.python, options.input_size, feed, optional, options.external_data
            )


def bench(
    paths: Sequence[Path],
    options: BenchOptions | None = None,
    *,
    feeds: Mapping[Path, NDArray[Any]] | None = None,
    progress: Progress | None = None,
) -> BenchReport:
    """Time model files at batch 1.

    Args:
        paths: one or more files; the same one twice is a check on the method.
        options: see there.
        feeds: what to run each file on, a batch of one; None for random values of the right type.
        progress: called with rounds done and rounds in all.

    Raises:
        UsageError: no files. Other EdgexErrors as :func:`edgex.runtime.open_runner`.
    """
    options = options or BenchOptions()
    lanes = [_Lane(contender) for contender in contenders(paths, options, feeds)]
    if not lanes:
        raise UsageError("There is no file to time.", fix="Give at least one .tflite or .onnx file.")
    race = _Race(lanes, options, progress)
    race.run()
    return race.report()


def burst_sizes(runs: int) -> list[int]:
    """The runs of one round, spread over its turns: as many bursts as there are turns for, of four runs or more."""
    bursts = min(max(runs // FEWEST_IN_BURST, 1), BURSTS)
    plays = [(turn + 1) * bursts // BURSTS > turn * bursts // BURSTS for turn in range(BURSTS)]
    size, rest = divmod(runs, bursts)
    numbers = iter([size + (index < rest) for index in range(bursts)])
    return [next(numbers) if play else 0 for play in plays]


@dataclass
class _Lane:
    """A contender, and its blocks so far."""

    contender: Contender
    blocks: list[Block] = field(default_factory=list)

    def result(self, seed: int) -> BenchResult:
        samples = np.concatenate([block.steady for block in self.blocks])
        median, p90, p99 = np.percentile(samples, (50, 90, 99)).tolist()
        return BenchResult(
            path=self.contender.path,
            runtime=self.contender.runtime,
            threads=self.contender.threads,
            runs=len(samples),
            init_ms=float(np.median([block.init_ms for block in self.blocks])),
            first_ms=float(np.median([block.first_ms for block in self.blocks])),
            median_ms=median,
            p90_ms=p90,
            p99_ms=p99 if len(samples) >= RUNS_FOR_P99 else None,
            interval=median_interval([block.steady for block in self.blocks], seed),
            blocks=tuple(self.blocks),
        )


@dataclass
class _Race:
    """Blocks of all contenders, round by round."""

    lanes: list[_Lane]
    options: BenchOptions
    progress: Progress | None
    notes: list[str] = field(default_factory=list)

    @property
    def rounds(self) -> int:
        return min(self.options.rounds, self.options.runs or self.options.rounds)

    @property
    def sequential(self) -> bool:
        """Whether no run of any contender uses more than one core."""
        contenders = [lane.contender for lane in self.lanes]
        return not any(each.threads > 1 or RUNTIMES[each.runtime].accelerated for each in contenders)

    def run(self) -> None:
        for number in range(self.options.most_rounds):
            with ExitStack() as stack:
                if self.sequential:
                    stack.enter_context(one_core(number))
                entries = [(lane, stack.enter_context(entry)) for lane, entry in self._enter(number)]
                self._take_turns(entries, number)
            enough = number + 1 >= self.rounds
            if enough and (self.options.until is None or self._widest() <= self.options.until):
                return
        if self.options.until is not None:
            rounds, wanted = self.options.most_rounds, f"±{100 * self.options.until:g} %"
            self.notes.append(
                f"The intervals did not get as narrow as {wanted} in {rounds} rounds: the machine is noisy."
            )

    def _enter(self, number: int) -> Iterator[tuple["_Lane", Entry]]:
        """Start a process for each contender; one that nobody asked for is dropped if it cannot run its file.

        They start in turns of order, too: who starts first gets the memory, and with it the cache lines, that the
        first of the round before gave back.
        """
        for lane in self.lanes[:: -1 if number % 2 else 1]:
            try:
                yield lane, Entry(lane.contender)
            except EdgexError as error:
                if number or not lane.contender.optional:
                    raise
                self.lanes.remove(lane)
                self.notes.append(f"Left out: {error.message}")

    def _take_turns(self, entries: Sequence[tuple["_Lane", Entry]], number: int) -> None:
        sizes = [burst_sizes(self._runs(lane, entry, number)) for lane, entry in entries]
        bursts: list[list[Milliseconds]] = [[] for _ in entries]
        # At random A B B A or B A A B, lest something that comes and goes at their pace always meets the same one
        first = np.random.default_rng((self.options.seed, number)).integers(0, 2, BURSTS)
        for turn in range(BURSTS):
            for index in range(len(entries))[:: -1 if (turn + first[turn // 2]) % 2 else 1]:
                bursts[index].append(entries[index][1].burst(sizes[index][turn]))
        for (lane, entry), samples in zip(entries, bursts, strict=True):
            lane.blocks.append(Block(entry.init_ms, entry.first_ms, tuple(samples)))
        if self.progress is not None:
            self.progress(number + 1, max(self.rounds, number + 1))

    def _runs(self, lane: "_Lane", entry: Entry, number: int) -> int:
        """Timed runs of a contender in a round."""
        if self.options.runs is not None:
            return self.options.runs // self.rounds + (number < self.options.runs % self.rounds)
        if lane.blocks:
            return len(lane.blocks[0].steady)
        fitting = min(max(self.options.seconds * 1e3 / entry.usual_ms, FEWEST_RUNS), MOST_RUNS)
        return max(int(fitting) // self.rounds, 1)

    def _widest(self) -> float:
        """Half the width of the widest interval: of a ratio, or of the median where there is but one."""
        report = self.report()
        intervals = [(ratio.ratio, ratio.interval) for ratio in report.ratios] or [
            (result.median_ms, result.interval) for result in report.results
        ]
        return max(found.half_width(value) for value, found in intervals)

    def report(self) -> BenchReport:
        seed = self.options.seed
        results = tuple(lane.result(seed) for lane in self.lanes)
        ratios = tuple(
            Ratio(a, b, *paired_ratio([*map(ratios_of_neighbours, a.blocks, b.blocks)], seed))
            for a, b in combinations(results, 2)
        )
        return BenchReport(results, ratios, tuple(self.notes))


def self_check(
    path: Path,
    options: BenchOptions | None = None,
    *,
    feeds: Mapping[Path, NDArray[Any]] | None = None,
    progress: Progress | None = None,
) -> BenchReport:
    """Time a file against itself, as :func:`bench`, by its usual runtime unless another is asked for.

    Unless told how long, it takes :data:`CHECK_ROUNDS` times as long, and up to :data:`PATIENCE` times that where this
    does not tell. The report says in ``noisy`` whether the machine can be compared on.
    """
    options = options or BenchOptions()
    contender, *_ = contenders([path], options)
    if options.until is None and options.runs is None:
        rounds, seconds = CHECK_ROUNDS * options.rounds, CHECK_ROUNDS * options.seconds
        options = replace(options, rounds=rounds, seconds=seconds, until=NOISY, most_rounds=PATIENCE * rounds)
    return bench([path, path], replace(options, runtimes=(contender.runtime,)), feeds=feeds, progress=progress)


def save_samples(report: BenchReport, file: Path) -> None:
    """Write every run as a line of CSV. OSError if the disk refuses."""
    with file.open("w", newline="", encoding="utf-8", errors="surrogateescape") as stream:
        writer = csv.writer(stream)
        writer.writerow(("path", "runtime", "threads", "block", "phase", "milliseconds"))
        for result in report.results:
            for number, block in enumerate(result.blocks):
                key = (result.path, result.runtime, result.threads, number)
                writer.writerow((*key, "init", block.init_ms))
                writer.writerow((*key, "first", block.first_ms))
                writer.writerows((*key, "steady", sample) for sample in block.steady.tolist())
