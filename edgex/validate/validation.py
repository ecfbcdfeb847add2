"""From an output directory and images to a report beside the artifacts."""

import hashlib
import json
import platform
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cache, partial
from pathlib import Path
from typing import Any

from edgex.bench import BenchOptions, BenchReport, bench
from edgex.cpu import read_cpu
from edgex.dataset import Dataset, check_disjoint, open_dataset
from edgex.errors import DataError
from edgex.evaluate import Crews
from edgex.gate import GateResult, Limits, gate, judge
from edgex.manifest import Manifest, file_record, read_manifest, verify
from edgex.measure import images_seen
from edgex.output import locked, replace_files
from edgex.page import map_report_page, report_page
from edgex.pipeline import Progress, data_warnings, silent
from edgex.predictions import PREDICTIONS_NAME, Predictions, load_predictions
from edgex.preprocess import Pixels, Preprocessing
from edgex.report import (
    PAGE_NAME,
    REPORT_NAME,
    AnyReport,
    DataFacts,
    LayerError,
    MapDataFacts,
    MapReport,
    Report,
    read_report,
)
from edgex.runtime import describe_python, physical_cores
from edgex.runtime.memory import peak_memory
from edgex.segmentation.predictions import MapPredictions, load_map_predictions
from edgex.sensitivity import SENSITIVITY_NAME, read_sensitivity
from edgex.target import not_its_latency
from edgex.validate.assemble import Measurements, Subject, assemble
from edgex.validate.assemble_maps import assemble_maps
from edgex.validate.collect import collect
from edgex.validate.collect_maps import collect_maps
from edgex.validate.explanations import NOT_SEGMENTERS, explanation_of
from edgex.validate.layer_errors import layer_errors
from edgex.validate.subjects import subjects

PARTIAL_NAME = ".validate.npz"
"""What an interrupted run had done."""

LAYER_IMAGES = 16
"""On which the error of each layer is measured."""

AnyPredictions = Predictions | MapPredictions


@dataclass(frozen=True)
class ValidateOptions:
    """How a directory is validated.

    Attributes:
        labels: CSV file with the columns path,label, for images in a flat folder.
        max_bad: unreadable images to put up with.
        runtime: to run all files by, accuracy and latency alike; None for the usual one of each.
        python: the interpreter that has the runtimes; None for this one.
        threads: None for the physical cores.
        latency: whether to time the files.
        seconds: about how long each is timed.
        limits: that the page judges by.
        explain: whether to draw where the models look, see :mod:`edgex.explain`.
    """

    labels: Path | None = None
    max_bad: int = 0
    runtime: str | None = None
    python: Path | None = None
    threads: int | None = None
    latency: bool = True
    seconds: float = 3.0
    limits: Limits = field(default_factory=Limits)
    explain: bool = False


@dataclass(frozen=True)
class Validation:
    """What was written into ``directory``.

    Attributes:
        page: the report for people.
        verdict: by the limits that were given.
    """

    directory: Path
    report: AnyReport
    page: Path
    verdict: GateResult


