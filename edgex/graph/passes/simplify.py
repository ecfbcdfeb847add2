"""Passes that bring a graph as read into the few forms that planners and writers know. All are exact."""

import math
from dataclasses import replace

import numpy as np

from edgex.graph.ir import (
    Activation,
    Add,
    Affine,
    Conv2D,
    Dense,
    DepthwiseConv2D,
    Graph,
    Identity,
    Multiply,
    Node,
    Relu,
    Reshape,
    SeparableConv2D,
)
from edgex.graph.passes.result import PassResult


def drop_identities(graph: Graph) -> PassResult:
    """Remove what does nothing at inference: dropout, noise, linear activations."""
    dropped = [node for node in graph.nodes if isinstance(node.op, Identity)]
    renamed = {node.name: node.inputs[0] for node in dropped}
    return PassResult(graph.rewrite(dict.fromkeys(renamed, ()), renamed), tuple(renamed))


def recognize_hard_activations(graph: Graph) -> PassResult:
    """Take ``relu6(x + 3) / 6`` for the hard sigmoid that it is, and ``x`` times that for the hard SiLU.

    Keras' MobileNetV3 spells them out (Howard et al. 2019, arXiv:1905.02244).
    """
    changed: list[str] = []
    for relu in [node for node in graph.nodes if node.op == Relu(6.0)]:
        shift, scale = graph[relu.inputs[0]], graph.sole_consumer(relu.name)
        if scale is None or graph.sole_consumer(shift.name) is not relu:
            continue
        if _is_affine(shift, 1.0, 3.0) and _is_affine(scale, 1 / 6, 0.0):
            gate = Node(scale.name, Activation("hard_sigmoid"), shift.inputs)
            graph = graph.rewrite({shift.name: [], relu.name: [], scale.name: [gate]})
            changed.append(scale.name)
    for gate in [graph[name] for name in changed]:
        product = graph.sole_consumer(gate.name)
        if product is not None and isinstance(product.op, Multiply) and {*product.inputs} == {gate.name, *gate.inputs}:
            silu = Node(product.name, Activation("hard_silu"), gate.inputs)
            graph = graph.rewrite({gate.name: [], product.name: [silu]})
            changed[changed.index(gate.name)] = product.name
    return PassResult(graph, tuple(changed))


def _is_affine(node: Node, scale: float, offset: float) -> bool:
    """Whether it is this one, the same in all channels."""
    wanted = {"scale": np.float32(scale), "offset": np.float32(offset)}
    return isinstance(node.op, Affine) and all((node.params[key] == value).all() for key, value in wanted.items())


def split_separable(graph: Graph) -> PassResult:
    """Split each separable convolution into ``.depthwise`` and ``.pointwise``, which is what devices run."""
    replacements: dict[str, list[Node]] = {}
    for node in graph.nodes:
        if not isinstance(node.op, SeparableConv2D):
            continue
        op = DepthwiseConv2D(node.op.strides, node.op.padding, node.op.dilation)
        depthwise = Node(f"{node.name}.depthwise", op, node.inputs, {"kernel": node.params["depthwise"]})
        pointwise = {"kernel": node.params["pointwise"]} | {k: v for k, v in node.params.items() if k == "bias"}
        replacements[node.name] = [depthwise, Node(f"{node.name}.pointwise", Conv2D(), (depthwise.name,), pointwise)]
    renamed = {name: nodes[-1].name for name, nodes in replacements.items()}
    return PassResult(graph.rewrite(replacements, renamed), tuple(replacements))


def merge_separable(graph: Graph) -> PassResult:
    """Put separable convolutions together that :func:`split_separable` has split, under their own names."""
    replacements: dict[str, list[Node]] = {}
    renamed: dict[str, str] = {}
    kept: dict[str, str] = {}
    for node in graph.nodes:
        name = node.name.removesuffix(".depthwise")
        if name == node.name or not isinstance(node.op, DepthwiseConv2D):
            continue
        pointwise = graph.sole_consumer(node.name)
        if pointwise is None or pointwise.name != f"{name}.pointwise" or not _is_plain_pointwise(pointwise):
            kept[node.name] = "what follows is not its pointwise convolution"
        elif "bias" in node.params:
            kept[node.name] = "it has a bias"
        elif name in graph:
            kept[node.name] = f"another node has the name {name}"
        else:
            op = SeparableConv2D(node.op.strides, node.op.padding, node.op.dilation)
            kernels = {"depthwise": node.params["kernel"], "pointwise": pointwise.params["kernel"]}
            bias = {key: value for key, value in pointwise.params.items() if key == "bias"}
            replacements[node.name] = []
            replacements[pointwise.name] = [Node(name, op, node.inputs, kernels | bias)]
            renamed[pointwise.name] = name
    return PassResult(graph.rewrite(replacements, renamed), tuple(renamed.values()), kept)


def _is_plain_pointwise(node: Node) -> bool:
    return node.op == Conv2D() and node.params["kernel"].shape[:2] == (1, 1)


def dense_to_pointwise(graph: Graph) -> PassResult:
    """Write a dense layer over an image as the 1×1 convolution that it is; of any other list of vectors, make one."""
    replacements: dict[str, list[Node]] = {}
    for node in graph.nodes:
        shape = graph.shapes[node.name]
        if not isinstance(node.op, Dense) or len(shape) == 1:
            continue
        pointwise = replace(node, op=Conv2D()).with_params(kernel=node.params["kernel"][np.newaxis, np.newaxis])
        if len(shape) == 3:
            replacements[node.name] = [pointwise]
            continue
        *positions, features = graph.shapes[node.inputs[0]]
        image = Node(f"{node.name}.image", Reshape((math.prod(positions), 1, features)), node.inputs)
        pointwise = replace(pointwise, name=f"{node.name}.pointwise", inputs=(image.name,))
        replacements[node.name] = [image, pointwise, Node(node.name, Reshape(shape), (pointwise.name,))]
    return PassResult(graph.rewrite(replacements), tuple(replacements))


def binary_adds(graph: Graph) -> PassResult:
    """Write a sum of many as a chain of sums of two, which is what INT8 kernels take."""
    replacements: dict[str, list[Node]] = {}
    for node in graph.nodes:
        if not isinstance(node.op, Add) or len(node.inputs) == 2:
            continue
        *partial, last = node.inputs[1:]
        chain: list[Node] = []
        total = node.inputs[0]
        for position, name in enumerate(partial, start=1):
            chain.append(Node(f"{node.name}.{position}", Add(), (total, name)))
            total = chain[-1].name
        replacements[node.name] = [*chain, Node(node.name, Add(), (total, last))]
    return PassResult(graph.rewrite(replacements), tuple(replacements))
