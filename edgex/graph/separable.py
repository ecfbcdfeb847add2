"""Separable convolutions, and the regular ones that would stand in their place.

A convolution of kernel K × K from C to C′ channels multiplies K²CC′ times at each position of its output. Split into
a depthwise K × K and a pointwise 1×1 convolution it multiplies K²C + CC′ times (F. Chollet 2017, arXiv:1610.02357;
A. Howard et al. 2017, arXiv:1704.04861, where the ratio is 1/C′ + 1/K²).
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass

from edgex.graph.ir import (
    Activation,
    Affine,
    BatchNorm,
    Conv2D,
    DepthwiseConv2D,
    Elu,
    Graph,
    Identity,
    LeakyRelu,
    Node,
    Relu,
    SeparableConv2D,
)
from edgex.graph.macs import macs

BETWEEN = (Activation, Affine, BatchNorm, Elu, Identity, LeakyRelu, Relu)
"""What may stand between a depthwise convolution and its pointwise one: it changes no position and no channel."""


@dataclass(frozen=True)
class Separable:
    """A separable convolution: one layer, or a depthwise convolution and the pointwise one that alone reads it.

    Attributes:
        depthwise: name of the node that convolves in space.
        pointwise: name of the node that mixes channels; the same for a SeparableConv2D.
        macs: multiply-accumulates that both take for one image.
        regular_macs: those of a regular convolution of the same kernel size, from the depthwise input's channels to
            the pointwise output's, at the same output positions.
    """

    depthwise: str
    pointwise: str
    macs: int
    regular_macs: int

    @property
    def ratio(self) -> float:
        """How many times the multiply-accumulates the regular one takes."""
        return self.regular_macs / self.macs


def separable_convolutions(graph: Graph) -> dict[str, Separable]:
    """Those of a graph as read, by the name of the node that mixes their channels."""
    return {found.pointwise: found for found in _found(graph)}


def _found(graph: Graph) -> Iterator[Separable]:
    for node in graph.nodes:
        if isinstance(node.op, SeparableConv2D):
            kh, kw, channels, _ = node.params["depthwise"].shape
            yield _compared(graph, node, node, kh * kw * channels)
        elif isinstance(node.op, DepthwiseConv2D):
            pointwise = _pointwise(graph, node)
            if pointwise is not None:
                kh, kw, channels, _ = node.params["kernel"].shape
                yield _compared(graph, node, pointwise, kh * kw * channels)


def _compared(graph: Graph, depthwise: Node, pointwise: Node, read: int) -> Separable:
    """``read``: values that a regular convolution reads at each position."""
    own = sum(macs(graph, node) for node in dict.fromkeys((depthwise, pointwise)))
    return Separable(depthwise.name, pointwise.name, own, math.prod(graph.shapes[pointwise.name]) * read)


def _pointwise(graph: Graph, depthwise: Node) -> Node | None:
    """The 1×1 convolution that alone reads a depthwise one, through nothing but functions of single values."""
    reader = graph.sole_consumer(depthwise.name)
    while reader is not None and isinstance(reader.op, BETWEEN):
        reader = graph.sole_consumer(reader.name)
    if reader is None or not isinstance(reader.op, Conv2D) or reader.op.groups != 1:
        return None
    same_positions = graph.shapes[reader.name][:2] == graph.shapes[depthwise.name][:2]
    return reader if reader.params["kernel"].shape[:2] == (1, 1) and same_positions else None
