"""What pruning took out, what it cost and what it bought."""

from typing import TYPE_CHECKING, Any

from edgex.console import out
from edgex.prune.methods import what_it_buys
from edgex.render.documents import artifact_document
from edgex.render.tables import new_table
from edgex.render.text import milliseconds, prefixed, pruning_sentence, size

if TYPE_CHECKING:
    from edgex.pipeline import PruneReport
    from edgex.prune.gain import Gain
    from edgex.prune.record import PruningRecord


def show_gain(record: "PruningRecord | None", gain: "Gain | None") -> None:
    """As much of it as is known."""
    if record is not None and gain is not None:
        _show_before_and_after(record, gain)
    if record is not None:
        out().print(pruning_sentence(record))
        if record.method != "channels":
            out().print(what_it_buys(record.method))


def _show_before_and_after(record: "PruningRecord", gain: "Gain") -> None:
    table = new_table("", "before", "after", "ratio")
    for name, (before, after) in (("MACs an image", record.macs), ("parameters", record.parameters)):
        table.add_row(name, prefixed(before), prefixed(after), f"{after / before:.2f}×")
    for each in gain.compressed:
        ratio = f"{each.after / each.before:.2f}×"
        table.add_row(f"{each.kind}, compressed", size(each.before), size(each.after), ratio)
    for latency in gain.latencies:
        table.add_row(
            f"ms in INT8, {latency.format} in {latency.runtime}, here",
            milliseconds(latency.before),
            milliseconds(latency.after),
            f"{latency.ratio:.2f}× ({latency.low:.2f} – {latency.high:.2f})",
        )
    out().print(table)


def gain_document(record: "PruningRecord | None", gain: "Gain | None") -> dict[str, Any]:
    """As much of it as is known."""
    document: dict[str, Any] = {}
    if record is not None:
        keys = ("method", "sparsity", "macs", "parameters", "zeros", "measure", "losses", "accuracies", "best_epoch")
        document["pruning"] = {key: getattr(record, key) for key in keys} | {"buys": what_it_buys(record.method)}
    if gain is not None:
        document["ratios"] = [latency.model_dump(exclude={"before", "after"}) for latency in gain.latencies]
        document["compressed"] = [
            {"kind": each.kind, "deflated_bytes": each.after, "original_deflated_bytes": each.before}
            for each in gain.compressed
        ]
    return document


def show_pruned(report: "PruneReport") -> None:
    show_gain(report.record, report.gain)
    out().print(f"{report.artifact.path}: quantize it with --baseline {report.record.source['name']}")


def prune_document(report: "PruneReport") -> dict[str, Any]:
    document = {
        "directory": report.artifact.path.parent,
        "artifacts": [artifact_document(report.artifact)],
        **gain_document(report.record, report.gain),
        "warnings": list(report.warnings),
    }
    for each in report.gain.compressed:
        document["deflated_bytes"], document["original_deflated_bytes"] = each.after, each.before
    return document
