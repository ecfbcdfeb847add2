"""A graph as a ``tf_keras`` model, and its trained weights back in the graph.

Each node is one layer, see :func:`layer_name`, built of Keras' stock layers, so that TensorFlow Model Optimization can
wrap it. The model ends at the logits: losses want those, and the artifacts' softmax is float anyway.
"""

import re
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from edgex.console import silent_imports
from edgex.errors import ModelError, RuntimeMissingError
from edgex.graph.ir import (
    Activation,
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
    Elu,
    Flatten,
    GlobalAveragePool,
    GlobalMaxPool,
    Graph,
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
    Softmax,
)
from edgex.train.grouped import grouped_layer
from edgex.train.head import expect_logits

if TYPE_CHECKING:
    import tf_keras

ATTRIBUTES: Mapping[type[Op], Mapping[str, str]] = {
    Conv2D: {"kernel": "kernel", "bias": "bias"},
    DepthwiseConv2D: {"kernel": "depthwise_kernel", "bias": "bias"},
    Dense: {"kernel": "kernel", "bias": "bias"},
    BatchNorm: {"gamma": "gamma", "beta": "beta", "mean": "moving_mean", "variance": "moving_variance"},
}
"""What Keras calls the weights of each operation that has some to train."""

MOMENTUM = 0.97
"""Of the running statistics of batch norm.

Fine-tuning is short: after an epoch of two hundred steps this leaves 0.2 % of what they were, and Keras' default of
0.99 would leave 13 %.
"""


def require_tensorflow() -> None:
    """Import it, quietly. RuntimeMissingError if the train extra is not installed."""
    try:
        with silent_imports():
            import tensorflow_model_optimization  # noqa: F401  it needs tensorflow and tf_keras
    except ImportError as error:
        raise RuntimeMissingError(
            f"Training needs {error.name}, which is not installed.", fix="pip install 'edgex[train]'"
        ) from error


def configure_tensorflow(threads: int) -> None:
    """Have it compute with so many threads, unless it runs already, and on a CPU give the same bits each time."""
    import tensorflow as tf
    import tf_keras

    tf.get_logger().setLevel("ERROR")  # it warns of the functions of several networks, one after another
    with suppress(RuntimeError):  # it runs already
        tf.config.threading.set_intra_op_parallelism_threads(threads)
    if not tf.config.list_physical_devices("GPU"):  # on those it has no deterministic fake quantization
        tf.config.experimental.enable_op_determinism()
        tf_keras.utils.set_random_seed(0)  # nothing is drawn, but determinism wants a seed


def logits_graph(graph: Graph) -> Graph:
    """The graph without its final softmax.

    Raises:
        ModelError: it has more than one input or output, so that it is not known what to train for, or something
            follows the softmax.
    """
    if len(graph.inputs) != 1 or len(graph.outputs) != 1:
        raise ModelError(
            f"{graph.name} has {len(graph.inputs)} inputs and {len(graph.outputs)} outputs, and cannot be trained.",
            fix="Give a classifier, or quantize it without training.",
        )
    expect_logits(graph)
    output = graph[graph.outputs[0]]
    if not isinstance(output.op, Softmax) or graph.consumers[output.name]:
        return graph
    kept = tuple(node for node in graph.nodes if node is not output)
    return replace(graph, nodes=kept, outputs=output.inputs)


def keras_model(graph: Graph, *, biases: bool = True) -> "tf_keras.Model":
    """Build the model of a graph that ends at its logits, with its weights.

    Args:
        graph: see :func:`logits_graph`; prepared (see :func:`edgex.graph.passes.prepare`), or with its batch norm in
            place, but separable convolutions split and identities dropped.
        biases: whether a layer that could have a bias gets one, of zeros, where its node has none. What is quantized
            gains by that; a network that is to keep its layers does not.

    Raises:
        ModelError: a node has no layer that trains; names it.
    """
    import tf_keras

    tensors: dict[str, Any] = {}
    for node in graph.nodes:
        if isinstance(node.op, Input):
            source = tf_keras.layers.Input(node.op.shape)
            # Inputs cannot be wrapped, and the pixels are quantized too
            tensors[node.name] = tf_keras.layers.Activation("linear", name=layer_name(node.name))(source)
        else:
            inputs = [tensors[name] for name in node.inputs]
            bias = biases or "bias" in node.params
            tensors[node.name] = _apply(node, inputs if len(inputs) > 1 else inputs[0], bias)
    model = tf_keras.Model(source, tensors[graph.outputs[0]], name=graph.name)
    for node in graph.nodes:
        for param, attribute in ATTRIBUTES.get(type(node.op), {}).items():
            if param in node.params:
                getattr(model.get_layer(layer_name(node.name)), attribute).assign(node.params[param])
    return model


def layer_name(node: str) -> str:
    """Of the layer of a node. TensorFlow takes few of the characters that the names of nodes may have."""
    return "node." + re.sub(r"[^A-Za-z0-9_./]", lambda other: f"-{ord(other[0]):x}-", node)


