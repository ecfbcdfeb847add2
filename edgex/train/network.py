"""A graph as a ``tf_keras`` model, and its trained weights back in the graph.

Each node is one layer, see :func:`layer_name`, built of Keras' stock layers, so that TensorFlow Model Optimization can
wrap it. The model ends at the logits: losses want those, and the artifacts' softmax is float anyway.
"""

import os
import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from edgex.errors import ModelError, RuntimeMissingError
from edgex.graph.ir import (
    Activation,
    Add,
    Affine,
    Array,
    AveragePool2D,
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
    Pad,
    Relu,
    Reshape,
    Softmax,
)

if TYPE_CHECKING:
    import tf_keras

KERNEL_ATTRIBUTES = {Conv2D: "kernel", DepthwiseConv2D: "depthwise_kernel", Dense: "kernel"}
"""What Keras calls the kernel of each operation that has one."""


def require_tensorflow() -> None:
    """Import it, quietly. RuntimeMissingError if the train extra is not installed."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    try:
        with _no_stderr():
            import tensorflow_model_optimization  # noqa: F401  it needs tensorflow and tf_keras
    except ImportError as error:
        raise RuntimeMissingError(
            f"Training needs {error.name}, which is not installed.", fix="pip install 'edgex[train]'"
        ) from error


@contextmanager
def _no_stderr() -> Iterator[None]:
    """Let C++ write to nowhere: TensorFlow's logs about processors and GPUs come before any level is heeded."""
    stderr = os.dup(2)
    try:
        with Path(os.devnull).open("w") as nowhere:
            os.dup2(nowhere.fileno(), 2)
        yield
    finally:
        os.dup2(stderr, 2)
        os.close(stderr)


def logits_graph(graph: Graph) -> Graph:
    """The graph without its final softmax.

    Raises:
        ModelError: it has more than one input or output, so that it is not known what to train for.
    """
    if len(graph.inputs) != 1 or len(graph.outputs) != 1:
        raise ModelError(
            f"{graph.name} has {len(graph.inputs)} inputs and {len(graph.outputs)} outputs, and cannot be trained.",
            fix="Give a classifier, or quantize it without training.",
        )
    output = graph[graph.outputs[0]]
    if not isinstance(output.op, Softmax) or graph.consumers[output.name]:
        return graph
    kept = tuple(node for node in graph.nodes if node is not output)
    return replace(graph, nodes=kept, outputs=output.inputs)


def keras_model(graph: Graph) -> "tf_keras.Model":
    """Build the model of a prepared graph that ends at its logits, with its weights.

    Args:
        graph: see :func:`edgex.graph.passes.prepare` and :func:`logits_graph`.

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
            tensors[node.name] = _apply(node, inputs if len(inputs) > 1 else inputs[0])
    model = tf_keras.Model(source, tensors[graph.outputs[0]], name=graph.name)
    for node in graph.nodes:
        if "kernel" in node.params:
            model.get_layer(layer_name(node.name)).set_weights([node.params["kernel"], _bias(node)])
    return model


def layer_name(node: str) -> str:
    """Of the layer of a node. TensorFlow takes few of the characters that the names of nodes may have."""
    return "node." + re.sub(r"[^A-Za-z0-9_./]", lambda other: f"-{ord(other[0]):x}-", node)


def trained_graph(graph: Graph, weights: Mapping[str, tuple[Array, Array]]) -> Graph:
    """``graph`` with other kernels and biases: node name → both, in Keras' layouts."""
    replacements = {
        name: [graph[name].with_params(kernel=kernel, bias=bias)] for name, (kernel, bias) in weights.items()
    }
    return graph.rewrite(replacements)


def _bias(node: Node) -> Array:
    kernel = node.params["kernel"]
    channels = kernel.shape[2] * kernel.shape[3] if isinstance(node.op, DepthwiseConv2D) else kernel.shape[-1]
    return node.params.get("bias", np.zeros(channels, np.float32))


def _apply(node: Node, x: Any) -> Any:
    """The node's layer, called on the tensor or tensors that the node reads."""
    from tf_keras import layers

    name = layer_name(node.name)
    match node.op:
        case Conv2D(strides, padding, dilation, groups):
            height, width, _, filters = node.params["kernel"].shape
            x, own = _padded(name, x, padding)
            return layers.Conv2D(
                filters, (height, width), strides, own, dilation_rate=dilation, groups=groups, name=name
            )(x)
        case DepthwiseConv2D(strides, padding, dilation):
            height, width, _, multiplier = node.params["kernel"].shape
            x, own = _padded(name, x, padding)
            return layers.DepthwiseConv2D((height, width), strides, own, multiplier, dilation_rate=dilation, name=name)(
                x
            )
        case Dense():
            return layers.Dense(node.params["kernel"].shape[1], name=name)(x)
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
        case Flatten():
            return layers.Flatten(name=name)(x)
        case Reshape(shape):
            return layers.Reshape(shape, name=name)(x)
        case Softmax():
            return layers.Softmax(name=name)(x)
        case _:
            raise ModelError(
                f"{node.name}: {type(node.op).__name__} with these settings cannot be trained.",
                fix="Quantize without --mode qat.",
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
