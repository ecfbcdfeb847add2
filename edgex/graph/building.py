"""Nodes as a reader makes them, one after the other, each checked before the next."""

import math
from collections.abc import Iterable, Sequence

from edgex.graph.ir import Graph, Input, Node
from edgex.graph.limits import TENSOR_LIMIT, WEIGHTS_LIMIT
from edgex.graph.shapes import Shape


class Nodes:
    """A graph in the making.

    Attributes:
        made: the nodes so far.
        shapes: of the tensors that they make.
    """

    def __init__(self) -> None:
        self.made: dict[str, Node] = {}
        self.shapes: dict[str, Shape] = {}
        self._weight_bytes = 0

    def append(self, node: Node) -> None:
        """Add a node. ValueError if its name is taken, what it reads does not fit, or what it takes is too large."""
        if node.name in self.made:
            raise ValueError(f"two nodes are named {node.name}")
        sources = [Node(name, Input(self.shapes[name])) for name in dict.fromkeys(node.inputs)]
        shape = Graph("", (*sources, node), (node.name,)).shapes[node.name]
        if math.prod(shape) > TENSOR_LIMIT:
            raise ValueError(f"{node.name} is of the shape {shape}, of more than {TENSOR_LIMIT} values")
        self._weight_bytes += sum(array.nbytes for array in node.params.values())
        if self._weight_bytes > WEIGHTS_LIMIT:
            raise ValueError(f"with {node.name}, the weights of all calls take more than {WEIGHTS_LIMIT} bytes")
        self.shapes[node.name] = shape
        self.made[node.name] = node

    def graph(self, name: str, outputs: Sequence[str]) -> Graph:
        """What the outputs depend on, and all inputs."""
        return Graph(name, _needed(self.made.values(), outputs), tuple(outputs))


def _needed(nodes: Iterable[Node], outputs: Iterable[str]) -> tuple[Node, ...]:
    needed = set(outputs)
    ordered = tuple(nodes)
    for node in reversed(ordered):
        if node.name in needed:
            needed.update(node.inputs)
    return tuple(node for node in ordered if node.name in needed or isinstance(node.op, Input))