def trained_graph(graph: Graph, weights: Mapping[str, Mapping[str, Array]]) -> Graph:
    """``graph`` with other weights: node name → those of its ``params`` that are new, or that it has not had."""
    return graph.rewrite({name: [graph[name].with_params(**params)] for name, params in weights.items()})


def _apply(node: Node, x: Any, use_bias: bool) -> Any:
    """The node's layer, called on the tensor or tensors that the node reads."""
    import tensorflow as tf
    from tf_keras import layers

    name = layer_name(node.name)
    match node.op:
        case Conv2D(strides, padding, dilation, groups):
            *size, _, filters = node.params["kernel"].shape
            x, own = _padded(name, x, padding)
            layer = layers.Conv2D if groups == 1 else grouped_layer()
            return layer(
                filters, size, strides, own, dilation_rate=dilation, groups=groups, use_bias=use_bias, name=name
            )(x)
        case DepthwiseConv2D(strides, padding, dilation):
            *size, _, multiplier = node.params["kernel"].shape
            x, own = _padded(name, x, padding)
            return layers.DepthwiseConv2D(
                size, strides, own, multiplier, dilation_rate=dilation, use_bias=use_bias, name=name
            )(x)
        case Dense():
            return layers.Dense(node.params["kernel"].shape[1], use_bias=use_bias, name=name)(x)
        case BatchNorm(epsilon):
            return layers.BatchNormalization(
                momentum=MOMENTUM,
                epsilon=epsilon,
                center="beta" in node.params,
                scale="gamma" in node.params,
                # Several devices normalize by the same statistics, those of the whole batch, as one would
                synchronized=tf.distribute.get_strategy().num_replicas_in_sync > 1,
                name=name,
            )(x)
        case Affine():
            return layers.Rescaling(node.params["scale"].tolist(), node.params["offset"].tolist(), name=name)(x)
        case Relu(max_value):
            return layers.ReLU(max_value, name=name)(x)
        case LeakyRelu(slope):
            return layers.LeakyReLU(slope, name=name)(x)
        case Elu(alpha):
            return layers.ELU(alpha, name=name)(x)
        case Activation(function):
            return layers.Activation(ACTIVATIONS[function], name=name)(x)
        case Add():
            return layers.Add(name=name)(x)
        case Multiply():
            return layers.Multiply(name=name)(x)
        case Concat():
            return layers.Concatenate(name=name)(x)
        case MaxPool2D(pool, strides, padding) if isinstance(padding, str):
            return layers.MaxPooling2D(pool, strides, padding, name=name)(x)
        case AveragePool2D(pool, strides, padding) if isinstance(padding, str):
            return layers.AveragePooling2D(pool, strides, padding, name=name)(x)
        case GlobalAveragePool(keepdims):
            return layers.GlobalAveragePooling2D(keepdims=keepdims, name=name)(x)
        case GlobalMaxPool(keepdims):
            return layers.GlobalMaxPooling2D(keepdims=keepdims, name=name)(x)
        case Pad(padding):
            return layers.ZeroPadding2D(padding, name=name)(x)
        case Crop(cropping):
            return layers.Cropping2D(cropping, name=name)(x)
        case Resize(size, method):
            return layers.Resizing(*size, interpolation=method, name=name)(x)
        case Flatten():
            return layers.Flatten(name=name)(x)
        case Reshape(shape):
            return layers.Reshape(shape, name=name)(x)
        case Softmax():
            return layers.Softmax(name=name)(x)
        case _:
            raise ModelError(
                f"{node.name}: {type(node.op).__name__} with these settings cannot be trained.",
                fix="Give a model without it, or quantize without training.",
            )


def _padded(name: str, x: Any, padding: Any) -> tuple[Any, str]:
    """What a convolution reads, and how it is to pad that itself."""
    from tf_keras import layers

    if isinstance(padding, str):
        return x, padding
    return layers.ZeroPadding2D(padding, name=f"padding.{name}")(x), "valid"


def hard_sigmoid(x: Any) -> Any:
    """As Keras 3 has it; that of tf_keras is another function."""
    import tensorflow as tf

    return tf.nn.relu6(x + 3.0) / 6.0


def hard_silu(x: Any) -> Any:
    return x * hard_sigmoid(x)


def exact_gelu(x: Any) -> Any:
    import tensorflow as tf

    return tf.nn.gelu(x, approximate=False)


CUSTOM_FUNCTIONS = {function.__name__: function for function in (exact_gelu, hard_sigmoid, hard_silu)}
"""What Keras must be told to find again by name."""

ACTIVATIONS: Mapping[str, str | Callable[[Any], Any]] = {
    "sigmoid": "sigmoid",
    "tanh": "tanh",
    "silu": "swish",
    "softplus": "softplus",
    "gelu": exact_gelu,
    "hard_sigmoid": hard_sigmoid,
    "hard_silu": hard_silu,
}
"""What ``tf_keras`` takes for each function of :class:`edgex.graph.ir.Activation`."""
