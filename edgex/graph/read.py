"""Reading a model file of any supported kind into a graph."""

from pathlib import Path

from edgex.graph.ir import Graph
from edgex.graph.read_keras import read_keras
from edgex.graph.read_onnx import read_onnx


def read_model(path: Path, *, input_size: int | None = None) -> Graph:
    """Read a model: an ``.onnx`` file by its name, anything else as Keras' by its content.

    Errors as :func:`edgex.graph.read_keras.read_keras` and :func:`edgex.graph.read_onnx.read_onnx`.
    """
    if is_onnx(path):
        return read_onnx(path, input_size=input_size)
    return read_keras(path, input_size=input_size)


def is_onnx(path: Path) -> bool:
    """Whether a file is read as ONNX."""
    return path.suffix.lower() == ".onnx" and path.is_file()
