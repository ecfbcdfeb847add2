"""Activations as Keras names them, and as operations of the graph."""

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from edgex.errors import ModelError
from edgex.graph.ir import Activation, Affine, Elu, LeakyRelu, Node, Op, Relu, Softmax
from edgex.graph.keras_config import Config, Layer

ACTIVATIONS: Mapping[str, Op | None] = {
    "linear": None,
    "elu": Elu(),
    "gelu": Activation("gelu"),
    "hard_sigmoid": Activation("hard_sigmoid"),
    "hard_silu": Activation("hard_silu"),
    "hard_swish": Activation("hard_silu"),
    "leaky_relu": LeakyRelu(0.2),
    "relu": Relu(),
    "relu6": Relu(6.0),
    "sigmoid": Activation("sigmoid"),
    "silu": Activation("silu"),
    "softmax": Softmax(),
    "softplus": Activation("softplus"),
    "swish": Activation("silu"),
    "tanh": Activation("tanh"),
}
"""By the name that ``activation=`` takes; None leaves the tensor as it is."""

KERAS_2_HARD_SIGMOID_GAIN = np.float32(1.2)
"""Keras 2 clips ``0.2 x + 0.5``, Keras 3 ``x / 6 + 0.5``, to 0…1: the first is the second, of ``1.2 x``."""


def activation_op(layer: Layer, activation: Any, rank: int) -> Op | None:
    """The operation that an ``activation=`` argument of a layer stands for; None if it does nothing.

    Args:
        layer: for the message.
        activation: a name, a layer like ``ReLU(6)`` as Keras serializes it, or None.
        rank: of the tensor it is applied to, with the batch axis.

    Raises:
        ModelError: it is not supported.
    """
    if activation is None:
        return None
    if isinstance(activation, dict) and activation.get("class_name") in ACTIVATION_LAYERS:
        return ACTIVATION_LAYERS[activation["class_name"]](layer, activation["config"], rank)
    if isinstance(activation, str) and activation in ACTIVATIONS:
        return ACTIVATIONS[activation]
    raise _refusal(layer, f"the activation {activation!r}")


def activation_nodes(op: Op, name: str, read: str, channels: int, *, keras_2: bool) -> list[Node]:
    """Nodes that apply an activation to a tensor; the last is called ``name``."""
    if keras_2 and op == Activation("hard_sigmoid"):
        scale, offset = (np.broadcast_to(value, (channels,)) for value in (KERAS_2_HARD_SIGMOID_GAIN, np.float32(0)))
        params = {"scale": scale, "offset": offset}
        return [Node(f"{name}.gain", Affine(), (read,), params), Node(name, op, (f"{name}.gain",))]
    return [Node(name, op, (read,))]


def activation_suffix(op: Op) -> str:
    """What an activation adds to the name of the layer it is built into: ``relu``, ``softmax``, ``silu``, …"""
    return op.function if isinstance(op, Activation) else type(op).__name__.lower()


def _relu(layer: Layer, config: Config, _rank: int) -> Op:
    maximum, slope = config.get("max_value"), float(config.get("negative_slope") or 0.0)
    if config.get("threshold"):
        raise _refusal(layer, f"the threshold {config['threshold']}")
    if slope and maximum is not None:
        raise _refusal(layer, f"the slope {slope} together with the limit {maximum}")
    return LeakyRelu(slope) if slope else Relu(None if maximum is None else float(maximum))


def _leaky_relu(_layer: Layer, config: Config, _rank: int) -> Op:
    return LeakyRelu(float(config["negative_slope"] if "negative_slope" in config else config["alpha"]))


def _elu(_layer: Layer, config: Config, _rank: int) -> Op:
    return Elu(float(config.get("alpha", 1.0)))


def _softmax(layer: Layer, config: Config, rank: int) -> Op:
    axis = config.get("axis", -1)
    if axis not in (-1, rank - 1, [-1], [rank - 1]):
        raise _refusal(layer, f"a softmax over the axis {axis} (only the last)")
    return Softmax()


def _activation(layer: Layer, config: Config, rank: int) -> Op | None:
    return activation_op(layer, config["activation"], rank)


ACTIVATION_LAYERS: Mapping[str, Callable[[Layer, Config, int], Op | None]] = {
    "Activation": _activation,
    "ELU": _elu,
    "LeakyReLU": _leaky_relu,
    "ReLU": _relu,
    "Softmax": _softmax,
}
"""Layers that are activations. Keras also takes them as ``activation=`` of other layers."""


def _refusal(layer: Layer, what: str) -> ModelError:
    return ModelError(
        f"the layer {layer.name!r} ({layer.class_name}) has {what}, which edgex does not support",
        fix=f"Use one of: {', '.join(ACTIVATIONS)}.",
    )
