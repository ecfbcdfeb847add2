"""What each Keras layer becomes in the graph.

:data:`LAYERS` at the end lists all layers that can be read. A layer becomes one node of its own name, and one more for
a built-in activation: ``predictions`` and ``predictions.softmax``.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from edgex.graph.ir import (
    Add,
    Affine,
    Array,
    AveragePool2D,
    BatchNorm,
    Concat,
    Conv2D,
    Crop,
    Dense,
    DepthwiseConv2D,
    Flatten,
    GlobalAveragePool,
    GlobalMaxPool,
    Identity,
    MaxPool2D,
    Multiply,
    Node,
    Op,
    Pad,
    Reshape,
    Resize,
    ResizeMethod,
    SeparableConv2D,
)
from edgex.graph.keras_activations import ACTIVATION_LAYERS, activation_nodes, activation_op, activation_suffix
from edgex.graph.keras_call import Call
from edgex.graph.keras_config import Config
from edgex.graph.shapes import Shape

NORMALIZATION_EPSILON = np.float32(1e-7)
"""``keras.backend.epsilon()``: Normalization divides by no less."""

MERGING = ("Add", "Concatenate", "CustomScaleLayer", "Multiply")
"""Layers that are called on several tensors."""


@dataclass(frozen=True)
class LayerReader:
    """How a layer is read.

    Attributes:
        nodes: the nodes of one call; the last makes the layer's output. ValueError if weights or shapes do not fit.
        variables: names of the layer's weights under a configuration, in the order in which Keras saves them.
    """

    nodes: Callable[[Call], list[Node]]
    variables: Callable[[Config], tuple[str, ...]] = lambda _: ()


def read_call(call: Call) -> list[Node]:
    """The nodes of one call of a layer.

    Raises:
        ModelError: the layer is configured in a way that is not supported.
        ValueError: weights or shapes do not fit.
    """
    if call.config.get("data_format") not in (None, "channels_last"):
        raise call.refusal(f"the data format {call.config['data_format']}")
    if len(call.inputs) != 1 and call.layer.class_name not in MERGING:
        raise ValueError(f"it is called on {len(call.inputs)} tensors")
    return LAYERS[call.layer.class_name].nodes(call)


# Convolutions and dense layers


def _conv2d(call: Call) -> list[Node]:
    groups = call.count("groups")
    kernel = (*call.pair("kernel_size"), call.channels // groups, call.count("filters"))
    op = Conv2D(call.pair("strides"), call.padding(), call.pair("dilation_rate"), groups)
    return _weighted(call, op, kernel=kernel, bias=kernel[3:])


def _depthwise_conv2d(call: Call) -> list[Node]:
    kernel = (*call.pair("kernel_size"), call.channels, call.count("depth_multiplier"))
    op = DepthwiseConv2D(call.pair("strides"), call.padding(), call.pair("dilation_rate"))
    return _weighted(call, op, kernel=kernel, bias=(kernel[2] * kernel[3],))


def _separable_conv2d(call: Call) -> list[Node]:
    depthwise = (*call.pair("kernel_size"), call.channels, call.count("depth_multiplier"))
    pointwise = (1, 1, depthwise[2] * depthwise[3], call.count("filters"))
    op = SeparableConv2D(call.pair("strides"), call.padding(), call.pair("dilation_rate"))
    return _weighted(call, op, depthwise=depthwise, pointwise=pointwise, bias=pointwise[3:])


def _dense(call: Call) -> list[Node]:
    kernel = (call.channels, call.count("units"))
    return _weighted(call, Dense(), kernel=kernel, bias=kernel[1:])


def _weighted(call: Call, op: Op, **shapes: Shape) -> list[Node]:
    """A node with the call's weights, and one for its built-in activation."""
    _check_shapes(call, **shapes)
    node = Node(call.name, op, call.inputs, call.weights)
    activation = activation_op(call.layer, call.config.get("activation"), len(call.shapes[0]) + 1)
    if activation is None:
        return [node]
    name = f"{call.name}.{activation_suffix(activation)}"
    return [node, *activation_nodes(activation, name, node.name, shapes["bias"][0], keras_2=call.keras_2)]


def _check_shapes(call: Call, **shapes: Shape) -> None:
    for variable, array in call.weights.items():
        if array.shape != shapes[variable]:
            raise ValueError(
                f"its {variable} has the shape {array.shape}, and the image here asks for {shapes[variable]}"
            )


# Per-channel arithmetic


def _batch_normalization(call: Call) -> list[Node]:
    axis = call.config["axis"]
    if not call.is_last_axis(axis[0] if isinstance(axis, list) else axis):
        raise call.refusal(f"the axis {axis} (only the last)")
    size = (call.channels,)
    _check_shapes(call, gamma=size, beta=size, mean=size, variance=size)
    _check_variance(call.weights["variance"])
    return [Node(call.name, BatchNorm(float(call.config["epsilon"])), call.inputs, call.weights)]


