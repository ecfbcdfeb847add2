"""Which files are measured: the baseline, and the artifacts of a directory."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

from edgex.errors import OutputError, UsageError
from edgex.graph.passes import prepare
from edgex.graph.read import read_model
from edgex.manifest import MANIFEST_NAME, Manifest, artifact_record, read_manifest
from edgex.preprocess import Preprocessing
from edgex.records import ArtifactKind
from edgex.validate.assemble import Subject
from edgex.write.onnx import onnx_model

FLOAT = ArtifactKind("fp32", "onnx")
KERAS = (".keras", ".h5")


@contextmanager
def subjects(
    directory: Path, manifest: Manifest, baseline: Path | None, preprocessing: Preprocessing
) -> Iterator[list[Subject]]:
    """The baseline, and after it the other artifacts, as they are now.

    Args:
        baseline: see :func:`edgex.validate.validate`. A Keras model is written as ONNX for as long as the block lasts.

    Raises:
        OutputError: a file is missing.
        UsageError: the directory has no INT8 artifact, or the baseline takes its images otherwise. Other EdgexErrors
            as :func:`edgex.graph.read.read_model`.
    """
    kinds = {artifact.path: ArtifactKind(artifact.precision, artifact.format) for artifact in manifest.artifacts}
    if all(kind.precision not in ("int8", "mixed") for kind in kinds.values()):
        raise UsageError(f"{directory} holds no INT8 artifact.", fix="Validate what edgex quantize wrote.")
    own = [Subject(path.name, artifact_record(path, kind)) for path, kind in kinds.items()]
    with TemporaryDirectory() as folder:
        if baseline is None:
            first = next((subject for subject in own if kinds[subject.artifact.path] == FLOAT), None)
            if first is None:
                raise OutputError(f"{directory} holds no .{FLOAT} to compare with.", fix="Give one with --baseline.")
        else:
            first = _outside(baseline, Path(folder), preprocessing)
        yield [first, *(subject for subject in own if subject.artifact.sha256 != first.artifact.sha256)]


def _outside(path: Path, folder: Path, preprocessing: Preprocessing) -> Subject:
    """A baseline from elsewhere; its folder is part of its name, since it may be called as an artifact is."""
    name = f"{path.resolve().parent.name}/{path.name}"
    if path.suffix.lower() in KERAS:
        graph = read_model(path, input_size=preprocessing.size[0])
        written = folder / f"{path.stem}.{FLOAT}"
        written.write_bytes(onnx_model(prepare(graph)).SerializeToString())
        return Subject(name, artifact_record(written, FLOAT))
    if (path.parent / MANIFEST_NAME).is_file():
        theirs = Preprocessing.from_json(read_manifest(path.parent).preprocessing, str(path.parent))
        if theirs != preprocessing:
            raise UsageError(
                f"{path} was written for other images ({theirs}) than the artifacts ({preprocessing}).",
                fix="Compare models of one input size and preprocessing.",
            )
    return Subject(name, artifact_record(path, _kind(path)))


def _kind(path: Path) -> ArtifactKind:
    """By the end of its name; float if that does not say."""
    try:
        return ArtifactKind.parse(".".join(path.name.split(".")[-2:]))
    except ValueError:
        return ArtifactKind("fp32", "tflite" if path.suffix.lower() == ".tflite" else "onnx")
