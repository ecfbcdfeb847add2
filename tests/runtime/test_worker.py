"""The file that runs models wherever there is a Python with numpy and a runtime, and what is said over its pipe."""

import ast
import struct
import subprocess
import sys
from collections.abc import Iterator
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from foreign import make_runtime, save_identity
from graphs import tiny_xception

from edgex.runtime import worker
from edgex.write.tflite import tflite_model

FILE = Path(worker.__file__)
RUNTIMES = {"ai_edge_litert", "onnxruntime", "openvino", "tflite_runtime"}
LIMIT = str(1 << 40)
DESCRIBE = {"do": "describe"}
FLOATS = np.arange(6, dtype=np.float32).reshape(2, 3)

Answer = tuple[dict[str, Any], list[np.ndarray]]


def message(header: dict[str, Any], *arrays: np.ndarray) -> bytes:
    stream = BytesIO()
    worker.write_message(stream, header, list(arrays))
    return stream.getvalue()


def framed(header: bytes, rest: bytes = b"") -> bytes:
    return struct.pack(">I", len(header)) + header + rest


def talk(*requests: bytes, file: Path = FILE) -> tuple[list[Answer], "subprocess.CompletedProcess[bytes]"]:
    """What a worker answers to bytes on its standard input; it finds nothing but installed packages."""
    done = subprocess.run([sys.executable, "-I", file, LIMIT], input=b"".join(requests), capture_output=True)
    stream, answers = BytesIO(done.stdout), []
    while stream.tell() < len(done.stdout):
        answers.append(worker.read_message(stream))
    return answers, done


# The file


