"""What each operation is as a Keras layer: :mod:`edgex.graph.keras_layers` the other way round.

Arguments are left out whose default is right in every Keras 3. ``data_format`` is not: a user can set another.
"""

from collections.abc import Mapping
from typing import Any

from edgex.graph.ir import (
    Add,
    Affine,
    AveragePool2D,
    BatchNorm,
    Concat,
    Conv2D,
    Crop,
    Dense,
    DepthwiseConv2D,
    Elu,
    Flatten,
    GlobalAveragePool,
    GlobalMaxPool,
    Input,
    LeakyRelu,
    MaxPool2D,
    Multiply,
    Node,
    Op,
    Pad,
    Relu,
    Reshape,
    Resize,
    SeparableConv2D,
)
from edgex.graph.keras_activations import ACTIVATIONS

Config = dict[str, Any]

ACTIVATION_NAMES: Mapping[Op, str] = {op: name for name, op in reversed(list(ACTIVATIONS.items())) if op is not None}
"""Of the activations that ``activation=`` takes by name; of several names, the first."""

CHANNELS_LAST = {"data_format": "channels_last"}


def layer_of(node: Node, activation: Op | None) -> tuple[str, Config]:
    """Class and arguments of the layer that computes a node, without what all layers have.

    Args:
        node: its padding, if it has any, is "same" or "valid".
        activation: that is built into the layer.

    Raises:
        ValueError: Keras has no such layer.
    """
    match node.op:
        case Input(shape):
            return "InputLayer", {"batch_shape": (None, *shape)}
        case Conv2D() as op:
            *size, _, filters = node.params["kernel"].shape
            own = {"filters": filters, "groups": op.groups}
            return "Conv2D", own | _window(op, size) | _bias_and_activation(node, activation)
        case DepthwiseConv2D() as op:
            *size, _, multiplier = node.params["kernel"].shape
            own = {"depth_multiplier": multiplier}
            return "DepthwiseConv2D", own | _window(op, size) | _bias_and_activation(node, activation)
        case SeparableConv2D() as op:
            *size, _, multiplier = node.params["depthwise"].shape
            own = {"filters": node.params["pointwise"].shape[-1], "depth_multiplier": multiplier}
            return "SeparableConv2D", own | _window(op, size) | _bias_and_activation(node, activation)
        case Dense():
            return "Dense", {"units": node.params["kernel"].shape[-1]} | _bias_and_activation(node, activation)
        case BatchNorm(epsilon):
            trained = {"scale": "gamma" in node.params, "center": "beta" in node.params}
            return "BatchNormalization", {"axis": -1, "epsilon": epsilon} | trained
        case Affine():
            return "Rescaling", {key: node.params[key].tolist() for key in ("scale", "offset")}
        case Add():
            return "Add", {}
        case Multiply():
            return "Multiply", {}
        case Concat():
            return "Concatenate", {"axis": -1}
        case MaxPool2D() as op:
            return "MaxPooling2D", _pool(op)
        case AveragePool2D() as op:
            return "AveragePooling2D", _pool(op)
        case GlobalAveragePool(keepdims):
            return "GlobalAveragePooling2D", {"keepdims": keepdims} | CHANNELS_LAST
        case GlobalMaxPool(keepdims):
            return "GlobalMaxPooling2D", {"keepdims": keepdims} | CHANNELS_LAST
        case Pad(padding):
            return "ZeroPadding2D", {"padding": padding} | CHANNELS_LAST
        case Crop(cropping):
            return "Cropping2D", {"cropping": cropping} | CHANNELS_LAST
        case Resize((height, width), method):
            return "Resizing", {"height": height, "width": width, "interpolation": method} | CHANNELS_LAST
        case Flatten():
            return "Flatten", dict(CHANNELS_LAST)
        case Reshape(shape):
            return "Reshape", {"target_shape": shape}
        case op if op in ACTIVATION_NAMES:
            return "Activation", {"activation": ACTIVATION_NAMES[op]}
        case op:
            return _activation_layer(op)


def _window(op: Conv2D | DepthwiseConv2D | SeparableConv2D, size: list[int]) -> Config:
    return {
        "kernel_size": size,
        "strides": op.strides,
        "padding": op.padding,
        "dilation_rate": op.dilation,
        **CHANNELS_LAST,
    }


def _pool(op: MaxPool2D | AveragePool2D) -> Config:
    return {"pool_size": op.pool, "strides": op.strides, "padding": op.padding, **CHANNELS_LAST}


def _bias_and_activation(node: Node, activation: Op | None) -> Config:
    return {"use_bias": "bias" in node.params, "activation": _built_in(activation)}


def _built_in(activation: Op | None) -> str | Config:
    """A name, or a whole layer for an activation that has none."""
    if activation is None:
        return "linear"
    if activation in ACTIVATION_NAMES:
        return ACTIVATION_NAMES[activation]
    class_name, config = _activation_layer(activation)
    return {"module": "keras.layers", "class_name": class_name, "config": config, "registered_name": None}


def _activation_layer(op: Op) -> tuple[str, Config]:
    match op:
        case Relu(max_value):
            return "ReLU", {"max_value": max_value}
        case LeakyRelu(slope):
            return "LeakyReLU", {"negative_slope": slope}
        case Elu(alpha):
            return "ELU", {"alpha": alpha}
        case _:
            raise ValueError(f"{type(op).__name__} has no Keras layer; a pass should replace it")
