"""The manifest of an output directory: what was written, from what, for what, and by what.

``manifest.json`` holds no time, no path and no host name: the same work on the same machine gives the same bytes.
It covers every file beside it at the time it is written; what comes later (``report.json``) it does not know.
"""

import hashlib
import json
import os
import platform
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import Any

from edgex.documents import read_json
from edgex.errors import OutputError
from edgex.records import Artifact, ArtifactKind

MANIFEST_NAME = "manifest.json"
MANIFEST_SCHEMA = "edgex.manifest/1"

LIBRARIES = ("ai-edge-litert", "h5py", "numpy", "onnx", "onnxruntime", "pillow")
"""Those whose version can change a byte of an artifact."""

LONGEST_NAME = 255
"""Bytes of a file's name on the file systems in use."""


@dataclass(frozen=True)
class FileRecord:
    """A file as it was: ``name`` without its folder, size in bytes, hexadecimal SHA-256 of the content."""

    name: str
    bytes: int
    sha256: str


@dataclass(frozen=True)
class Manifest:
    """What ``manifest.json`` says.

    Attributes:
        artifacts: the model files; their paths are inside the directory that was read or written.
        files: all other files.
        source: the model they were made from.
        data: name, number and fingerprint of the calibration images; empty where none were needed.
        training: the same of the images trained on, and the threads that trained; empty where nothing was.
        baseline: the model that the fp32 files are of, where that is not the source.
        target: its name and the options that shaped it.
        preprocessing: what is done to an image before the model sees it.
        recipe: the options that the run was given, and no more than that.
        versions: of edgex, Python and :data:`LIBRARIES`, and of those that trained.
        machine: operating system and processor architecture.
    """

    artifacts: tuple[Artifact, ...]
    files: tuple[FileRecord, ...]
    source: FileRecord
    data: Mapping[str, Any]
    target: Mapping[str, str]
    preprocessing: Mapping[str, Any]
    recipe: Mapping[str, Any]
    versions: Mapping[str, str]
    machine: Mapping[str, str]
    training: Mapping[str, Any] = field(default_factory=dict)
    baseline: FileRecord | None = None

    @property
    def contents(self) -> dict[str, FileRecord]:
        """Every file that it covers, by name."""
        artifacts = [FileRecord(each.path.name, each.bytes, each.sha256) for each in self.artifacts]
        return {record.name: record for record in (*artifacts, *self.files)}

    def to_json(self) -> str:
        """Deterministic JSON."""
        document: dict[str, Any] = {"schema": MANIFEST_SCHEMA, **asdict(self)}
        for artifact in document["artifacts"]:
            artifact["path"] = artifact["path"].name
        return json.dumps(document, indent=1) + "\n"


@dataclass(frozen=True)
class Problem:
    """A file that is not what its manifest says."""

    name: str
    message: str


def file_record(path: Path) -> FileRecord:
    """Size and hash of a file, read once in constant memory.

    Raises:
        OutputError: it cannot be read.
    """
    try:
        with path.open("rb") as stream:
            digest = hashlib.file_digest(stream, "sha256").hexdigest()
            return FileRecord(path.name, stream.tell(), digest)
    except OSError as error:
        raise OutputError(
            f"{path} cannot be read: {error.strerror}.", fix="Check the path and its permissions."
        ) from error


def artifact_record(path: Path, kind: ArtifactKind) -> Artifact:
    """The record of a model file just written.

    Raises:
        OutputError: it cannot be read.
    """
    record = file_record(path)
    return Artifact(path, kind.format, kind.precision, record.bytes, record.sha256)


def write_manifest(
    directory: Path,
    *,
    artifacts: Sequence[Artifact],
    source: FileRecord,
    data: Mapping[str, Any],
    target: Mapping[str, str],
    preprocessing: Mapping[str, Any],
    recipe: Mapping[str, Any],
    training: Mapping[str, Any] | None = None,
    baseline: FileRecord | None = None,
    trained_by: Sequence[str] = (),
) -> Manifest:
    """Write ``manifest.json`` over everything in ``directory``; the arguments are :class:`Manifest`'s.

    ``trained_by`` are the libraries that training used.

    Raises:
        OutputError: a file beside it cannot be read, or the manifest cannot be written.
    """
    known = {artifact.path.name for artifact in artifacts} | {MANIFEST_NAME}
    manifest = Manifest(
        artifacts=tuple(artifacts),
        files=tuple(file_record(path) for path in sorted(directory.iterdir()) if path.name not in known),
        source=source,
        data=dict(data),
        target=dict(target),
        preprocessing=dict(preprocessing),
        recipe=dict(recipe),
        versions=_versions((*LIBRARIES, *trained_by)),
        machine={"system": platform.system(), "architecture": platform.machine()},
        training=dict(training or {}),
        baseline=baseline,
    )
    path = directory / MANIFEST_NAME
    try:
        path.write_text(manifest.to_json(), encoding="utf-8")
    except OSError as error:
        raise OutputError(
            f"{path} cannot be written: {error.strerror}.", fix="Check the path and its permissions."
        ) from error
    return manifest


