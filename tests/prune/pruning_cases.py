"""Small graphs in pruning form, each with something that channels hang together by."""

from collections.abc import Mapping
from dataclasses import replace
from functools import cache
from typing import NamedTuple

import numpy as np

from edgex.graph.ir import (
    Activation,
    Add,
    Affine,
    AveragePool2D,
    BatchNorm,
    Concat,
    Conv2D,
    Dense,
    DepthwiseConv2D,
    Flatten,
    GlobalAveragePool,
    Graph,
    Input,
    MaxPool2D,
    Multiply,
    Node,
    Op,
    Pad,
    Relu,
    Reshape,
    Softmax,
)
from edgex.graph.macs import macs
from edgex.graph.passes.simplify import drop_identities, split_separable
from edgex.graph.read import read_model
from edgex.prune.channels import Coupling, Units
from edgex.resources import demo_model

CLASSES = 5
IMAGE = Node("image", Input((9, 8, 3)))
RANDOM = np.random.default_rng(0)


def conv(
    name: str, read: str, inputs: int, outputs: int, size: int = 1, strides: int = 1, *, bias: bool = False
) -> Node:
    kernel = RANDOM.normal(0, np.sqrt(2 / (size * size * inputs)), (size, size, inputs, outputs))
    biases = {"bias": RANDOM.normal(0, 0.3, outputs)} if bias else {}
    return Node(name, Conv2D((strides, strides), "same"), (read,), {"kernel": kernel, **biases})


def depthwise(name: str, read: str, inputs: int, multiplier: int = 1) -> Node:
    params = {
        "kernel": RANDOM.normal(0, 0.5, (3, 3, inputs, multiplier)),
        "bias": RANDOM.normal(0, 0.3, inputs * multiplier),
    }
    return Node(name, DepthwiseConv2D(padding="same"), (read,), params)


def dense(name: str, read: str, inputs: int, outputs: int) -> Node:
    params = {"kernel": RANDOM.normal(0, np.sqrt(2 / inputs), (inputs, outputs)), "bias": RANDOM.normal(0, 1, outputs)}
    return Node(name, Dense(), (read,), params)


def norm(name: str, read: str, channels: int) -> Node:
    """Batch norm that makes something of a channel of zeros."""
    params = {
        "gamma": RANDOM.uniform(0.5, 1.5, channels),
        "beta": RANDOM.normal(0.3, 0.5, channels),
        "mean": RANDOM.normal(0, 0.3, channels),
        "variance": RANDOM.uniform(0.5, 1.5, channels),
    }
    return Node(name, BatchNorm(), (read,), params)


def affine(name: str, read: str, channels: int) -> Node:
    params = {"scale": RANDOM.uniform(0.5, 1.5, channels), "offset": RANDOM.normal(0, 0.3, channels)}
    return Node(name, Affine(), (read,), params)


def plain(name: str, op: Op, *read: str) -> Node:
    return Node(name, op, read)


def classifier(name: str, *nodes: Node) -> Graph:
    """Of what the last node makes, which has no batch norm behind it."""
    body = Graph(name, (IMAGE, *nodes), (nodes[-1].name,))
    head = (
        plain("pool", GlobalAveragePool(), nodes[-1].name),
        dense("logits", "pool", body.shapes[nodes[-1].name][-1], CLASSES),
        plain("logits.softmax", Softmax(), "logits"),
    )
    return Graph(name, (*body.nodes, *head), ("logits.softmax",))


class Case(NamedTuple):
    """A graph, and its widths: name → how many units."""

    graph: Graph
    widths: Mapping[str, int]


def _residual() -> Graph:
    return classifier(
        "residual",
        conv("stem", "image", 3, 16, 3, bias=True),
        norm("stem_bn", "stem", 16),
        plain("stem_relu", Relu(), "stem_bn"),
        conv("inner", "stem_relu", 16, 24, 3),
        norm("inner_bn", "inner", 24),
        plain("inner_relu", Relu(), "inner_bn"),
        conv("outer", "inner_relu", 24, 16),
        norm("outer_bn", "outer", 16),
        conv("third", "stem_relu", 16, 16),
        plain("sum", Add(), "outer_bn", "stem_relu", "third"),
        conv("shortcut", "sum", 16, 24, strides=2),
        conv("wider", "sum", 16, 24, 3),
        plain("wider_pool", MaxPool2D((3, 3), (2, 2), "same"), "wider"),
        plain("again", Add(), "wider_pool", "shortcut"),
    )


def _mobile() -> Graph:
    return classifier(
        "mobile",
        conv("stem", "image", 3, 8, 3),
        norm("stem_bn", "stem", 8),
        conv("expand", "stem_bn", 8, 24),
        norm("expand_bn", "expand", 24),
        plain("expand_relu", Relu(6.0), "expand_bn"),
        plain("pad", Pad(((0, 1), (1, 0))), "expand_relu"),
        depthwise("depthwise", "pad", 24, multiplier=2),
        norm("depthwise_bn", "depthwise", 48),
        plain("depthwise_relu", Relu(6.0), "depthwise_bn"),
        conv("project", "depthwise_relu", 48, 16),
    )


