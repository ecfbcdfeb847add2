"""The weights that ``keras.applications`` offers for ImageNet, which it downloads and keeps in ``~/.keras``."""

import sys
from collections.abc import Mapping
from contextlib import redirect_stdout
from typing import Any

from edgex.errors import RuntimeMissingError, UsageError
from edgex.graph.ir import Graph
from edgex.train.network import require_tensorflow
from edgex.zoo.inception import made_by_keras

APPLICATIONS: Mapping[str, str] = {"xception": "Xception", "inception_v3": "InceptionV3"}
"""Network of the zoo → what ``keras.applications`` calls it; the layers of both have the same names."""


def imagenet_graph(name: str) -> Graph:
    """A network of the zoo as ``keras.applications`` trained it.

    Raises:
        UsageError: it has no such weights.
        RuntimeMissingError: the train extra is not installed, or the weights cannot be had.
    """
    if name not in APPLICATIONS:
        raise UsageError(
            f"There are no weights from ImageNet for {name}.",
            fix=f"There are for {', '.join(APPLICATIONS)}; or give a file with --from.",
        )
    require_tensorflow()  # without its lines about processors
    import keras

    def downloaded() -> Any:
        try:
            with redirect_stdout(sys.stderr):  # results go to stdout, and Keras says there what it downloads
                return getattr(keras.applications, APPLICATIONS[name])(weights="imagenet")
        except Exception as error:  # Keras raises it bare where a download fails
            raise RuntimeMissingError(
                f"The weights of {name} from ImageNet cannot be downloaded: {error}.",
                fix="Try where there is a network, or give a file that has them with --from FILE.keras.",
            ) from error

    return made_by_keras(name, downloaded)
