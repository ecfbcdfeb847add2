"""From measurements to the figures of each file."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from edgex.bench import BenchReport
from edgex.comparison import compare
from edgex.predictions import Predictions
from edgex.records import Artifact
from edgex.report import ArtifactFigures, FileFigures, Latency, Speedup
from edgex.validate.figures import calibration_error, confusions, hits_among_best


@dataclass(frozen=True)
class Subject:
    """A model file to measure, and what the report calls it."""

    name: str
    artifact: Artifact


@dataclass(frozen=True)
class Measurements:
    """What was measured, of all files in the same order, the baseline first.

    Attributes:
        runtimes: that ran them.
        peaks: bytes, see :func:`edgex.runtime.memory.peak_memory`.
        timed: of the files and, once more at the end, the baseline; None if they were not timed.
    """

    subjects: Sequence[Subject]
    runtimes: Sequence[str]
    peaks: Sequence[int | None]
    timed: BenchReport | None


def assemble(measured: Measurements, predictions: Predictions) -> tuple[FileFigures, tuple[ArtifactFigures, ...]]:
    """The figures of the baseline, and those of the artifacts."""
    baseline, *others = (_file(measured, predictions, number) for number in range(len(measured.subjects)))
    artifacts = (_artifact(measured, predictions, figures, number) for number, figures in enumerate(others, start=1))
    return baseline, tuple(artifacts)


def _file(measured: Measurements, predictions: Predictions, number: int) -> FileFigures:
    name = measured.subjects[number].name
    own = predictions.of[name]
    return FileFigures(
        **file_facts(measured, number, len(predictions)),
        hits=int(predictions.hits(name).sum()),
        hits5=hits_among_best(own, predictions.labels),
        calibration_error=calibration_error(own, predictions.labels),
    )


def file_facts(measured: Measurements, number: int, images: int) -> dict[str, Any]:
    """Of a file that saw so many images: the fields of :class:`edgex.report.FileFacts`."""
    subject = measured.subjects[number]
    return {
        "name": subject.name,
        "format": subject.artifact.format,
        "precision": subject.artifact.precision,
        "bytes": subject.artifact.bytes,
        "sha256": subject.artifact.sha256,
        "runtime": measured.runtimes[number],
        "images": images,
        "peak_bytes": measured.peaks[number],
        "latency": _latency(measured, number),
    }


def _latency(measured: Measurements, number: int) -> Latency | None:
    """Of a file; None if it was not measured."""
    if measured.timed is None:
        return None
    result = measured.timed.results[number]
    return Latency(
        threads=result.threads,
        runs=result.runs,
        median_ms=result.median_ms,
        low_ms=result.interval.low,
        high_ms=result.interval.high,
        p90_ms=result.p90_ms,
    )


def _artifact(measured: Measurements, predictions: Predictions, figures: FileFigures, number: int) -> ArtifactFigures:
    class_names = predictions.about.class_names
    said = (predictions.of[measured.subjects[0].name].top1, predictions.of[figures.name].top1)
    own = {name: getattr(figures, name) for name in FileFigures.model_fields}
    return ArtifactFigures(
        **own,
        comparison=compare(predictions.labels, *said, class_names),
        snr_db=predictions.snr_db(figures.name),
        speedup=speedup_of(measured, number),
        confusions=confusions(predictions.labels, *said, class_names),
    )


def speedup_of(measured: Measurements, number: int) -> Speedup | None:
    """Over the baseline; None if it was not measured, or on a noisy machine, which can claim none."""
    timed = measured.timed
    if timed is None or timed.noisy:
        return None
    baseline, artifact = timed.results[0], timed.results[number]
    ratio = next(ratio for ratio in timed.ratios if ratio.a is baseline and ratio.b is artifact)
    return Speedup(ratio=ratio.ratio, low=ratio.interval.low, high=ratio.interval.high)
