"""Fields of stored protocol buffers are counted before they are parsed."""

import subprocess
import sys
from pathlib import Path

import onnx
import pytest
from foreign import save_identity
from onnx import ModelProto

from edgex.wire_format import has_more_fields

DESCRIPTOR = ModelProto.DESCRIPTOR


def fields(message: object) -> int:
    """How many fields a parsed message has, values of lists counted each."""
    count = 0
    for field, value in message.ListFields():  # type: ignore[attr-defined]  of any message
        values = [value] if isinstance(value, bytes | str) or not hasattr(value, "__len__") else list(value)
        count += len(values) + sum(fields(part) for part in values if field.message_type is not None)
    return count


def test_counts_as_the_parser_does(tmp_path: Path) -> None:
    path = save_identity(tmp_path / "same.onnx", ["N", 8, 8, 3])
    count = fields(onnx.load(path))
    assert count > 20
    assert not has_more_fields(path.read_bytes(), DESCRIPTOR, count)
    assert has_more_fields(path.read_bytes(), DESCRIPTOR, count - 1)


@pytest.mark.parametrize(
    "content",
    [
        b"\x3a\x14" + 10 * b"\x0a\x00",  # a graph of nodes
        b"\x3a\x16\x0a\x14" + 10 * b"\x0a\x00",  # a node with inputs
        10 * b"\x08\x08",
        10 * (b"\xf9\x07" + bytes(8)),  # unknown fields, of eight bytes, four, or any number
        10 * b"\xfd\x07\x01\x02\x03\x04",
        10 * b"\xfa\x07\x02ab",
        b"\xfb\x07" + 10 * b"\x08\x08" + b"\xfc\x07",  # a group, which ONNX does not have
        5 * b"\x3a\x02\x0a\x00",  # graphs, which are taken for one
    ],
)
def test_all_kinds_of_fields_count(content: bytes) -> None:
    assert has_more_fields(content, DESCRIPTOR, 9)
    assert not has_more_fields(content, DESCRIPTOR, 12)


@pytest.mark.parametrize("content", [b"", b"\xff" * 100, b"\x3a", b"\x3a\xff", b"\x08", b"\x0e\x0f", b"\x3a\x7f\x0a"])
def test_damage_ends_the_count(content: bytes) -> None:
    assert not has_more_fields(content, DESCRIPTOR, 100)


PROGRAM = """
import resource, sys
from pathlib import Path
from edgex.errors import ModelError
from edgex.model_file import read_onnx
read_onnx(Path(sys.argv[1]))
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
try:
    read_onnx(Path(sys.argv[2]))
except ModelError as error:
    print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before, error)
"""


def test_a_file_of_millions_of_nodes_takes_little_memory(tmp_path: Path) -> None:
    """Parsed, its 4 MiB are 300."""
    good, path = save_identity(tmp_path / "same.onnx", [1, 3]), tmp_path / "swarm.onnx"
    path.write_bytes(b"\x08\x08\x3a\x80\x80\x80\x02" + (1 << 21) * b"\x0a\x00")
    done = subprocess.run([sys.executable, "-c", PROGRAM, good, path], capture_output=True, text=True, check=True)
    kibibytes, message = done.stdout.split(maxsplit=1)
    assert int(kibibytes) < 50 << 10
    assert "swarm.onnx has more than 300,000 parts" in message
