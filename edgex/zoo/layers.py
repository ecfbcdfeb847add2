"""Layers put one after the other into a graph, with Keras' semantics and names. Weights are zeros until they are drawn.

See :func:`edgex.zoo.weights.initialized`.
"""

from collections import Counter

import numpy as np

from edgex.graph.ir import (
    Add,
    Array,
    BatchNorm,
    Concat,
    Conv2D,
    Dense,
    DepthwiseConv2D,
    GlobalAveragePool,
    Graph,
    Input,
    MaxPool2D,
    Node,
    Op,
    Padding,
    Pair,
    Relu,
    Resize,
    SeparableConv2D,
    Softmax,
)

EPSILON = 1e-3
"""Of batch norm; Keras' default."""

WIDTHS = 8
"""Scaled widths are multiples of this."""


def scaled(channels: int, width: float) -> int:
    """A number of channels times a multiplier: the nearest multiple of 8, and at least 8."""
    return max(WIDTHS, int(channels * width / WIDTHS + 0.5) * WIDTHS)


def repeated(blocks: int, depth: float) -> int:
    """A number of blocks times a multiplier, and at least 1."""
    return max(1, int(blocks * depth + 0.5))


class Layers:
    """A graph in the making. Each method adds a layer, takes names of tensors and gives the name of the one it makes.

    Attributes:
        channels: of every tensor so far.
    """

    def __init__(self, size: Pair) -> None:
        self.nodes: list[Node] = [Node("input_layer", Input((*size, 3)))]
        self.channels: dict[str, int] = {"input_layer": 3}
        self._counted: Counter[str] = Counter()

    @property
    def image(self) -> str:
        return self.nodes[0].name

    def graph(self, name: str, output: str) -> Graph:
        return Graph(name, tuple(self.nodes), (output,))

    def add(self, name: str, op: Op, inputs: tuple[str, ...], channels: int, **params: Array) -> str:
        self.nodes.append(Node(name, op, inputs, params))
        self.channels[name] = channels
        return name

    def automatic(self, kind: str) -> str:
        """The name that Keras gives a layer that has none of its own: conv2d, conv2d_1, …"""
        number = self._counted[kind]
        self._counted[kind] += 1
        return f"{kind}_{number}" if number else kind

    def conv(
        self,
        name: str,
        x: str,
        channels: int,
        kernel: int,
        *,
        strides: int = 1,
        padding: Padding = "same",
        groups: int = 1,
        bias: bool = False,
    ) -> str:
        params = {"kernel": _zeros(kernel, kernel, self.channels[x] // groups, channels)}
        if bias:
            params["bias"] = _zeros(channels)
        return self.add(name, Conv2D((strides, strides), padding, (1, 1), groups), (x,), channels, **params)

    def depthwise(self, name: str, x: str, *, strides: int = 1, rate: int = 1) -> str:
        channels = self.channels[x]
        op = DepthwiseConv2D((strides, strides), "same", (rate, rate))
        return self.add(name, op, (x,), channels, kernel=_zeros(3, 3, channels, 1))

    def separable(self, name: str, x: str, channels: int) -> str:
        params = {"depthwise": _zeros(3, 3, self.channels[x], 1), "pointwise": _zeros(1, 1, self.channels[x], channels)}
        return self.add(name, SeparableConv2D(padding="same"), (x,), channels, **params)

    def norm(self, name: str, x: str) -> str:
        channels = self.channels[x]
        ones = np.ones(channels, np.float32)
        params = {"gamma": ones, "beta": _zeros(channels), "mean": _zeros(channels), "variance": ones}
        return self.add(name, BatchNorm(EPSILON), (x,), channels, **params)

    def relu(self, name: str, x: str) -> str:
        return self.add(name, Relu(), (x,), self.channels[x])

    def max_pool(self, name: str, x: str) -> str:
        return self.add(name, MaxPool2D((3, 3), (2, 2), "same"), (x,), self.channels[x])

    def average(self, name: str, x: str, *, keepdims: bool = False) -> str:
        return self.add(name, GlobalAveragePool(keepdims), (x,), self.channels[x])

    def sum(self, *inputs: str) -> str:
        return self.add(self.automatic("add"), Add(), inputs, self.channels[inputs[0]])

    def concat(self, name: str, *inputs: str) -> str:
        return self.add(name, Concat(), inputs, sum(self.channels[x] for x in inputs))

    def resize(self, name: str, x: str, size: Pair) -> str:
        """Bilinear."""
        return self.add(name, Resize(size), (x,), self.channels[x])

    def size_of(self, x: str) -> Pair:
        """Height and width of a tensor. ValueError if shapes before it do not fit."""
        height, width, _ = self.graph("", x).shapes[x]
        return height, width

    def classifier(self, x: str, classes: int) -> str:
        """Mean over the image, and a dense layer with a softmax built in."""
        x = self.average("avg_pool", x)
        params = {"kernel": _zeros(self.channels[x], classes), "bias": _zeros(classes)}
        x = self.add("predictions", Dense(), (x,), classes, **params)
        return self.softmax(x)

    def softmax(self, x: str) -> str:
        return self.add(f"{x}.softmax", Softmax(), (x,), self.channels[x])


def _zeros(*shape: int) -> Array:
    return np.zeros(shape, np.float32)
