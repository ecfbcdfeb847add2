"""The networks that edgex grew out of and around, as graphs with fresh weights.

A model is data here, too: :func:`build` makes a :class:`~edgex.graph.ir.Graph` with numpy alone, and everything else
works on it at once: :func:`edgex.write.keras.keras_file` makes a ``.keras`` file of it,
:func:`edgex.train.network.keras_model` a model to train, the other writers artifacts. Only ``inception_v3`` comes from
``keras.applications``, and so needs the train extra.
"""

from edgex.zoo.models import MODELS, Architecture, build
from edgex.zoo.options import Option
from edgex.zoo.weights import Transfer, with_weights

__all__ = ["MODELS", "Architecture", "Option", "Transfer", "build", "with_weights"]
