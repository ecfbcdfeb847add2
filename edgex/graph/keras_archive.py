"""Opening a Keras file as what it is: a zip of JSON and HDF5 (``.keras``), or one HDF5 file (``.h5``).

The file is not trusted. Nothing in it is executed or deserialized, nothing outside it is opened, and what it claims
about its sizes is checked before memory is set aside.
"""

import json
import stat
import struct
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from io import BytesIO
from mmap import ACCESS_READ, mmap
from pathlib import Path
from typing import Any, BinaryIO

from edgex.errors import EdgexError, ModelError, OutputError, UsageError
from edgex.graph.hdf5 import Hdf5File, check_string_heaps
from edgex.graph.limits import WEIGHTS_LIMIT
from edgex.graph.zip_archive import open_zip, unpacked

ZIP_MAGIC = b"PK\x03\x04"
HDF5_MAGIC = b"\x89HDF\r\n\x1a\n"
EXPECTED_MAGIC = {".keras": ZIP_MAGIC, ".h5": HDF5_MAGIC, ".hdf5": HDF5_MAGIC}

FILE_LIMIT = 3 * WEIGHTS_LIMIT
"""Bytes of a file: weights, and the two moments that Adam keeps of each."""

CONFIG_LIMIT = 8 << 20
"""Bytes of text, which take up to 40 times as many as Python objects; the configuration of Xception has 0.14 MB."""

MESSAGE_LIMIT = 2000
"""Characters of an error message, which may quote the file."""

CONFIG, METADATA, WEIGHTS = "config.json", "metadata.json", "model.weights.h5"
RECORD = "edgex.json"
"""What edgex adds; see :mod:`edgex.graph.keras_record`."""

SAVE_AGAIN = "Save the whole model again with model.save('model.keras')."
NAME_A_FILE = "Name a .keras, .h5 or .onnx file."
FROM_SAVED_MODEL = (
    "Load it with the Keras that wrote it, then model.save('model.keras'): keras.models.load_model for TensorFlow "
    "up to 2.15, tf_keras.models.load_model after that."
)

DAMAGE = (
    ArithmeticError,
    AttributeError,
    EOFError,
    LookupError,
    OSError,
    RuntimeError,
    TypeError,
    ValueError,
    struct.error,
    zipfile.BadZipFile,
    zlib.error,
)
"""What zipfile, json, h5py and our own parsing raise on bytes that no Keras wrote."""


@dataclass(frozen=True)
class KerasFile:
    """An open Keras file.

    Attributes:
        config: the model as JSON says it.
        keras_version: of the Keras that wrote the file; empty if it does not say.
        weights: the HDF5 file with the weights.
        is_archive: a ``.keras``, whose weights are laid out otherwise than those of an ``.h5``.
    """

    config: dict[str, Any]
    keras_version: str
    weights: Hdf5File
    is_archive: bool


@contextmanager
def naming(path: Path, fix: str = SAVE_AGAIN) -> Iterator[None]:
    """Name the file in every error, and turn what damaged bytes raise into ModelError; ``fix`` is then what to do."""
    try:
        yield
    except EdgexError as error:
        raise type(error)(f"{path}: {_printable(error.message)}.", fix=error.fix) from error.__cause__
    except MemoryError as error:
        raise ModelError(
            f"{path}: there is not enough memory to read it.", fix="Use a machine with more, or a smaller model."
        ) from error
    except DAMAGE as error:
        problem = _printable(f"it is damaged ({type(error).__name__}: {error})")
        raise ModelError(f"{path}: {problem}.", fix=fix) from error


def _printable(message: str) -> str:
    """A message that may quote the file, in a length and in characters that a terminal can take."""
    cut = message if len(message) <= MESSAGE_LIMIT else f"{message[:MESSAGE_LIMIT]} …"
    return "".join(character if character.isprintable() else ascii(character)[1:-1] for character in cut)