def _grouped() -> Graph:
    """A stream of three groups, each of whose places is one unit, and a grouped convolution to another width."""
    inner, outer = (conv(name, read, 16, 48, 3) for name, read in (("inner", "up_bn"), ("outer", "sum")))
    return classifier(
        "grouped",
        conv("stem", "image", 3, 48, 3),
        conv("up", "stem", 48, 48),
        norm("up_bn", "up", 48),
        replace(inner, op=replace(inner.op, groups=3)),
        norm("inner_bn", "inner", 48),
        plain("sum", Add(), "inner_bn", "stem"),
        replace(outer, op=Conv2D(groups=3), params={"kernel": RANDOM.normal(0, 0.5, (1, 1, 16, 72))}),
        norm("outer_bn", "outer", 72),
        conv("last", "outer_bn", 72, 8),
    )


def _squeeze() -> Graph:
    return classifier(
        "squeeze",
        conv("stem", "image", 3, 24, 3, bias=True),
        plain("silu", Activation("silu"), "stem"),
        plain("squeeze", GlobalAveragePool(), "silu"),
        plain("squeeze_image", Reshape((1, 1, 24)), "squeeze"),
        conv("reduce", "squeeze_image", 24, 8, bias=True),
        plain("reduce_relu", Relu(), "reduce"),
        conv("expand", "reduce_relu", 8, 24, bias=True),
        plain("gate", Activation("sigmoid"), "expand"),
        plain("gated", Multiply(), "gate", "silu"),
    )


def _inception() -> Graph:
    return classifier(
        "inception",
        conv("stem", "image", 3, 16, 3),
        conv("one", "stem", 16, 8),
        conv("three", "stem", 16, 24, 3),
        plain("average", AveragePool2D((3, 3), (1, 1), "same"), "stem"),
        plain("mixed", Concat(), "three", "average", "one"),
        norm("mixed_bn", "mixed", 48),
        plain("mixed_relu", Relu(), "mixed_bn"),
        conv("up", "mixed_relu", 48, 32, bias=True),
        affine("scaled", "up", 32),
        conv("left", "scaled", 32, 16, bias=True),
        plain("both", Concat(), "left", "stem"),
        plain("sum", Add(), "scaled", "both"),
    )


def _densely() -> Graph:
    nodes = [conv("stem", "image", 3, 16, 3)]
    for index, inputs in enumerate((16, 24, 32)):
        read = nodes[-1].name
        nodes += [
            norm(f"bn{index}", read, inputs),
            plain(f"relu{index}", Relu(), f"bn{index}"),
            conv(f"growth{index}", f"relu{index}", inputs, 8, 3),
            plain(f"concat{index}", Concat(), read, f"growth{index}"),
        ]
    return classifier("densely", *nodes)


def _flattened() -> Graph:
    nodes = (
        IMAGE,
        conv("conv", "image", 3, 16, 3, strides=3, bias=True),
        plain("rows", Reshape((-1, 16)), "conv"),
        dense("mixed", "rows", 16, 24),
        plain("flat", Flatten(), "mixed"),
        dense("hidden", "flat", 9 * 24, 32),
        plain("relu", Relu(), "hidden"),
        dense("logits", "relu", 32, CLASSES),
    )
    return Graph("flattened", nodes, ("logits",))


def _doubled() -> Graph:
    """Both channels that the depthwise makes of one are added to two of another layer's."""
    return classifier(
        "doubled",
        conv("narrow", "image", 3, 16, 3),
        depthwise("depthwise", "narrow", 16, multiplier=2),
        conv("wide", "image", 3, 32, bias=True),
        plain("sum", Add(), "wide", "depthwise"),
        conv("last", "sum", 32, 16),
    )


CASES = {
    "residual": Case(_residual(), {"stem": 16, "inner": 24, "shortcut": 24}),
    "mobile": Case(_mobile(), {"stem": 8, "expand": 24, "project": 16}),
    "squeeze": Case(_squeeze(), {"stem": 24, "reduce": 8}),
    # The sum joins "up" with both layers that are concatenated, and so goes in two parts
    "inception": Case(_inception(), {"stem": 16, "one": 8, "three": 24, "up": 16}),
    "densely": Case(_densely(), {"stem": 16, "growth0": 8, "growth1": 8, "growth2": 8}),
    "flattened": Case(_flattened(), {"conv": 16, "mixed": 24, "hidden": 32}),
    "doubled": Case(_doubled(), {"narrow": 16, "last": 16}),
    "grouped": Case(_grouped(), {"stem": 16, "up": 16, "outer": 24, "last": 8}),
}

IMAGES = np.random.default_rng(1).normal(0, 1, (3, *IMAGE.op.shape)).astype(np.float32)


@cache
def demo_xception() -> Graph:
    """The demo's trained Xception in pruning form."""
    return split_separable(drop_identities(read_model(demo_model())).graph).graph


def some_units(coupling: Coupling, seed: int = 0) -> Units:
    """Half of each width."""
    random = np.random.default_rng(seed)
    return np.concatenate(
        [random.choice(width.units, len(width.units) // 2, replace=False) for width in coupling.widths]
    )


def unread(graph: Graph, coupling: Coupling, gone: Units) -> Graph:
    """The same graph, of which no convolution or dense layer reads the units that are gone: what pruning means."""
    layers = [node for node in graph.nodes if isinstance(node.op, Conv2D | Dense)]
    replacements = {}
    for node in layers:
        kernel = node.params["kernel"].copy()
        of_group, *_ = np.split(coupling.units[node.inputs[0]], getattr(node.op, "groups", 1))
        kernel[..., np.isin(of_group, gone), :] = 0
        replacements[node.name] = [node.with_params(kernel=kernel)]
    return graph.rewrite(replacements)


def all_macs(graph: Graph) -> int:
    return sum(macs(graph, node) for node in graph.nodes)