def imported(tree: ast.AST) -> Iterator[str]:
    """Names of the packages that a file imports anywhere."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name.split(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield (node.module or "").split(".")[0] if node.level == 0 else "edgex"


def test_is_python_3_8() -> None:
    ast.parse(FILE.read_text(encoding="utf-8"), feature_version=(3, 8))
    with pytest.raises(SyntaxError):
        ast.parse("match 1:\n    case 1: pass\n", feature_version=(3, 8))


def test_imports_nothing_but_a_runtime() -> None:
    names = set(imported(ast.parse(FILE.read_text(encoding="utf-8"))))
    assert "numpy" in names
    assert names <= {*sys.stdlib_module_names, *RUNTIMES, "numpy"}


def test_needs_no_other_file(tmp_path: Path) -> None:
    alone = tmp_path / "alone.py"
    alone.write_bytes(FILE.read_bytes())
    ((answer, _),), done = talk(message(DESCRIBE), file=alone)
    assert answer["python"] == ".".join(map(str, sys.version_info[:3]))
    assert {"litert", "onnxruntime"} <= answer["runtimes"].keys()
    assert done.returncode == 0, "it ends when nothing more is asked"


def test_its_neighbours_are_no_modules(tmp_path: Path) -> None:
    """A file beside it may be called like one of the standard library."""
    alone = tmp_path / "alone.py"
    alone.write_bytes(FILE.read_bytes())
    (tmp_path / "platform.py").write_text("raise ZeroDivisionError\n")
    done = subprocess.run([sys.executable, alone, LIMIT], input=message(DESCRIBE), capture_output=True)
    assert done.returncode == 0, done.stderr


# Messages


@pytest.mark.parametrize(
    "array",
    [FLOATS, FLOATS.T, np.float64(3.5).reshape(()), np.zeros((0, 4), np.int8), np.array([True, False]), FLOATS[:, :1]],
    ids=str,
)
def test_messages_arrive_as_they_are(array: np.ndarray) -> None:
    header, (first, second) = worker.read_message(BytesIO(message({"do": "run", "text": "Zürich\n"}, array, FLOATS)))
    assert header == {"do": "run", "text": "Zürich\n"}
    assert (first.dtype, first.shape) == (array.dtype, array.shape)
    np.testing.assert_array_equal(first, array)
    np.testing.assert_array_equal(second, FLOATS)


@pytest.mark.parametrize("kept", [0, 3, 10, -1])
def test_a_truncated_message(kept: int) -> None:
    with pytest.raises(EOFError):
        worker.read_message(BytesIO(message(DESCRIBE, FLOATS)[:kept]))


@pytest.mark.parametrize(
    "garbage",
    [
        b"Welcome to my computer!\n",
        framed(b"{"),
        framed(b"[]"),
        framed(b"\xff\xff"),
        framed(b"{}"),
        framed(b'{"arrays": 1}'),
        framed(b'{"arrays": [{"dtype": "float32"}]}'),
        framed(b'{"arrays": [{"dtype": "no type", "shape": [1]}]}'),
        framed(b'{"arrays": [{"dtype": "|i1", "shape": ["a"]}]}'),
        framed(b'{"arrays": [{"dtype": "(", "shape": [1]}]}'),
        pytest.param(framed(b"[" * 100_000), id="deep"),
        framed(b'{"arrays": [{"dtype": "|O", "shape": [1]}]}', bytes(8)),
    ],
)
def test_what_is_no_message(garbage: bytes) -> None:
    with pytest.raises(ValueError, match=r"\w"):
        worker.read_message(BytesIO(garbage))


@pytest.mark.parametrize("shape", ["[200]", "[-200]", "[10, 10, 2]", "[1e30]", "[Infinity]", "[99999999999999999999]"])
def test_a_message_that_is_too_large(shape: str) -> None:
    """Before memory is taken for it."""
    header = b'{"arrays": [{"dtype": "|i1", "shape": %s}]}' % shape.encode()
    with pytest.raises((OverflowError, ValueError)):
        worker.read_message(BytesIO(framed(header, bytes(200))), most=100)


@pytest.mark.parametrize("garbage", [b"Welcome to my computer!\n", message(DESCRIBE)[:-1]])
def test_what_is_no_request_is_not_answered(garbage: bytes) -> None:
    answers, _ = talk(message(DESCRIBE), garbage)
    assert len(answers) == 1


def test_errors_are_answered(tmp_path: Path) -> None:
    """And the next request is heard."""
    path = save_identity(tmp_path / "same.onnx", [1, 3])
    absent = {"do": "open", "path": str(tmp_path / "absent.onnx"), "runtime": "onnxruntime", "threads": 1}
    cuda = {"do": "open", "path": str(path), "runtime": "onnxruntime-cuda", "threads": 1}
    here = {"do": "open", "path": str(path), "runtime": "onnxruntime", "threads": 1}
    requests = [message(header) for header in (absent, cuda, here)]
    answers, _ = talk(*requests, message({"do": "run"}, FLOATS))
    (refused, _), (missing, _), (opened, _), (_, (result,)) = answers
    assert refused["kind"] == "refused"
    assert "absent.onnx" in refused["error"]
    assert missing["kind"] == "missing"
    assert "CUDAExecutionProvider" in missing["error"]
    assert [port["name"] for port in opened["inputs"]] == ["input_0"]
    np.testing.assert_array_equal(result, FLOATS)


def test_what_a_runtime_prints_does_not_get_among_the_answers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    noise = 'import os\nprint("noise")\nos.write(1, b"more noise " * 10_000)'
    monkeypatch.setenv("PYTHONPATH", str(make_runtime(tmp_path, noise)))
    path = tmp_path / "tiny.tflite"
    path.write_bytes(tflite_model(tiny_xception()))
    opening = message({"do": "open", "path": str(path), "runtime": "tflite-runtime", "threads": 1})
    done = subprocess.run([sys.executable, FILE, LIMIT], input=opening, capture_output=True)
    answer, _ = worker.read_message(BytesIO(done.stdout))
    assert [port["shape"] for port in answer["inputs"]] == [[None, 32, 32, 3]]
    assert b"noise" in done.stderr


def test_a_broken_runtime_is_not_here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One whose library does not load, for example; the others are not affected."""
    broken = make_runtime(tmp_path) / "tflite_runtime" / "__init__.py"
    broken.write_text("raise ImportError('libsomething.so.1: cannot open shared object file')\n")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    done = subprocess.run([sys.executable, FILE, LIMIT], input=message(DESCRIBE), capture_output=True)
    answer, _ = worker.read_message(BytesIO(done.stdout))
    assert "litert" in answer["runtimes"]
    assert "tflite-runtime" not in answer["runtimes"]
