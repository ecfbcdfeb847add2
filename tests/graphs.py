"""Small graphs with random weights, as they look after the passes."""

import numpy as np

from edgex.graph.ir import (
    Add,
    Array,
    Conv2D,
    Dense,
    DepthwiseConv2D,
    GlobalAveragePool,
    Graph,
    Input,
    MaxPool2D,
    Node,
    Relu,
    Softmax,
)


class _Weights:
    """Draws weights that keep the spread of activations about equal from layer to layer."""

    def __init__(self, seed: int) -> None:
        self._random = np.random.default_rng(seed)

    def kernel(self, *shape: int, fan_in: int, gain: float = 2.0) -> Array:
        """He et al. 2015 for ``gain`` 2 (a ReLU follows or precedes), Glorot's for 1."""
        return self._random.normal(0.0, np.sqrt(gain / fan_in), shape).astype(np.float32)

    def bias(self, channels: int) -> Array:
        return self._random.normal(0.0, 0.1, channels).astype(np.float32)


def tiny_xception(size: int = 32, classes: int = 10, seed: int = 0) -> Graph:
    """Xception's block structure with few channels: separable convolutions split, batch norm folded, float32.

    Input ``input`` (size, size, 3) in [-1, 1]; output ``predictions.softmax`` (classes,), of the logits
    ``predictions``. Has each thing that full Xception has: a strided valid stem, a strided 1x1 shortcut with max
    pooling, an identity shortcut, a ReLU that reads a sum that others read too, depthwise without bias.
    """
    draw = _Weights(seed)

    def convolution(name: str, read: str, kernel: int, inputs: int, outputs: int, strides: int = 1) -> Node:
        params = {"kernel": draw.kernel(kernel, kernel, inputs, outputs, fan_in=kernel * kernel * inputs)}
        op = Conv2D(strides=(strides, strides), padding="same" if kernel == 1 else "valid")
        return Node(name, op, (read,), {**params, "bias": draw.bias(outputs)})

    def separable(name: str, read: str, inputs: int, outputs: int) -> tuple[Node, Node]:
        depthwise = {"kernel": draw.kernel(3, 3, inputs, 1, fan_in=9, gain=1.0)}
        pointwise = {"kernel": draw.kernel(1, 1, inputs, outputs, fan_in=inputs), "bias": draw.bias(outputs)}
        return (
            Node(f"{name}.depthwise", DepthwiseConv2D(padding="same"), (read,), depthwise),
            Node(f"{name}.pointwise", Conv2D(), (f"{name}.depthwise",), pointwise),
        )

    def relu(name: str, read: str) -> Node:
        return Node(name, Relu(), (read,))

    # Pooled features differ little from image to image: what they share must not choose the class
    head = draw.kernel(32, classes, fan_in=32, gain=10.0)
    head -= head.mean(axis=0)

    nodes = (
        Node("input", Input((size, size, 3))),
        convolution("block1_conv1", "input", 3, 3, 8, strides=2),
        relu("block1_conv1_act", "block1_conv1"),
        convolution("block1_conv2", "block1_conv1_act", 3, 8, 16),
        relu("block1_conv2_act", "block1_conv2"),
        convolution("conv2d", "block1_conv2_act", 1, 16, 24, strides=2),
        *separable("block2_sepconv1", "block1_conv2_act", 16, 24),
        relu("block2_sepconv2_act", "block2_sepconv1.pointwise"),
        *separable("block2_sepconv2", "block2_sepconv2_act", 24, 24),
        Node("block2_pool", MaxPool2D((3, 3), (2, 2), "same"), ("block2_sepconv2.pointwise",)),
        Node("add", Add(), ("block2_pool", "conv2d")),
        relu("block3_sepconv1_act", "add"),
        *separable("block3_sepconv1", "block3_sepconv1_act", 24, 24),
        relu("block3_sepconv2_act", "block3_sepconv1.pointwise"),
        *separable("block3_sepconv2", "block3_sepconv2_act", 24, 24),
        Node("add_1", Add(), ("block3_sepconv2.pointwise", "add")),
        *separable("block14_sepconv1", "add_1", 24, 32),
        relu("block14_sepconv1_act", "block14_sepconv1.pointwise"),
        Node("avg_pool", GlobalAveragePool(), ("block14_sepconv1_act",)),
        Node("predictions", Dense(), ("avg_pool",), {"kernel": head, "bias": draw.bias(classes)}),
        Node("predictions.softmax", Softmax(), ("predictions",)),
    )
    return Graph("tiny_xception", nodes, ("predictions.softmax",))
