"""Passes that fold a node into the convolution beside it. Both are exact up to float rounding."""

from dataclasses import replace

import numpy as np

from edgex.graph.ir import Affine, Array, BatchNorm, Conv2D, Dense, DepthwiseConv2D, Graph, Node, Pad
from edgex.graph.passes.result import PassResult


def fold_padding(graph: Graph) -> PassResult:
    """Fold zero padding into the convolution that follows."""
    replacements: dict[str, list[Node]] = {}
    renamed: dict[str, str] = {}
    kept: dict[str, str] = {}
    for node in graph.nodes:
        if not isinstance(node.op, Pad):
            continue
        reader = graph.sole_consumer(node.name)
        if reader is None or not isinstance(reader.op, Conv2D | DepthwiseConv2D):
            kept[node.name] = "what follows is not one convolution"
        elif reader.op.padding != "valid":
            kept[node.name] = f"{reader.name} pads by itself"
        else:
            replacements[node.name] = []
            replacements[reader.name] = [replace(reader, op=replace(reader.op, padding=node.op.padding))]
            renamed[node.name] = node.inputs[0]
    return PassResult(graph.rewrite(replacements, renamed), tuple(renamed), kept)


def fold_affine(graph: Graph) -> PassResult:
    """Fold batch norm, and any other scale and offset per channel, into the convolution or dense layer before it.

    With running statistics, batch norm is ``x * gamma / sqrt(variance + epsilon) + (beta - mean * that)``. Where
    nothing before it can take it (as in DenseNet), it becomes a 1×1 depthwise convolution, which devices run in INT8
    and into which a ReLU fuses.
    """
    changed: list[str] = []
    kept: dict[str, str] = {}
    shapes = graph.shapes  # stay as they are
    for name in [node.name for node in graph.nodes if isinstance(node.op, BatchNorm | Affine)]:
        node = graph[name]
        scale, offset = _scale_and_offset(node)
        producer = graph[node.inputs[0]]
        if isinstance(producer.op, Conv2D | DepthwiseConv2D | Dense) and graph.sole_consumer(producer.name) is node:
            folded = _fold_into(producer, scale, offset)
            graph = graph.rewrite({name: [], producer.name: [folded]}, {name: producer.name})
        elif len(shapes[name]) == 3:
            params = {"kernel": scale.reshape(1, 1, -1, 1), "bias": offset}
            graph = graph.rewrite({name: [Node(name, DepthwiseConv2D(), node.inputs, params)]})
        else:
            kept[name] = f"{producer.name} before it has no weights to take it"
            params = {"scale": scale, "offset": offset}
            graph = graph.rewrite({name: [Node(name, Affine(), node.inputs, params)]})
            continue
        changed.append(name)
    return PassResult(graph, tuple(changed), kept)


def _scale_and_offset(node: Node) -> tuple[Array, Array]:
    if isinstance(node.op, Affine):
        return node.params["scale"], node.params["offset"]
    assert isinstance(node.op, BatchNorm)
    mean, variance = (node.params[key].astype(np.float64) for key in ("mean", "variance"))
    gamma, beta = node.params.get("gamma", 1.0), node.params.get("beta", 0.0)
    scale = gamma / np.sqrt(variance + node.op.epsilon)
    return scale.astype(np.float32), (beta - mean * scale).astype(np.float32)


def _fold_into(producer: Node, scale: Array, offset: Array) -> Node:
    kernel, bias = producer.params["kernel"], producer.params.get("bias")
    # A depthwise kernel counts its output channels on its last two axes: (in, multiplier)
    per_channel = scale.reshape(kernel.shape[2:]) if isinstance(producer.op, DepthwiseConv2D) else scale
    shifted = offset if bias is None else bias * scale + offset
    return producer.with_params(kernel=kernel * per_channel, bias=shifted)
