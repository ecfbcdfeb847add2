"""How important each unit is: what the network would miss most if its channels were zero.

A unit may have several places, such as the blocks that add to one residual stream, and goes from all of them at once.
Each measure sums over the places.
"""

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from edgex.errors import ModelError
from edgex.graph.ir import Array, BatchNorm, Graph, Node
from edgex.prune.channels import Coupling

Importance = NDArray[np.float64]
"""One number per unit, (units,), 0 and up; of no meaning for units that cannot be pruned."""


def weight_norm(graph: Graph, coupling: Coupling) -> Importance:
    """The L2 norms of the filters that make a unit, each over the mean of its layer.

    Filters of different layers have different sizes, so norms can be compared only within a layer. With other norms
    this is Li et al. 2017, arXiv:1608.08710.
    """
    norms = {}
    for node in _producers(graph, coupling):
        filters = node.params["kernel"].reshape(-1, node.params["kernel"].shape[-1])
        norms[node.name] = np.linalg.norm(filters.astype(np.float64), axis=0)
    return _summed_over_places(norms, coupling)


def batch_norm_scale(graph: Graph, coupling: Coupling) -> Importance:
    """The absolute scales of the batch norms right behind the layers that make a unit, each over the mean of its layer.

    Liu et al. 2017, arXiv:1708.06519.

    Raises:
        ModelError: a width has no such batch norm with a scale; names it.
    """
    gates = [graph[name] for name in gate_tensors(graph, coupling)]
    scales = {node.name: np.abs(node.params["gamma"].astype(np.float64)) for node in gates if "gamma" in node.params}
    scaled = np.zeros(coupling.count, np.bool_)
    for name in scales:
        scaled[coupling.units[name]] = True
    for width in coupling.widths:
        if not scaled[width.units].all():
            raise ModelError(
                f"{graph.name} has no batch norm with a scale right behind {width.name}.",
                fix="Use --importance taylor or --importance norm.",
            )
    return _summed_over_places(scales, coupling)


def taylor(gradients: Mapping[str, Array], coupling: Coupling) -> Importance:
    """What a unit changes of the loss, to first order: the mean over images of its squared derivative.

    The unit's gates are all closed at once, so their derivatives are summed before they are squared (Molchanov et al.
    2019, arXiv:1906.10771).

    Args:
        gradients: tensor of :func:`gate_tensors` → the derivative of each image's loss by a factor on each channel
            there, (images, channels).
        coupling: of the graph that they were taken of.
    """
    images = len(next(iter(gradients.values())))
    joint = np.zeros((coupling.count, images))
    for name, of_gates in gradients.items():
        np.add.at(joint, coupling.units[name], of_gates.T)
    importance: Importance = np.square(joint).mean(axis=1)
    return importance


def gate_tensors(graph: Graph, coupling: Coupling) -> tuple[str, ...]:
    """Where the channels of all widths can be closed: behind each layer that makes some, and its batch norm if any."""
    return tuple(_gate(graph, node).name for node in _producers(graph, coupling))


def _producers(graph: Graph, coupling: Coupling) -> list[Node]:
    """In graph order."""
    names = {name for width in coupling.widths for name in width.producers}
    return [node for node in graph.nodes if node.name in names]


def _gate(graph: Graph, producer: Node) -> Node:
    reader = graph.sole_consumer(producer.name)
    return reader if reader is not None and isinstance(reader.op, BatchNorm) else producer


def _summed_over_places(values: Mapping[str, Importance], coupling: Coupling) -> Importance:
    """For each unit the sum of its channels' values, each over the mean of its tensor."""
    importance = np.zeros(coupling.count)
    for name, of_channels in values.items():
        # A layer may be zero throughout
        np.add.at(importance, coupling.units[name], of_channels / (of_channels.mean() or 1.0))
    return importance
