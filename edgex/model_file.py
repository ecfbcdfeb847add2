"""A model file from anywhere, looked at before a linter or a runtime gets it. Nothing in it is executed.

An ONNX file may keep tensors in other files (https://onnx.ai/onnx/repo-docs/ExternalData.html), and so reach for what
is not its own. It may only where the user says so, and then only for plain files beside itself.
"""

import re
import stat
from collections.abc import Iterator, Mapping
from functools import lru_cache
from os import stat_result
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgex.errors import ModelError, OutputError
from edgex.wire_format import has_more_fields

if TYPE_CHECKING:
    from onnx import ModelProto, TensorProto

LARGEST = (1 << 31) - 1
"""Bytes of a file, or of a tensor in another: protocol buffers and flatbuffers end there."""

MOST_FIELDS = 300_000
"""Of an ONNX file, at all depths: 15 for each of 20,000 nodes."""

EXTERNAL_KEYS = {"location", "offset", "length", "checksum"}
NUMBER = re.compile("[0-9]{1,18}")
NOT_BESIDE = "which is not a plain file in its own folder"


def check_model_file(path: Path, *, external_data: bool = False) -> None:
    """Refuse what no runtime should get. Errors as :func:`read_onnx`."""
    found = _plain(path)
    if path.suffix.lower() == ".onnx":
        _check_onnx(path, external_data, found.st_dev, found.st_ino, found.st_mtime_ns, found.st_size)


@lru_cache
def _check_onnx(path: Path, external_data: bool, *_version: int) -> None:
    """Once for each version of a file: bench opens it in every round, and to parse a large one takes a while."""
    read_onnx(path, external_data=external_data)


def read_model_file(path: Path) -> bytes:
    """The content of a model file.

    Raises:
        OutputError: it cannot be read, or is a folder, a pipe or a device.
        ModelError: it is larger than a model file can be.
    """
    _plain(path)
    try:
        return path.read_bytes()
    except OSError as error:
        raise _unreadable(path, error) from error


def read_onnx(path: Path, *, external_data: bool = False) -> "ModelProto":
    """Parse an ONNX file, without what it keeps in other files.

    Args:
        external_data: it may keep tensors in plain files beside itself.

    Raises:
        OutputError: it cannot be read, or is a folder, a pipe or a device.
        ModelError: it is no ONNX model, is damaged or too large, or keeps tensors where it may not.
    """
    from onnx import ModelProto, load_model_from_string

    content = read_model_file(path)
    if has_more_fields(content, ModelProto.DESCRIPTOR, MOST_FIELDS):
        raise ModelError(f"{path} has more than {MOST_FIELDS:,} parts.", fix="Give a model of a smaller network.")
    try:
        model = load_model_from_string(content)
    except Exception as error:  # protobuf's, for which there is no common public class
        raise ModelError(f"{path} is not an ONNX model, or is damaged: {error}.", fix="Export it again.") from error
    for tensor in _tensors(model):
        _check_location(path, tensor, external_data)
    return model


def _plain(path: Path) -> stat_result:
    try:
        found = path.stat()
    except OSError as error:
        raise _unreadable(path, error) from error
    if not stat.S_ISREG(found.st_mode):
        raise OutputError(f"{path} is not a file.", fix="Check the path.")
    if found.st_size > LARGEST:
        raise ModelError(
            f"{path} has {found.st_size:,} bytes, and no model file has more than {LARGEST:,}.", fix="Export it again."
        )
    return found


def _unreadable(path: Path, error: OSError) -> OutputError:
    return OutputError(f"{path} cannot be read: {error.strerror}.", fix="Check the path and its permissions.")


def _tensors(message: Any) -> Iterator["TensorProto"]:
    """Every tensor in a message of ONNX: in graphs, those of nodes included, in functions, sparse ones."""
    from onnx import TensorProto

    for field, value in message.ListFields():
        if field.message_type is None:
            continue
        for part in [value] if hasattr(value, "ListFields") else value:
            if isinstance(part, TensorProto):
                yield part
            else:
                yield from _tensors(part)


def _check_location(path: Path, tensor: "TensorProto", external_data: bool) -> None:
    """ModelError if a tensor is kept where it may not be."""
    from onnx import TensorProto

    if tensor.data_location != TensorProto.EXTERNAL and not tensor.external_data:
        return
    said = {entry.key: entry.value for entry in tensor.external_data}
    kept = f"{path} keeps the weights {tensor.name!r} in {said.get('location', '')!r}"
    if not external_data:
        raise ModelError(
            f"{kept}, another file.",
            fix="Save the model with its weights inside (torch.onnx.export: external_data=False), or allow files "
            "beside it with --external-data where a command has that.",
        )
    if len(said) < len(tensor.external_data) or not said.keys() <= EXTERNAL_KEYS:
        fault = "with an entry that is there twice, or that ONNX does not have"
    else:
        fault = _fault(path.parent, said)
    if fault:
        raise ModelError(f"{kept}, {fault}.", fix="Save the model with its weights inside.")


def _fault(folder: Path, said: Mapping[str, str]) -> str:
    """What is wrong with the place of a tensor; empty if nothing is."""
    location, offset, length = said.get("location", ""), said.get("offset", "0"), said.get("length", "0")
    try:
        found = (folder / location).lstat()
    except (OSError, ValueError):  # not there, or a name that no file can have
        return NOT_BESIDE
    if Path(location).name != location or not stat.S_ISREG(found.st_mode):
        return NOT_BESIDE
    if not (NUMBER.fullmatch(offset) and NUMBER.fullmatch(length)):
        return "at a place that is no number"
    rest = found.st_size - int(offset)
    size = int(length) if "length" in said else rest
    if not 0 <= size <= rest:
        return "beyond its end"
    return "in more bytes than a tensor can have" if size > LARGEST else ""