def validate(
    directory: Path,
    data: str | Path,
    baseline: Path | None = None,
    options: ValidateOptions | None = None,
    progress: Progress = silent,
) -> Validation:
    """Measure the artifacts of a directory beside the float model, and write the report into it.

    A run that was interrupted goes on where it stopped, as long as files, images and runtimes are the same.

    Args:
        directory: that ``quantize`` wrote.
        data: images with labels or masks that calibration did not see, see :mod:`edgex.dataset`.
        baseline: what to compare with, a ``.keras``, ``.h5``, ``.onnx`` or ``.tflite`` file for the same images; None
            for the model originally given, which lies in the directory as ``.fp32.onnx``.
        options: see there.
        progress: called with what is done, how many are done, how many there are.

    Raises:
        OutputError: the directory is none of ours, lacks a file, is in use, or cannot be written.
        UsageError: some images are among those that calibration saw, or do not fit the models or the limits.
        DataError: the images have neither labels nor masks, or cannot be read. Other EdgexErrors as
            :class:`edgex.evaluate.Crews` and :func:`edgex.bench.bench`.
    """
    options = options or ValidateOptions()
    options = replace(options, threads=options.threads or physical_cores())
    manifest = read_manifest(directory)
    preprocessing = Preprocessing.from_json(manifest.preprocessing, str(directory))
    dataset = open_dataset(data, role="evaluation", labels=options.labels, max_bad=options.max_bad)
    dataset = replace(dataset, class_names=tuple(map(_text, dataset.class_names)))
    if not dataset.segmented:
        options.limits.refuse_pixel_limits(f"{dataset.source.path} has no masks")
    check_disjoint(images_seen(directory), dataset)
    kept = directory / PARTIAL_NAME
    # Begun before the work, so that a place that cannot be written does not cost it. The report takes its place last:
    # by the hash of the predictions that it names, a kill before that shows.
    files = [directory / name for name in (PREDICTIONS_NAME, PAGE_NAME, REPORT_NAME)]
    with (
        locked(directory),
        replace_files(files) as (columns, page, record),
        subjects(directory, manifest, baseline, preprocessing) as models,
    ):
        measured, predictions = _measure(models, dataset, preprocessing, kept, options, progress)
        progress("layers", 0, 1)
        errors = _layer_errors(manifest, dataset, preprocessing)
        progress("layers", 1, 1)
        timed = measured.timed
        predictions.save(columns)
        known: dict[str, Any] = {
            "target": dict(manifest.target),
            "data": _data_facts(data, dataset, predictions),
            "noisy": None if timed is None else timed.noisy,
            "layer_errors": errors,
            "sensitivity": read_sensitivity(directory / SENSITIVITY_NAME, manifest.source.sha256),
            "settings": {
                "threads": options.threads,
                "seconds": options.seconds,
                "preprocessing": manifest.preprocessing,
            },
            "machine": _machine(),
            "versions": _versions(measured.runtimes, options.python),
            "predictions": file_record(columns).sha256,
            "warnings": tuple(map(_text, _warnings(directory, manifest, dataset, timed, options))),
        }
        report: AnyReport
        if isinstance(predictions, MapPredictions):
            first, others = assemble_maps(measured, predictions)
            report = MapReport(baseline=first, artifacts=others, **known)
        else:
            plain, rest = assemble(measured, predictions)
            explanation = None
            if options.explain:
                explanation = explanation_of(measured, predictions, dataset, preprocessing, options, progress)
            report = Report(baseline=plain, artifacts=rest, explanation=explanation, **known)
        verdict = judge(report, options.limits, directory=directory)
        _write_page(page, report, verdict, predictions, dataset)
        record.write_text(report.to_json(), encoding="utf-8")
    kept.unlink(missing_ok=True)
    return Validation(directory, report, directory / PAGE_NAME, verdict)


def renew_page(directory: Path, data: str | Path, options: ValidateOptions) -> None:
    """Write the page of a directory anew, for other limits than it was validated with.

    Args:
        directory: that :func:`validate` wrote a report into.
        data: the images that it is of.
        options: of which the limits, and those that say how to open the images.

    Raises:
        DataError: as :func:`edgex.gate.gate`, or the images cannot be read. OutputError: the page cannot be written.
    """
    dataset = open_dataset(data, role="evaluation", labels=options.labels, max_bad=options.max_bad)
    report, file = read_report(directory / REPORT_NAME), directory / PREDICTIONS_NAME
    predictions = load_map_predictions(file) if isinstance(report, MapReport) else load_predictions(file)
    with replace_files([directory / PAGE_NAME]) as (page,):
        _write_page(page, report, gate(directory, options.limits), predictions, dataset)


def _measure(
    files: Sequence[Subject],
    dataset: Dataset,
    preprocessing: Preprocessing,
    kept: Path,
    options: ValidateOptions,
    progress: Progress,
) -> tuple[Measurements, AnyPredictions]:
    paths = [subject.artifact.path for subject in files]
    threads = options.threads or physical_cores()
    with Crews(paths, runtime=options.runtime, python=options.python, threads=threads) as crews:
        collecting: Callable[..., AnyPredictions] = collect_maps if dataset.segmented else collect
        predictions = collecting(
            crews,
            [subject.name for subject in files],
            dataset,
            preprocessing,
            key=_key(files, dataset, preprocessing, crews.runtimes, options.python),
            partial=kept,
            progress=partial(progress, "evaluate"),
        )
        runtimes, blanks = crews.runtimes, crews.blanks
    peaks = []
    for done, (path, runtime, blank) in enumerate(zip(paths, runtimes, blanks, strict=True)):
        progress("memory", done, len(paths))
        peaks.append(peak_memory(path, runtime, threads, blank, options.python))
    progress("memory", len(paths), len(paths))
    timed = _time(paths, runtimes, options, progress) if options.latency else None
    return Measurements(files, runtimes, peaks, timed), predictions


