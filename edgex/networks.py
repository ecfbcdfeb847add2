"""What a command means by MODEL: a file, or a network of the zoo by its name."""

from pathlib import Path

from edgex.errors import UsageError
from edgex.graph.ir import Graph
from edgex.graph.read import read_model
from edgex.resources import demo_model
from edgex.zoo import MODELS, build


def model_file(model: Path) -> Path:
    """The file; the word ``demo`` stands for the one that ships with edgex, unless there is a file of this name."""
    return demo_model() if str(model) == "demo" and not model.is_file() else model


def of_zoo(model: Path) -> bool:
    """Whether it is a name of the zoo. A file that exists is a file, whatever its name; a folder is no model."""
    return str(model) in MODELS and not model.is_file()


def read_network(model: Path, *, input_size: int | None = None) -> Graph:
    """The graph of a file, or of a network of the zoo with fresh weights.

    Args:
        model: a ``.keras``, ``.h5`` or float ``.onnx`` file, the word ``demo``, or one of :data:`edgex.zoo.MODELS`.
        input_size: height and width of the images in pixels, if not the model's own.

    Raises:
        UsageError: it is a word that is neither a file nor in the zoo. Other EdgexErrors as
            :func:`edgex.graph.read.read_model` and :func:`edgex.zoo.build`.
    """
    if of_zoo(model):
        return build(str(model), input_size=input_size)
    model = model_file(model)
    if not model.exists() and not model.suffix and model.name == str(model):
        raise UsageError(
            f"{model} is no file, and no network of the zoo.",
            fix=f"Give a .keras, .h5 or .onnx file, or one of these names: {', '.join(MODELS)}.",
        )
    return read_model(model, input_size=input_size)
