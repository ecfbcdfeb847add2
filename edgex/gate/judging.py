"""From a report to a verdict."""

from collections.abc import Iterable, Mapping
from pathlib import Path

from edgex.errors import DataError
from edgex.gate.checks import checks
from edgex.gate.records import AnyComparison, GateResult, Judgement, Limits, list_names, worst
from edgex.gate.releases import compare_releases
from edgex.manifest import file_record
from edgex.report import REPORT_NAME, AnyReport, MapReport, read_report


def gate(report: Path, limits: Limits | None = None, baseline: Path | None = None) -> GateResult:
    """Judge the artifacts of a report.

    Args:
        report: ``report.json``, or the directory that holds it.
        limits: a drop of one point if not said.
        baseline: the report of an earlier release, whose artifacts of the same kinds then stand for the float model,
            on the images that both have. ``predictions.npz`` must lie beside both.

    Raises:
        DataError: a report or its predictions cannot be read or do not belong together, an artifact beside the report
            is no longer the one that was measured, or there is nothing to judge.
        UsageError: limits that are no numbers, or are of pixels where the report is of a classifier.
    """
    file = _report_file(report)
    found, limits = read_report(file), limits or Limits()
    _refuse_changed(file, found)
    if baseline is None:
        return judge(found, limits, directory=file.parent)
    releases = compare_releases(file, found, _report_file(baseline))
    return judge(found, limits, releases.comparisons, file.parent, str(baseline), releases.notes)


def judge(
    report: AnyReport,
    limits: Limits,
    comparisons: Mapping[str, AnyComparison | None] | None = None,
    directory: Path = Path(),
    against: str = "",
    notes: Iterable[str] = (),
) -> GateResult:
    """Judge each artifact that is not a float twin.

    Args:
        report: with the measurements.
        limits: to keep.
        comparisons: by artifact; None for those of the report, with the float baseline. A comparison that is None is
            one that could not be made.
        directory: of the artifacts, for their paths.
        against: what they are compared with, by name.
        notes: on the comparisons.

    Raises:
        DataError: there is no quantized artifact.
        UsageError: there is a limit of pixels, and the report is of a classifier.
    """
    if not isinstance(report, MapReport):
        limits.refuse_pixel_limits(f"{report.baseline.name} classifies whole images")
    judged = [artifact for artifact in report.artifacts if artifact.judged]
    if not judged:
        raise DataError("The report has no INT8 artifact to judge.", fix="Validate what edgex quantize wrote.")
    if comparisons is None:
        of_all = report.comparisons
        comparisons = {artifact.name: of_all[artifact.name] for artifact in judged}
    results = []
    for artifact in judged:
        comparison = comparisons.get(artifact.name)
        found = checks(report, artifact, comparison, limits)
        verdict = worst(check.verdict for check in found)
        results.append(Judgement(directory / artifact.name, verdict, comparison, found))
    return GateResult(
        worst(result.verdict for result in results),
        tuple(results),
        limits,
        against or report.baseline.name,
        (*notes, *_gaps(report, comparisons.values())),
    )


def _gaps(report: AnyReport, comparisons: Iterable[AnyComparison | None]) -> Iterable[str]:
    """Sentences on what was not seen."""
    if report.data.unreadable:
        yield f"{report.data.unreadable:,} images could not be read and are not judged."
    made = [comparison for comparison in comparisons if comparison is not None]
    absent = dict.fromkeys(name for comparison in made for name in comparison.absent)
    if absent:
        yield f"There is no {report.shows} of the classes {list_names(list(absent))}: the verdict is partial."


def _report_file(path: Path) -> Path:
    return path / REPORT_NAME if path.is_dir() else path


def _refuse_changed(file: Path, report: AnyReport) -> None:
    """DataError if an artifact lies beside the report and is another than was measured."""
    for artifact in (report.baseline, *report.artifacts):
        path = file.parent / artifact.name
        beside = path.parent == file.parent  # a baseline from elsewhere has its folder in its name
        if beside and path.is_file() and file_record(path).sha256 != artifact.sha256:
            raise DataError(
                f"{path} is not the file that {file} measured.", fix=f"Validate again: edgex validate {file.parent}"
            )
