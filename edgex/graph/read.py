"""Reading a model file of any supported kind into a graph."""

from pathlib import Path

from edgex.errors import ModelError
from edgex.graph.ir import Graph
from edgex.graph.read_keras import read_keras


def read_model(path: Path, *, input_size: int | None = None) -> Graph:
    """Read a model; what it is, is told by its content. See :func:`edgex.graph.read_keras.read_keras`.

    Raises:
        ModelError: ``.onnx`` files cannot be read yet; and whatever ``read_keras`` raises.
    """
    if path.suffix.lower() == ".onnx" and path.is_file():
        raise ModelError(
            f"{path}: .onnx is not yet supported as input.", fix="Give the .keras or .h5 model it was exported from."
        )
    return read_keras(path, input_size=input_size)
