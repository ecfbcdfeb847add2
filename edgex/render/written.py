"""What ``quantize`` and ``export`` wrote."""

from dataclasses import asdict
from itertools import zip_longest
from typing import TYPE_CHECKING, Any

from edgex.console import out
from edgex.render.documents import artifact_document
from edgex.render.pruning import gain_document, show_gain
from edgex.render.tables import new_table
from edgex.render.text import size

if TYPE_CHECKING:
    from edgex.pipeline import WrittenDirectory


def show_written(written: "WrittenDirectory") -> None:
    for rung in written.rungs:
        out().print(str(rung))
    if written.history is not None:
        out().print(f"Training: {written.history}")
    show_gain(written.pruning, written.gain)
    table = new_table("artifact", "precision", "size", *(["compressed"] if written.deflated else []))
    for artifact, deflated in zip_longest(written.artifacts, written.deflated):
        packed = [] if deflated is None else [size(deflated)]
        table.add_row(artifact.path.name, artifact.precision, size(artifact.bytes), *packed)
    out().print(table)
    out().print(f"in {written.directory}, linted against its target")


def written_document(written: "WrittenDirectory") -> dict[str, Any]:
    artifacts = [artifact_document(artifact) for artifact in written.artifacts]
    for artifact, deflated in zip(artifacts, written.deflated, strict=False):
        artifact["deflated_bytes"] = deflated
    document = {
        "directory": written.directory,
        "artifacts": artifacts,
        "warnings": list(written.warnings),
        **gain_document(written.pruning, written.gain),
    }
    if written.rungs:
        document["rungs"] = [asdict(rung) for rung in written.rungs]
    if written.history is not None:
        document["training"] = {**asdict(written.history), "best_epoch": written.history.best}
    return document
