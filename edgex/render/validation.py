"""What ``validate`` found, as a table and as JSON."""

from typing import TYPE_CHECKING, Any

from edgex.console import out
from edgex.records import split_names
from edgex.render.evaluations import unbounded
from edgex.render.explanation import show_explanation
from edgex.render.tables import new_table
from edgex.render.text import milliseconds, percent, size

if TYPE_CHECKING:
    from edgex.report import AnyReport, ArtifactFigures, FileFigures, MapArtifactFigures, MapFileFigures
    from edgex.validate import Validation

    AnyFile = FileFigures | MapFileFigures


def validation_document(found: "Validation") -> dict[str, Any]:
    document = found.report.document()
    del document["schema"]
    return {"directory": found.directory, "page": found.page, "verdict": found.verdict.verdict, **document}


def show_validation(found: "Validation") -> None:
    show_report(found.report)
    show_explanation(found.report)
    for judgement in found.verdict.results:
        decisive = next(check for check in judgement.checks if check.verdict == judgement.verdict)
        out().print(f"{judgement.verdict}: {judgement.path.name}. {decisive.message}")
    out().print(f"Look at {found.page}, or judge by other limits with edgex gate {found.directory}")


def show_report(report: "AnyReport") -> None:
    """The figures of every file."""
    from edgex.report import MapReport

    _, short = split_names([each.name for each in (report.baseline, *report.artifacts)])
    maps = isinstance(report, MapReport)
    table = new_table(
        "file",
        "runtime",
        *(["mIoU %", "pixels %"] if maps else ["top-1 %"]),
        "drop",
        "at most",
        "agrees %",
        "SNR dB",
        "ms",
        "speed-up",
        "size",
        "memory",
    )
    table.collapse_padding = maps  # one column more, and names still whole where lines end at PIPE_WIDTH
    base = report.baseline
    table.add_row(short[base.name], base.runtime, *_accuracy(base), *[""] * 4, _latency(base), "", *_space(base))
    for artifact in report.artifacts:
        table.add_row(
            short[artifact.name],
            artifact.runtime,
            *_accuracy(artifact),
            *_beside_baseline(artifact),
            _latency(artifact),
            "–" if artifact.speedup is None else f"{artifact.speedup.ratio:.2f}×",
            *_space(artifact),
        )
    out().print(table)
    drops = "Pixels are those that are labelled right. Drops of mean IoU" if maps else "Drops"
    out().print(
        f"{report.data.images:,} images. {drops} are in points, at most so much with 95 % confidence; milliseconds are "
        "at batch 1; memory is what a file takes on top of its runtime."
    )
    if isinstance(report, MapReport) and not report.baseline.measures.miou.enough:
        out().print(unbounded("mean IoU"))


def _accuracy(figures: "AnyFile") -> list[str]:
    from edgex.report import MapFileFigures

    if isinstance(figures, MapFileFigures):
        return [percent(figures.miou), percent(figures.pixel_accuracy)]
    return [percent(figures.top1)]


def _beside_baseline(artifact: "ArtifactFigures | MapArtifactFigures") -> list[str]:
    comparison = artifact.comparison
    drop = [f"{comparison.drop.points:+.2f}", f"{comparison.drop.high:+.2f}"]
    snr = "–" if artifact.snr_db is None else f"{artifact.snr_db:.1f}"
    return [*drop, percent(comparison.agreement), snr]


def _latency(figures: "AnyFile") -> str:
    return "–" if figures.latency is None else milliseconds(figures.latency.median_ms)


def _space(figures: "AnyFile") -> tuple[str, str]:
    return size(figures.bytes), "–" if figures.peak_bytes is None else size(figures.peak_bytes)