def read_manifest(directory: Path) -> Manifest:
    """The manifest of an output directory.

    Raises:
        OutputError: there is none, or it is not one of ours.
    """
    from pydantic import TypeAdapter, ValidationError

    path = directory / MANIFEST_NAME
    fix = "Give a directory that edgex quantize or edgex export wrote."
    try:
        document = read_json(path)
        schema = document.pop("schema")
        if schema != MANIFEST_SCHEMA:
            raise OutputError(f"{path} has the schema {schema!r}, not {MANIFEST_SCHEMA!r}.", fix=fix)
        artifacts = tuple(_artifact(directory, entry) for entry in document.pop("artifacts"))
        files = tuple(_file(entry) for entry in document.pop("files"))
        source, baseline = _file(document.pop("source")), document.pop("baseline", None)
        said = Manifest(
            artifacts=artifacts, files=files, source=source, baseline=baseline and _file(baseline), **document
        )
        manifest = TypeAdapter(Manifest).validate_python(vars(said))
        if "name" not in manifest.target:
            raise ValueError("its target has no name")
    except OSError as error:
        raise OutputError(f"{path} cannot be read: {error.strerror}.", fix=fix) from error
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(map(str, first["loc"]))
        raise OutputError(f"{path} is not a manifest of edgex: {place}: {first['msg']}.", fix=fix) from error
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise OutputError(f"{path} is not a manifest of edgex: {error}.", fix=fix) from error
    return manifest


def artifact_files(paths: Sequence[Path]) -> list[Path]:
    """The files named, and for an output directory among them the artifacts that its manifest lists.

    Raises:
        OutputError: a directory has no manifest of ours.
    """
    listed = ([each.path for each in read_manifest(path).artifacts] if path.is_dir() else [path] for path in paths)
    return [path for files in listed for path in files]


def verify(directory: Path) -> list[Problem]:
    """Hash every file of an output directory again, and name those that the manifest knows otherwise.

    Raises:
        OutputError: there is no manifest, or it is not one of ours.
    """
    problems = []
    for record in read_manifest(directory).contents.values():
        path = directory / record.name
        if not path.is_file():
            problems.append(Problem(record.name, "is missing"))
        elif (found := file_record(path)) != record:
            sizes = "" if found.bytes == record.bytes else f": {found.bytes:,} bytes, {record.bytes:,} were written"
            problems.append(Problem(record.name, f"was changed after it was written{sizes}"))
    return problems


def _artifact(directory: Path, entry: Mapping[str, Any]) -> Artifact:
    kind = ArtifactKind.parse(f"{entry['precision']}.{entry['format']}")
    record = _file({"name": entry["path"], "bytes": entry["bytes"], "sha256": entry["sha256"]})
    return Artifact(directory / record.name, kind.format, kind.precision, record.bytes, record.sha256)


def _file(entry: Mapping[str, Any]) -> FileRecord:
    record = FileRecord(**entry)
    if Path(record.name).name != record.name or record.name == "..":
        raise ValueError(f"{record.name!r} is outside the directory")
    if len(os.fsencode(record.name)) > LONGEST_NAME or "\0" in record.name:
        raise ValueError("a name in it is none that a file can have")
    if not isinstance(record.bytes, int) or not isinstance(record.sha256, str):
        raise TypeError(f"{record.name!r} has a size or hash that is none")
    return record


def _versions(libraries: Sequence[str]) -> dict[str, str]:
    from edgex import __version__

    return {"edgex": __version__, "python": platform.python_version(), **library_versions(libraries)}


def library_versions(names: Sequence[str]) -> dict[str, str]:
    """The versions of installed packages."""
    return {name: version(name) for name in names}
