"""How training from labels went."""

from typing import TYPE_CHECKING, Any

from edgex.console import out
from edgex.render.documents import artifact_document
from edgex.render.text import percent, size

if TYPE_CHECKING:
    from edgex.pipeline import TrainReport


def show_trained(report: "TrainReport") -> None:
    record, artifact = report.record, report.artifact
    height, width = record.preprocessing["size"]
    first, best = (percent(record.accuracies[epoch]) for epoch in (0, record.best_epoch))
    out().print(
        f"Trained {record.source['name']} by the recipe {record.recipe} on {height}×{width} pixels for "
        f"{record.steps:,} steps: {record.measure} on the images held out went from {first} to {best} %, best after "
        f"{record.best_epoch} of {len(record.losses) - 1} epochs."
    )
    out().print(f"{artifact.path}: {len(record.classes)} classes, {size(artifact.bytes)}")


def train_document(report: "TrainReport") -> dict[str, Any]:
    keys = ("source", "weights", "recipe", "measure", "losses", "accuracies", "best_epoch", "steps", "classes")
    return {
        "directory": report.artifact.path.parent,
        "artifacts": [artifact_document(report.artifact)],
        "training": {
            **{key: getattr(report.record, key) for key in (*keys, "preprocessing")},
            "options": {**report.record.options},
        },
        "notes": list(report.notes),
        "warnings": list(report.warnings),
    }
