"""Multiply-accumulates of a node: how much work it is, whatever runs it."""

import math

from edgex.graph.ir import Conv2D, Dense, DepthwiseConv2D, Graph, Node, SeparableConv2D


def macs(graph: Graph, node: Node) -> int:
    """For one image. Each weight of a convolution works once at every position of its output."""
    positions = math.prod(graph.shapes[node.name][:-1])
    match node.op:
        case Conv2D() | DepthwiseConv2D() | Dense():
            return positions * node.params["kernel"].size
        case SeparableConv2D():
            return positions * (node.params["depthwise"].size + node.params["pointwise"].size)
        case _:
            return 0
