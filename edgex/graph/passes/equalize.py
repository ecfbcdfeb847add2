"""Equalize depthwise→pointwise: even out the channels between the two halves of a separable convolution.

Nothing nonlinear lies between them, so a channel may be divided by any positive number in the depthwise kernel and
multiplied by it in the pointwise kernel's input: the function stays exactly the same, while the tensor between the
two, which has one scale for all its channels, quantizes better. The idea is cross-layer equalization (Nagel et al.
2019, arXiv:1906.04721); here the factors come from activations, since the weights have a scale per channel anyway.
"""

from collections.abc import Mapping

import numpy as np

from edgex.graph.ir import Array, Conv2D, DepthwiseConv2D, Graph, Node
from edgex.graph.passes.result import PassResult

LEAST_FACTOR = 1e-3
"""A channel that hardly ever fires is treated as if it reached this share of the farthest one."""


def equalizable(graph: Graph) -> Mapping[str, str]:
    """Depthwise node name → name of the pointwise convolution that alone reads it."""
    pairs = {}
    for node in graph.nodes:
        reader = graph.sole_consumer(node.name) if isinstance(node.op, DepthwiseConv2D) else None
        if reader is not None and _is_pointwise(reader):
            pairs[node.name] = reader.name
    return pairs


def equalize_depthwise(graph: Graph, magnitudes: Mapping[str, Array]) -> PassResult:
    """Scale each depthwise output channel into the pointwise's input weights, until all reach equally far.

    Args:
        graph: with separable convolutions split and batch norm folded.
        magnitudes: depthwise node name → typical largest absolute activation of each of its channels, (channels,).
            Nodes that are missing stay as they are.
    """
    pairs = equalizable(graph)
    replacements: dict[str, list[Node]] = {}
    kept: dict[str, str] = {}
    for name, reach in magnitudes.items():
        if not reach.max() > 0:
            kept[name] = "no channel carries anything"
            continue
        factors = channel_factors(reach)
        pointwise = graph[pairs[name]]
        replacements[name] = [divided_outputs(graph[name], factors)]
        replacements[pointwise.name] = [multiplied_inputs(pointwise, factors)]
    changed = tuple(name for name in magnitudes if name not in kept)
    return PassResult(graph.rewrite(replacements), changed, kept)


def channel_factors(reach: Array) -> Array:
    """What each channel of a tensor is divided by, (channels,): its reach, over the geometric mean of all.

    Args:
        reach: typical largest absolute activation of each channel, (channels,); not all zero.
    """
    factors = np.maximum(reach, LEAST_FACTOR * reach.max()).astype(np.float64)
    evened: Array = (factors / np.exp(np.log(factors).mean())).astype(np.float32)
    return evened


def divided_outputs(node: Node, factors: Array) -> Node:
    """A convolution, depthwise or not, or dense layer whose output channels are divided by ``factors``, (out,)."""
    kernel = node.params["kernel"]
    # A depthwise kernel counts its output channels on its last two axes: (in, multiplier)
    per_channel = factors.reshape(kernel.shape[2:]) if isinstance(node.op, DepthwiseConv2D) else factors
    params = {"kernel": kernel / per_channel}
    if "bias" in node.params:
        params["bias"] = node.params["bias"] / factors
    return node.with_params(**params)


def multiplied_inputs(node: Node, factors: Array) -> Node:
    """The same, without groups, that reads its input channels multiplied by ``factors``, (in,)."""
    return node.with_params(kernel=node.params["kernel"] * factors[:, np.newaxis])


def _is_pointwise(node: Node) -> bool:
    return isinstance(node.op, Conv2D) and node.params["kernel"].shape[:2] == (1, 1) and node.op.groups == 1
