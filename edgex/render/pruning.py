"""What pruning took out, what it cost and what it bought."""

from typing import TYPE_CHECKING, Any

from edgex.console import out
from edgex.render.documents import artifact_document, pruning_document
from edgex.render.tables import new_table
from edgex.render.text import milliseconds, prefixed, pruning_sentence, size

if TYPE_CHECKING:
    from edgex.pipeline import PruneReport


def show_pruned(report: "PruneReport") -> None:
    record = report.record
    table = new_table("", "before", "after", "ratio")
    for name, (before, after) in (("MACs an image", record.macs), ("parameters", record.parameters)):
        table.add_row(name, prefixed(before), prefixed(after), f"{after / before:.2f}×")
    if report.deflated is not None:
        after, before = report.deflated
        table.add_row("file, compressed", size(before), size(after), f"{after / before:.2f}×")
    for ratio in report.ratios:
        table.add_row(
            f"ms in INT8, {ratio.a.path.suffix[1:]} in {ratio.a.runtime}, here",
            milliseconds(ratio.b.median_ms),
            milliseconds(ratio.a.median_ms),
            f"{ratio.ratio:.2f}× ({ratio.interval.low:.2f} – {ratio.interval.high:.2f})",
        )
    out().print(table)
    out().print(pruning_sentence(record))
    out().print(f"{report.artifact.path}: quantize it with --baseline {record.source['name']}")


def prune_document(report: "PruneReport") -> dict[str, Any]:
    document = {
        "directory": report.artifact.path.parent,
        "artifacts": [artifact_document(report.artifact)],
        "pruning": pruning_document(report.record),
        "ratios": [
            {
                "format": ratio.a.path.suffix[1:],
                "runtime": ratio.a.runtime,
                "ratio": ratio.ratio,
                "low": ratio.interval.low,
                "high": ratio.interval.high,
            }
            for ratio in report.ratios
        ],
        "warnings": list(report.warnings),
    }
    if report.deflated is not None:
        document["deflated_bytes"], document["original_deflated_bytes"] = report.deflated
    return document
