"""What a model is made of: parameters, multiply-accumulates, memory, layer by layer."""

import math
from dataclasses import dataclass
from pathlib import Path

from edgex.graph.ir import BatchNorm, Graph, Node
from edgex.graph.macs import macs
from edgex.graph.separable import Separable, separable_convolutions
from edgex.graph.shapes import Shape
from edgex.networks import read_network


@dataclass(frozen=True)
class Layer:
    """One node of the graph as read.

    Attributes:
        op: its operation, as in :mod:`edgex.graph.ir`.
        shape: of its output, without the batch axis.
        macs: multiply-accumulates for one image.
        separable: the separable convolution that ends here, beside the regular one; None where none does.
    """

    name: str
    op: str
    shape: Shape
    parameters: int
    macs: int
    separable: Separable | None = None


@dataclass(frozen=True)
class Inspection:
    """Totals and layers of a model.

    Attributes:
        parameters: all weights, batch norm's statistics included, as Keras counts.
        trainable_parameters: without those statistics.
        macs: multiply-accumulates for one image.
        bytes: of the float32 weights.
        largest_tensor: values in the largest activation.
    """

    parameters: int
    trainable_parameters: int
    macs: int
    bytes: int
    largest_tensor: int
    layers: tuple[Layer, ...]

    @property
    def separable(self) -> tuple[Separable, ...]:
        """The separable convolutions, in the order of the layers."""
        return tuple(layer.separable for layer in self.layers if layer.separable is not None)

    @property
    def regular_macs(self) -> int:
        """``macs``, if each separable convolution were a regular one."""
        return self.macs + sum(each.regular_macs - each.macs for each in self.separable)


def inspect_model(path: Path, *, input_size: int | None = None) -> Inspection:
    """Count a model file, or a network of the zoo by its name; errors as :func:`edgex.networks.read_network`."""
    return inspect_graph(read_network(path, input_size=input_size))


def inspect_graph(graph: Graph) -> Inspection:
    """Count a graph as read, before any pass."""
    separable = separable_convolutions(graph)
    layers = tuple(
        Layer(
            node.name,
            type(node.op).__name__,
            graph.shapes[node.name],
            _parameters(node),
            macs(graph, node),
            separable.get(node.name),
        )
        for node in graph.nodes
    )
    parameters = sum(layer.parameters for layer in layers)
    statistics = sum(
        node.params["mean"].size + node.params["variance"].size
        for node in graph.nodes
        if isinstance(node.op, BatchNorm)
    )
    return Inspection(
        parameters=parameters,
        trainable_parameters=parameters - statistics,
        macs=sum(layer.macs for layer in layers),
        bytes=4 * parameters,
        largest_tensor=max(math.prod(layer.shape) for layer in layers),
        layers=layers,
    )


def _parameters(node: Node) -> int:
    return sum(array.size for array in node.params.values())
