"""Equalize across ReLU: even out the channels between two layers with a ReLU between them.

ReLU is positively homogeneous, relu(x / s) = relu(x) / s for s > 0. So an output channel of the first layer may be
divided by any positive number, and the input channel of the next one multiplied by it: the function stays exactly the
same, while the tensor between the two quantizes better (cross-layer equalization, Nagel et al. 2019, arXiv:1906.04721).

There the factors even out the weights of both layers, which have one scale each. Ours have a scale per output channel,
so the first layer pays nothing for its factors, and these come from how far activations reach instead. A depthwise
layer pays nothing either: what multiplies an input channel multiplies an output channel's whole kernel. In any other
kernel a factor makes one row stand out, at the expense of the resolution of the rest, and the square root that
balances the two sides is that of the paper.
"""

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np

from edgex.graph.ir import Array, Conv2D, Dense, DepthwiseConv2D, Graph, Node, Relu
from edgex.graph.passes.equalize import (
    LEAST_FACTOR,
    channel_factors,
    divided_outputs,
    multiplied_inputs,
)
from edgex.graph.passes.result import PassResult

SCALABLE_OPS = (Conv2D, DepthwiseConv2D, Dense)


class Neighbours(NamedTuple):
    """The layers on both sides of a ReLU, each with no other reader or maker of what is between them."""

    before: Node
    after: Node


def neighbours_across_relu(graph: Graph) -> Mapping[str, Neighbours]:
    """ReLU name → the layers between which its channels can be scaled."""
    found = {}
    for relu in graph.nodes:
        if not isinstance(relu.op, Relu):
            continue
        before, after = graph[relu.inputs[0]], graph.sole_consumer(relu.name)
        if graph.sole_consumer(before.name) is relu and after is not None and _is_scalable(before, after):
            found[relu.name] = Neighbours(before, after)
    return found


def factors_across_relu(graph: Graph, magnitudes: Mapping[str, Array]) -> Mapping[str, Array]:
    """What each channel behind a ReLU is divided by, (channels,), for those that :func:`equalize_across_relu` changes.

    Scaling one pair changes the factors of no other.
    """
    neighbours = neighbours_across_relu(graph)
    factors = {}
    for name, reach in magnitudes.items():
        if not _why_kept(graph[name], reach):
            after = neighbours[name].after
            factors[name] = channel_factors(reach if isinstance(after.op, DepthwiseConv2D) else _balanced(reach, after))
    return factors


def equalize_across_relu(graph: Graph, magnitudes: Mapping[str, Array]) -> PassResult:
    """Scale the channels behind each ReLU, in the kernel before it and back in the one after it.

    Args:
        graph: with separable convolutions split and batch norm folded.
        magnitudes: ReLU name → typical largest activation of each of its channels, (channels,); of ReLUs that have
            neighbours. Those that are missing stay as they are.
    """
    neighbours = neighbours_across_relu(graph)
    factors = factors_across_relu(graph, magnitudes)
    kept = {name: _why_kept(graph[name], reach) for name, reach in magnitudes.items() if name not in factors}
    for name, of_channels in factors.items():
        before, after = (graph[node.name] for node in neighbours[name])
        replacements = {
            before.name: [divided_outputs(before, of_channels)],
            after.name: [multiplied_inputs(after, of_channels)],
        }
        graph = graph.rewrite(replacements)
    return PassResult(graph, tuple(factors), kept)


def _is_scalable(before: Node, after: Node) -> bool:
    by_channel = not isinstance(after.op, Conv2D) or after.op.groups == 1
    return isinstance(before.op, SCALABLE_OPS) and isinstance(after.op, SCALABLE_OPS) and by_channel


def _why_kept(relu: Node, reach: Array) -> str:
    """A reason to leave it; empty if there is none."""
    assert isinstance(relu.op, Relu)
    if relu.op.max_value is not None:
        return f"its limit of {relu.op.max_value:g} is one for all channels"
    return "" if reach.max() > 0 else "no channel carries anything"


def _balanced(reach: Array, after: Node) -> Array:
    """Divided by this, activations reach as far beside their farthest as weights do beside their largest.

    A weight's largest is that of its output channel, with which it shares a scale.
    """
    kernel = np.abs(after.params["kernel"])
    rows = kernel.reshape(-1, *kernel.shape[-2:]).max(axis=0)
    weights = (rows / np.maximum(rows.max(axis=0), np.finfo(np.float32).tiny)).max(axis=1)
    balanced: Array = np.sqrt(_floored(reach) / _floored(weights))
    return balanced


def _floored(values: Array) -> Array:
    # A kernel may be zero throughout
    return np.maximum(values, LEAST_FACTOR * (values.max() or 1.0))
