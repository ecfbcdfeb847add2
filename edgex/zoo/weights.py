"""Weights of a graph of the zoo: drawn anew, or taken over from another."""

import math
from dataclasses import dataclass

import numpy as np

from edgex.graph.ir import Array, Conv2D, Dense, DepthwiseConv2D, Graph, Input, Node, SeparableConv2D


def initialized(graph: Graph, seed: int) -> Graph:
    """The graph with new kernels; all else stays.

    Kernels of convolutions are normal with the variance ``gain / fan_in``: with a gain of 2 where a ReLU stands before
    (He et al. 2015, arXiv:1502.01852), with 1 where another convolution or the image does. A depthwise kernel's fan-in
    is its own window, so that the pairs keep the spread of activations whatever their width. Kernels of dense layers
    are uniform with the variance ``2 / (in + out)`` (Glorot & Bengio 2010).

    Args:
        graph: as built or read, in an order that is always the same.
        seed: of the generator; the same seed gives the same bits.
    """
    random = np.random.default_rng(seed)
    replacements: dict[str, list[Node]] = {}
    for node in graph.nodes:
        match node.op:
            case Conv2D() | DepthwiseConv2D():
                kernel = node.params["kernel"]
                spread = math.prod(kernel.shape[:2] if isinstance(node.op, DepthwiseConv2D) else kernel.shape[:3])
                new = {"kernel": _normal(random, kernel.shape, _gain(graph, node) / spread)}
            case SeparableConv2D():
                depthwise, pointwise = node.params["depthwise"].shape, node.params["pointwise"].shape
                new = {
                    "depthwise": _normal(random, depthwise, _gain(graph, node) / math.prod(depthwise[:2])),
                    "pointwise": _normal(random, pointwise, 1 / pointwise[2]),
                }
            case Dense():
                shape = node.params["kernel"].shape
                limit = math.sqrt(6 / sum(shape))
                new = {"kernel": random.uniform(-limit, limit, shape).astype(np.float32)}
            case _:
                continue
        replacements[node.name] = [node.with_params(**new)]
    return graph.rewrite(replacements)


def _gain(graph: Graph, node: Node) -> float:
    linear = isinstance(graph[node.inputs[0]].op, Input | Conv2D | DepthwiseConv2D)
    return 1.0 if linear else 2.0


def _normal(random: np.random.Generator, shape: tuple[int, ...], variance: float) -> Array:
    drawn: Array = random.standard_normal(shape, np.float32)
    drawn *= np.float32(math.sqrt(variance))
    return drawn


@dataclass(frozen=True)
class Transfer:
    """What :func:`with_weights` made.

    Attributes:
        graph: with the weights taken over.
        taken: names of nodes that have the source's weights now.
        fresh: names of nodes that keep their own: the source has none of the name and shapes, such as the head where
            it tells other classes.
        unused: names of the source's nodes whose weights went nowhere.
    """

    graph: Graph
    taken: tuple[str, ...]
    fresh: tuple[str, ...]
    unused: tuple[str, ...]


def with_weights(graph: Graph, source: Graph) -> Transfer:
    """Take over the weights of a graph, as read from a file, wherever a node of the same name has the same shapes.

    A node takes all of its weights or none.
    """
    weighted = [node for node in graph.nodes if node.params]
    taken = [node for node in weighted if node.name in source and _shapes(node) == _shapes(source[node.name])]
    names = {node.name for node in taken}
    replacements = {name: [graph[name].with_params(**source[name].params)] for name in names}
    return Transfer(
        graph=graph.rewrite(replacements),
        taken=tuple(node.name for node in taken),
        fresh=tuple(node.name for node in weighted if node.name not in names),
        unused=tuple(node.name for node in source.nodes if node.params and node.name not in names),
    )


def _shapes(node: Node) -> tuple[type, dict[str, tuple[int, ...]]]:
    return type(node.op), {name: array.shape for name, array in node.params.items()}
