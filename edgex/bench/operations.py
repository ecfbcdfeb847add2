"""Where the time of a file goes, operation by operation, as the profiler of its runtime sees it."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgex.bench.block import SLACK, WARM_SECONDS, Contender, random_feeds
from edgex.bench.interleaved import BenchOptions, BenchReport
from edgex.errors import EdgexError, UsageError
from edgex.runtime import RUNTIMES, Worker, profiler
from edgex.runtime.worker import Port

FEWEST_RUNS = 10
MOST_RUNS = 50
"""More would not fit in the buffers of the profilers."""

CONVERSIONS = {
    *("cast", "convert", "dequantize", "dequantizelinear", "fakequantize"),
    *("quantize", "quantizelinear", "subgraph"),
}
"""Operations, in lower case, that only change the type if what they make is of another type than what they read."""

Progress = Callable[[int, int], None]


@dataclass(frozen=True)
class Operation:
    """What a runtime ran as one.

    Attributes:
        layer: of the Keras model; the runtime's own name for what it added, or where it keeps no names.
        op: as the runtime calls it.
        kernel: the implementation; empty where the runtime does not say.
        precision: ``int8``, ``float``, ``conversion`` between them or of the layout, or ``other``, such as an index.
        ms: of one run.
        share: of the time of all operations.
    """

    layer: str
    op: str
    kernel: str
    precision: str
    ms: float
    share: float


@dataclass(frozen=True)
class OperationProfile:
    """The operations of a file in a runtime, in the order in which they run.

    Attributes:
        total_ms: of a run without the profiler.
        overhead_ms: what the profiler added to each operation, which is taken off.
    """

    path: Path
    runtime: str
    total_ms: float
    overhead_ms: float
    operations: tuple[Operation, ...]

    @property
    def operations_ms(self) -> float:
        """All operations of a run; the rest of it the runtime spends between them."""
        return sum(operation.ms for operation in self.operations)

    @property
    def in_float(self) -> tuple[str, ...]:
        """The layers that a file with INT8 operations computes in float."""
        if all(operation.precision != "int8" for operation in self.operations):
            return ()
        return tuple(dict.fromkeys(o.layer for o in self.operations if o.precision == "float"))


@dataclass(frozen=True)
class OperationReport:
    """A profile of each file and runtime that could be profiled, and why the others were left out."""

    profiles: tuple[OperationProfile, ...]
    notes: tuple[str, ...]


def profile_report(
    report: BenchReport,
    options: BenchOptions,
    *,
    feeds: Mapping[Path, NDArray[Any]] | None = None,
    progress: Progress | None = None,
) -> OperationReport:
    """Profile each file in each runtime that a report has.

    Args:
        report: of :func:`edgex.bench.bench`.
        options: those it was made with.
        feeds: as well.
        progress: called with files done and files in all.

    Raises:
        EdgexError: as :func:`profile_operations`, if not one could be profiled.
    """
    # A file that was timed against itself is profiled once
    contenders = {
        (result.path, result.runtime): Contender(
            result.path,
            result.runtime,
            result.threads,
            options.python,
            options.input_size,
            None if feeds is None else feeds[result.path],
            external_data=options.external_data,
        )
        for result in report.results
    }
    profiles: list[OperationProfile] = []
    errors: list[EdgexError] = []
    for done, contender in enumerate(contenders.values(), start=1):
        try:
            profiles.append(profile_operations(contender, options.seconds))
        except EdgexError as error:
            errors.append(error)
        if progress is not None:
            progress(done, len(contenders))
    if not profiles:
        raise errors[0]
    notes = [f"Not profiled: {error.message}" for error in errors]
    notes += [
        f"OpenVINO drops the names in {profile.path}; those of an .onnx file it keeps."
        for profile in profiles
        if profile.runtime == "openvino" and profile.path.suffix.lower() == ".tflite"
    ]
    return OperationReport(tuple(profiles), tuple(notes))


def profile_operations(contender: Contender, seconds: float = 3.0) -> OperationProfile:
    """Run a file under the profiler of its runtime, in a fresh process.

    Args:
        contender: what to run.
        seconds: about how long to run it with the profiler, and as long without; 10 to 50 runs.

    Raises:
        UsageError: the runtime has no profiler. Other EdgexErrors as :func:`edgex.bench.block.measure_block`.
    """
    path, runtime, threads = contender.path, contender.runtime, contender.threads
    if runtime not in profiler.PROFILERS:
        able = [name for name in profiler.PROFILERS if path.suffix.lower() in RUNTIMES[name].suffixes]
        fix = f"Run the file by {' or '.join(able)}."
        raise UsageError(f"{runtime} does not tell how long each operation takes.", fix=fix)
    with Worker(contender.python, contender.limits, Path(profiler.__file__)) as worker:
        described = worker.open(path, runtime, threads)
        ports = [Port(**port) for port in described["inputs"]]
        arrays = random_feeds(contender, ports) if contender.feed is None else [contender.feed]
        limits = worker.limits
        _, (warm,) = worker.ask("warm", 2 * limits.run_seconds, arrays, seconds=WARM_SECONDS)
        usual = float(np.median(warm))
        runs = int(min(max(seconds * 1e3 / usual, FEWEST_RUNS), MOST_RUNS))
        patience = limits.open_seconds + limits.run_seconds + 2 * runs * SLACK * usual / 1e3
        header = {"path": str(path), "runtime": runtime, "threads": threads, "runs": runs}
        answer, _ = worker.ask("profile", patience, arrays, **header)
    operations = [profiler.Operation(**operation) for operation in answer["operations"]]
    return without_overhead(path, runtime, answer["plain"], operations)


def without_overhead(
    path: Path, runtime: str, total_ms: float, measured: Sequence[profiler.Operation]
) -> OperationProfile:
    """Take off what the profiler adds: the same for each operation, and in all what is above a run without it."""
    above = sum(operation.ms for operation in measured) - total_ms
    overhead = max(0.0, above) / max(len(measured), 1) if profiler.PROFILERS[runtime].slows else 0.0
    own = [max(0.0, operation.ms - overhead) for operation in measured]
    whole = sum(own) or 1.0
    operations = tuple(
        Operation(operation.layer, operation.op, operation.kernel, precision_of(operation), ms, ms / whole)
        for operation, ms in zip(measured, own, strict=True)
    )
    return OperationProfile(path, runtime, total_ms, overhead, operations)


def precision_of(operation: profiler.Operation) -> str:
    """What :class:`Operation` calls it, by the types that the operation reads and makes."""
    read, made = _kind(operation.read), _kind(operation.made)
    op = operation.op.lower()
    if op.startswith("reorder") or (read != made and op in CONVERSIONS):
        return "conversion"
    return read


def _kind(type_name: str) -> str:
    """Of a type as any of the runtimes writes it: ``tensor(uint8)``, ``u8``, ``QS8``, ``FLOAT32``."""
    name = type_name.lower()
    if name in ("int8", "uint8", "i8", "u8", "s8", "qc8", "qs8", "qu8"):
        return "int8"
    return "float" if name.startswith(("float", "f16", "f32", "bf", "double")) else "other"
