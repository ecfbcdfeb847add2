"""The whole job on what ships with edgex: a small Xception, calibration images, and digits nobody has seen."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from edgex.bench import BenchOptions, bench
from edgex.evaluate import EvalResult
from edgex.measure import evaluate_artifacts
from edgex.pipeline import quantize
from edgex.records import Artifact
from edgex.resources import calib_data_dir
from edgex.target import TargetProfile

BENCH_SECONDS = 0.5
BENCH_ROUNDS = 4


@dataclass(frozen=True)
class DemoRow:
    """One artifact: its accuracy (fraction) and its latency at batch 1."""

    artifact: Artifact
    runtime: str
    top1: float
    median_ms: float


@dataclass(frozen=True)
class DemoReport:
    """What the demo found; the float ONNX model comes first."""

    directory: Path
    images: int
    threads: int
    rows: tuple[DemoRow, ...]


def run_demo(model: Path, target: TargetProfile, output: Path, progress: Callable[[str, int, int], None]) -> DemoReport:
    """Quantize a model of the digits for a target, evaluate it, and time it.

    Raises:
        OutputError: the directory cannot be written. EdgexError as :func:`edgex.pipeline.quantize`.
    """
    written = quantize(model, target, calib_data_dir(), output, progress=progress)
    artifacts = sorted(
        written.artifacts, key=lambda artifact: artifact.precision != "fp32" or artifact.format != "onnx"
    )
    paths = [artifact.path for artifact in artifacts]
    evaluation = evaluate_artifacts(paths, "digits", progress=lambda done, total: progress("evaluate", done, total))
    results = [result for result in evaluation.results if isinstance(result, EvalResult)]
    options = BenchOptions(runtimes=("litert", "onnxruntime"), seconds=BENCH_SECONDS, rounds=BENCH_ROUNDS)
    report = bench(paths, options, progress=lambda done, total: progress("bench", done, total))
    return DemoReport(
        directory=output,
        images=results[0].images,
        threads=report.results[0].threads,
        rows=tuple(
            DemoRow(artifact, result.runtime, result.top1, timing.median_ms)
            for artifact, result, timing in zip(artifacts, results, report.results, strict=True)
        ),
    )
