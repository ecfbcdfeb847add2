"""What an output directory holds, small."""

from pathlib import Path

from edgex.manifest import FileRecord, artifact_record, write_manifest
from edgex.records import ArtifactKind

INT8 = ArtifactKind("int8", "onnx")


def fill_output(folder: Path, content: str = "model") -> None:
    """A small output directory: an artifact, a plan, a manifest."""
    (folder / "m.int8.onnx").write_text(content)
    (folder / "plan.json").write_text("{}")
    write_manifest(
        folder,
        artifacts=[artifact_record(folder / "m.int8.onnx", INT8)],
        source=FileRecord("m.keras", 3, "ab" * 32),
        data={"name": "calib.zip", "images": 8, "sha256": "cd" * 32},
        target={"name": "jetson", "jetpack": "6.2"},
        preprocessing={"scale": "xception"},
        recipe={"method": "average"},
    )