def _key(
    files: Sequence[Subject],
    dataset: Dataset,
    preprocessing: Preprocessing,
    runtimes: Sequence[str],
    python: Path | None,
) -> str:
    """Of all that predictions follow from."""
    _, versions = _described(python)
    models = [
        [subject.name, subject.artifact.sha256, runtime, versions.get(runtime)]
        for subject, runtime in zip(files, runtimes, strict=True)
    ]
    return hashlib.sha256(json.dumps([dataset.fingerprint, preprocessing.to_json(), models]).encode()).hexdigest()


def _time(paths: Sequence[Path], runtimes: Sequence[str], options: ValidateOptions, progress: Progress) -> BenchReport:
    """All files, and the baseline a second time: whether it equals itself tells how far the others can be believed."""
    how = BenchOptions(
        runtimes=tuple(dict.fromkeys(runtimes)),
        threads=options.threads,
        python=options.python,
        seconds=options.seconds,
    )
    return bench([*paths, paths[0]], how, progress=partial(progress, "bench"))


def _layer_errors(manifest: Manifest, dataset: Dataset, preprocessing: Preprocessing) -> tuple[LayerError, ...]:
    """Of the INT8 ONNX file against the float one, where the directory has both."""
    onnx = {artifact.precision: artifact.path for artifact in manifest.artifacts if artifact.format == "onnx"}
    int8 = onnx.get("int8", onnx.get("mixed"))
    if int8 is None or "fp32" not in onnx:
        return ()
    some = dataset.sample(LAYER_IMAGES)
    return layer_errors(onnx["fp32"], int8, (images for _, images in some.batches(preprocessing)))


def _text(name: str) -> str:
    """A name of a file without the bytes that are no text, which JSON cannot hold."""
    return name.encode(errors="replace").decode()


def data_name(data: str | Path) -> str:
    """What images are called: the folder or file without its own folder."""
    path = Path(data)
    return path.resolve().name if path.name in ("", "..") else path.name


def _data_facts(data: str | Path, dataset: Dataset, predictions: AnyPredictions) -> DataFacts:
    facts: dict[str, Any] = {
        "name": _text(data_name(data)),
        "images": len(predictions),
        "unreadable": len(dataset.log.unreadable),
        "fingerprint": dataset.fingerprint,
        "class_names": predictions.about.class_names,
    }
    if isinstance(predictions, MapPredictions):
        height, width = predictions.about.size
        return MapDataFacts(**facts, height=height, width=width)
    return DataFacts(**facts)


def _machine() -> dict[str, Any]:
    cpu = read_cpu()
    return {
        "system": platform.system(),
        "architecture": cpu.architecture,
        "cpu": cpu.name,
        "physical_cores": cpu.physical_cores,
        "logical_cores": cpu.logical_cores,
    }


def _versions(runtimes: Sequence[str], python: Path | None) -> dict[str, str]:
    from edgex import __version__

    version, found = _described(python)
    used = {runtime: found[runtime] for runtime in dict.fromkeys(runtimes) if runtime in found}
    return {"edgex": __version__, "python": version, **used}


@cache
def _described(python: Path | None) -> tuple[str, Mapping[str, str]]:
    """As :func:`edgex.runtime.describe_python`, which takes a process that imports all runtimes."""
    return describe_python(python)


def _warnings(
    directory: Path, manifest: Manifest, dataset: Dataset, timed: BenchReport | None, options: ValidateOptions
) -> list[str]:
    warnings = [f"{problem.name} {problem.message}." for problem in verify(directory)]
    warnings += data_warnings(dataset)
    if options.explain and dataset.segmented:
        warnings.append(NOT_SEGMENTERS)
    if timed is not None:
        warnings += timed.notes
        if timed.noisy:
            warnings.append("The machine was noisy: the baseline differed from itself. No speed-up is claimed.")
        warnings += not_its_latency(manifest.target["name"])
    return warnings


def _write_page(
    file: Path, report: AnyReport, verdict: GateResult, predictions: AnyPredictions, dataset: Dataset
) -> None:
    def pixels(name: str) -> Pixels | None:
        try:
            return dataset.source.image(name).pixels
        except DataError:
            return None

    if isinstance(report, MapReport) and isinstance(predictions, MapPredictions):
        page = map_report_page(report, verdict, predictions, pixels)
    else:
        assert isinstance(report, Report)
        assert isinstance(predictions, Predictions)
        page = report_page(report, verdict, predictions, pixels)
    file.write_text(page, encoding="utf-8")