def _rescaling(call: Call) -> list[Node]:
    params = {key: _per_channel(call, call.config[key]) for key in ("scale", "offset")}
    return [Node(call.name, Affine(), call.inputs, params)]


def _normalization(call: Call) -> list[Node]:
    axis = call.config["axis"]
    axes = axis if isinstance(axis, list) else [] if axis is None else [axis]
    if len(axes) > 1 or not all(call.is_last_axis(axis) for axis in axes):
        raise call.refusal(f"the axis {axis} (only the last, or none)")
    mean = _constant(call, call.weights.get("mean", call.config.get("mean")))
    variance = _constant(call, call.weights.get("variance", call.config.get("variance")))
    _check_variance(variance)
    deviation: Array = np.maximum(np.sqrt(variance), NORMALIZATION_EPSILON)
    inverted = bool(call.config.get("invert"))
    with np.errstate(over="ignore"):
        scale: Array = deviation if inverted else np.reciprocal(deviation)
        offset: Array = mean if inverted else -mean * scale
    params = {"scale": _per_channel(call, scale), "offset": _per_channel(call, offset)}
    return [Node(call.name, Affine(), call.inputs, params)]


def _check_variance(variance: Array) -> None:
    if (variance < 0).any():
        raise ValueError(f"its variance is negative ({variance.min()})")


def _per_channel(call: Call, value: Any) -> Array:
    """A constant for each channel, in the memory of one where it is one: a layer may claim any number of channels."""
    return np.broadcast_to(_constant(call, value), (call.channels,))


def _constant(call: Call, value: Any) -> Array:
    """A number, a list or an array, as Keras writes them."""
    if isinstance(value, dict) and value.get("class_name") == "__numpy__":
        value = value["config"]["value"]
    with np.errstate(over="ignore"):
        array = np.asarray(value, dtype=np.float32).reshape(-1)
    if not np.isfinite(array).all():
        raise call.refusal("a constant that is not finite")
    return array


# Everything else


def _activation(call: Call) -> list[Node]:
    op = ACTIVATION_LAYERS[call.layer.class_name](call.layer, call.config, len(call.shapes[0]) + 1)
    if op is None:
        return _identity(call)
    return activation_nodes(op, call.name, call.inputs[0], call.channels, keras_2=call.keras_2)


def _max_pooling(call: Call) -> list[Node]:
    return [Node(call.name, MaxPool2D(*call.window()), call.inputs)]


def _average_pooling(call: Call) -> list[Node]:
    return [Node(call.name, AveragePool2D(*call.window()), call.inputs)]


def _global_average_pooling(call: Call) -> list[Node]:
    return [Node(call.name, GlobalAveragePool(bool(call.config.get("keepdims"))), call.inputs)]


def _global_max_pooling(call: Call) -> list[Node]:
    return [Node(call.name, GlobalMaxPool(bool(call.config.get("keepdims"))), call.inputs)]


def _zero_padding(call: Call) -> list[Node]:
    return [Node(call.name, Pad(call.borders("padding")), call.inputs)]


def _cropping(call: Call) -> list[Node]:
    return [Node(call.name, Crop(call.borders("cropping")), call.inputs)]


def _up_sampling(call: Call) -> list[Node]:
    if len(call.shapes[0]) != 3:
        raise ValueError(f"needs an image, got shape {call.shapes[0]}")
    height, width, _ = call.shapes[0]
    down, right = call.pair("size")
    return [Node(call.name, Resize((height * down, width * right), _interpolation(call)), call.inputs)]


def _resizing(call: Call) -> list[Node]:
    for key in ("crop_to_aspect_ratio", "pad_to_aspect_ratio", "antialias"):
        if call.config.get(key):
            raise call.refusal(key)
    size = call.extent("height"), call.extent("width")
    return [Node(call.name, Resize(size, _interpolation(call)), call.inputs)]


def _interpolation(call: Call) -> ResizeMethod:
    match call.config["interpolation"]:
        case "bilinear":
            return "bilinear"
        case "nearest":
            return "nearest"
        case other:
            raise call.refusal(f"the interpolation {other!r}")


def _add(call: Call) -> list[Node]:
    _check_operands(call)
    return [Node(call.name, Add(), call.inputs)]


def _multiply(call: Call) -> list[Node]:
    """The product of the first two, that times the third, and so on."""
    _check_operands(call)
    first, *others = call.inputs
    nodes: list[Node] = []
    for position, factor in enumerate(others, start=1):
        name = call.name if position == len(others) else f"{call.name}.{position}"
        nodes.append(Node(name, Multiply(), (nodes[-1].name if nodes else first, factor)))
    return nodes