@contextmanager
def open_keras(path: Path) -> Iterator[KerasFile]:
    """Open a ``.keras`` or ``.h5`` file for as long as the context lasts.

    Raises:
        UsageError: there is no such file.
        OutputError: it cannot be opened.
        ModelError: it is not a Keras model, or not a safe one.
        OSError, ValueError, zipfile.BadZipFile, …: it is damaged.
    """
    with _open(path) as stream:
        magic = _checked_magic(path, stream.read(16))
        stream.seek(0)
        if magic == ZIP_MAGIC:
            config, metadata, weights = _read_archive(stream)
            version = str(_parsed(metadata).get("keras_version", ""))
            with _hdf5(weights) as file:
                yield KerasFile(_parsed(config), version, file, is_archive=True)
        else:
            with mmap(stream.fileno(), 0, access=ACCESS_READ) as content:
                check_string_heaps(content)
            with _hdf5(stream) as file:
                text = file.text("", "model_config")
                if text is None:
                    raise ModelError("it holds weights without the model they belong to", fix=SAVE_AGAIN)
                _check_length("model_config", len(text))
                yield KerasFile(_parsed(text), file.text("", "keras_version") or "", file, is_archive=False)


def read_text(path: Path, name: str) -> bytes | None:
    """A member of text of a ``.keras`` file; None if it has no such member, or is an ``.h5``.

    Raises:
        As :func:`open_keras`; ModelError also if the member is too large.
    """
    with _open(path) as stream:
        if _checked_magic(path, stream.read(16)) != ZIP_MAGIC:
            return None
        with open_zip(stream) as archive:
            return _text(archive, name) if name in archive.namelist() else None


@contextmanager
def _hdf5(stream: BinaryIO) -> Iterator[Hdf5File]:
    import h5py

    with h5py.File(stream, "r") as file:
        yield Hdf5File(file)


def _open(path: Path) -> BinaryIO:
    if path.is_dir():
        if (path / "saved_model.pb").exists():
            raise ModelError("it is a SavedModel, which is a program, not data", fix=FROM_SAVED_MODEL)
        raise ModelError("it is a directory, not a Keras model", fix=NAME_A_FILE)
    try:
        status = path.stat()
        if not stat.S_ISREG(status.st_mode):
            raise ModelError("it is not a regular file", fix=NAME_A_FILE)
        if status.st_size > FILE_LIMIT:
            raise ModelError(
                f"it has {status.st_size} bytes, more than any model for an edge device", fix="Use a smaller model."
            )
        return path.open("rb")
    except FileNotFoundError:
        raise UsageError("it does not exist", fix=NAME_A_FILE) from None
    except OSError as error:
        raise OutputError(f"it cannot be read: {error.strerror}", fix="Check its permissions.") from error


def _checked_magic(path: Path, head: bytes) -> bytes:
    """What the file begins with, if that is what its name promises."""
    expected = EXPECTED_MAGIC.get(path.suffix.lower())
    for magic in (ZIP_MAGIC, HDF5_MAGIC):
        if head.startswith(magic) and expected in (None, magic):
            return magic
    raise ModelError(f"by its content it is {_described(head)}, not a Keras model", fix=SAVE_AGAIN)


def _described(head: bytes) -> str:
    if not head:
        return "empty"
    if head.startswith(HDF5_MAGIC):
        return "HDF5 (a legacy .h5 file, if it is a model)"
    if head.startswith(b"PK"):
        return "a zip"
    if head[0] == 0x80 and head[1:2] <= b"\x05":
        return "a pickle"
    if head[4:8] == b"TFL3":
        return "a TFLite model"
    return "text" if head.isascii() and b"\0" not in head else "of an unknown format"


def _read_archive(stream: BinaryIO) -> tuple[bytes, bytes, BytesIO]:
    with open_zip(stream) as archive:
        missing = {CONFIG, METADATA, WEIGHTS}.difference(archive.namelist())
        if missing:
            raise ModelError(f"it is a zip without {', '.join(sorted(missing))}, not a Keras model", fix=SAVE_AGAIN)
        return _text(archive, CONFIG), _text(archive, METADATA), unpacked(archive, WEIGHTS)


def _text(archive: zipfile.ZipFile, name: str) -> bytes:
    _check_length(name, archive.getinfo(name).file_size)
    return unpacked(archive, name).getvalue()


def _check_length(name: str, length: int) -> None:
    if length > CONFIG_LIMIT:
        raise ModelError(f"its {name} is over {CONFIG_LIMIT >> 20} MiB", fix=SAVE_AGAIN)


def _parsed(text: str | bytes) -> dict[str, Any]:
    document = json.loads(text)
    if not isinstance(document, dict):
        raise ValueError("the configuration is not a JSON object")
    return document
