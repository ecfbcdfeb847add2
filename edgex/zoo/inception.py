"""Inception V3, which Xception is compared with, as ``keras.applications`` has it. Needs the train extra.

C. Szegedy et al., "Rethinking the Inception Architecture for Computer Vision", CVPR 2016, arXiv:1512.00567.
"""

from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from edgex.console import silent_imports
from edgex.errors import RuntimeMissingError
from edgex.graph.ir import Graph, Pair
from edgex.graph.read_keras import read_keras


def inception_v3(size: Pair, classes: int) -> Graph:
    """The graph, with Keras' random weights. RuntimeMissingError if the train extra is not installed."""
    try:
        with silent_imports():
            import keras
    except ImportError as error:
        raise RuntimeMissingError(
            f"Inception V3 comes from keras.applications, which needs {error.name}; that is not installed.",
            fix="pip install 'edgex[train]'",
        ) from error
    shape = (*size, 3)
    return made_by_keras(
        "inception_v3", lambda: keras.applications.InceptionV3(weights=None, input_shape=shape, classes=classes)
    )


def made_by_keras(name: str, make: Callable[[], Any]) -> Graph:
    """The graph of a model that ``make`` builds with Keras, as the first of its session."""
    import keras

    # Layers without a name of their own are numbered by a counter of the session: conv2d, conv2d_1, …
    keras.utils.clear_session()
    model = make()
    with TemporaryDirectory() as folder:
        path = Path(folder) / f"{name}.keras"
        model.save(path)
        return read_keras(path)