def _scaled_sum(call: Call) -> list[Node]:
    """The first plus the second times a constant."""
    first, second = call.inputs
    params = {"scale": _per_channel(call, call.config["scale"]), "offset": _per_channel(call, 0.0)}
    scaled = Node(f"{call.name}.scaled", Affine(), (second,), params)
    return [scaled, Node(call.name, Add(), (first, scaled.name))]


def _check_operands(call: Call) -> None:
    if len(call.inputs) < 2:
        raise ValueError("it is called on one tensor")
    if len({len(shape) for shape in call.shapes}) > 1:
        raise call.refusal(f"inputs of the shapes {', '.join(map(str, call.shapes))}, of unlike ranks")


def _concatenate(call: Call) -> list[Node]:
    if not call.is_last_axis(call.config["axis"]):
        raise call.refusal(f"the axis {call.config['axis']} (only the last)")
    return [Node(call.name, Concat(), call.inputs)]


def _flatten(call: Call) -> list[Node]:
    return [Node(call.name, Flatten(), call.inputs)]


def _reshape(call: Call) -> list[Node]:
    shape = tuple(int(size) for size in call.config["target_shape"])
    if shape.count(-1) > 1 or any(size < 1 and size != -1 for size in shape):
        raise ValueError(f"the shape {shape} cannot be")
    return [Node(call.name, Reshape(shape), call.inputs)]


def _identity(call: Call) -> list[Node]:
    return [Node(call.name, Identity(), call.inputs)]


# Variables


def _bias(config: Config) -> tuple[str, ...]:
    return ("bias",) if config.get("use_bias", True) else ()


def _kernel_and_bias(config: Config) -> tuple[str, ...]:
    return ("kernel", *_bias(config))


def _separable_kernels_and_bias(config: Config) -> tuple[str, ...]:
    return ("depthwise", "pointwise", *_bias(config))


def _batch_statistics(config: Config) -> tuple[str, ...]:
    gamma = ("gamma",) if config.get("scale", True) else ()
    beta = ("beta",) if config.get("center", True) else ()
    return (*gamma, *beta, "mean", "variance")


def _adapted_statistics(config: Config) -> tuple[str, ...]:
    return ("mean", "variance", "count") if config.get("mean") is None else ()


LAYERS: Mapping[str, LayerReader] = {
    "Activation": LayerReader(_activation),
    "ActivityRegularization": LayerReader(_identity),
    "Add": LayerReader(_add),
    "AveragePooling2D": LayerReader(_average_pooling),
    "BatchNormalization": LayerReader(_batch_normalization, _batch_statistics),
    "Concatenate": LayerReader(_concatenate),
    "Conv2D": LayerReader(_conv2d, _kernel_and_bias),
    "Cropping2D": LayerReader(_cropping),
    "CustomScaleLayer": LayerReader(_scaled_sum),  # of InceptionResNetV2
    "Dense": LayerReader(_dense, _kernel_and_bias),
    "DepthwiseConv2D": LayerReader(_depthwise_conv2d, _kernel_and_bias),
    "Dropout": LayerReader(_identity),
    "ELU": LayerReader(_activation),
    "Flatten": LayerReader(_flatten),
    "GaussianDropout": LayerReader(_identity),
    "GaussianNoise": LayerReader(_identity),
    "GlobalAveragePooling2D": LayerReader(_global_average_pooling),
    "GlobalMaxPooling2D": LayerReader(_global_max_pooling),
    "InputLayer": LayerReader(_identity),  # as the input of an inner model; that of the whole is edgex.graph.ir.Input
    "LeakyReLU": LayerReader(_activation),
    "MaxPooling2D": LayerReader(_max_pooling),
    "Multiply": LayerReader(_multiply),
    "Normalization": LayerReader(_normalization, _adapted_statistics),
    "RandomContrast": LayerReader(_identity),
    "RandomFlip": LayerReader(_identity),
    "RandomRotation": LayerReader(_identity),
    "RandomTranslation": LayerReader(_identity),
    "RandomZoom": LayerReader(_identity),
    "ReLU": LayerReader(_activation),
    "Rescaling": LayerReader(_rescaling),
    "Reshape": LayerReader(_reshape),
    "Resizing": LayerReader(_resizing),
    "SeparableConv2D": LayerReader(_separable_conv2d, _separable_kernels_and_bias),
    "Softmax": LayerReader(_activation),
    "SpatialDropout2D": LayerReader(_identity),
    "UpSampling2D": LayerReader(_up_sampling),
    "ZeroPadding2D": LayerReader(_zero_padding),
}
"""By Keras class name."""
