"""Small graphs, and what each pass makes of them."""

from collections.abc import Callable
from dataclasses import replace
from typing import NamedTuple

import numpy as np

from edgex.graph.ir import (
    Activation,
    Add,
    Affine,
    Array,
    BatchNorm,
    Concat,
    Conv2D,
    Dense,
    DepthwiseConv2D,
    GlobalAveragePool,
    Graph,
    Identity,
    Input,
    MaxPool2D,
    Multiply,
    Node,
    Op,
    Pad,
    Relu,
    Reshape,
    SeparableConv2D,
)
from edgex.graph.passes.fold import fold_affine, fold_padding
from edgex.graph.passes.result import PassResult
from edgex.graph.passes.simplify import (
    binary_adds,
    dense_to_pointwise,
    drop_identities,
    merge_separable,
    recognize_hard_activations,
    split_separable,
)

SHAPE = (9, 8, 6)
IMAGE = Node("image", Input(SHAPE))


def weights(*shape: int) -> Array:
    return np.random.default_rng(sum(shape)).normal(0.0, 0.4, shape).astype(np.float32)


def norm(name: str, read: str, channels: int, epsilon: float = 1e-2) -> Node:
    """Batch norm with statistics that look like no others: a swapped pair shows."""
    random = np.random.default_rng(len(name))
    params = {
        "gamma": random.uniform(0.5, 1.5, channels),
        "beta": random.normal(0.0, 0.5, channels),
        "mean": random.uniform(0.1, 0.4, channels),
        "variance": random.uniform(0.5, 1.5, channels),
    }
    return Node(name, BatchNorm(epsilon), (read,), params)


def affine(name: str, read: str, channels: int) -> Node:
    return Node(name, Affine(), (read,), {"scale": weights(channels), "offset": weights(channels + 1)[1:]})


def layer(name: str, op: Op, read: str, **params: Array) -> Node:
    return Node(name, op, (read,), params)


def graph(*nodes: Node, outputs: tuple[str, ...] = ()) -> Graph:
    return Graph("test", (IMAGE, *nodes), outputs or (nodes[-1].name,))


def spelled_out(offset: float = 3.0, limit: float = 6.0, scale: float = 1 / 6) -> tuple[Node, ...]:
    """A hard sigmoid of the image as Keras' MobileNetV3 has it, if nothing else is said."""
    ones, zeros = np.ones(6, np.float32), np.zeros(6, np.float32)
    return (
        layer("three", Affine(), "image", scale=ones, offset=ones * offset),
        layer("clipped", Relu(limit), "three"),
        layer("sixth", Affine(), "clipped", scale=ones * scale, offset=zeros),
    )


CONV = layer("conv", Conv2D((2, 1), "same"), "image", kernel=weights(3, 3, 6, 8), bias=weights(8))
BARE_CONV = layer("conv", Conv2D(groups=3), "image", kernel=weights(3, 2, 2, 9))
DEPTHWISE = layer("depthwise", DepthwiseConv2D(padding="same"), "image", kernel=weights(3, 3, 6, 2))
BIASED_DEPTHWISE = DEPTHWISE.with_params(bias=weights(12))
SEPARABLE = layer(
    "separable",
    SeparableConv2D((2, 2), "same"),
    "image",
    depthwise=weights(3, 3, 6, 2),
    pointwise=weights(1, 1, 12, 5),
    bias=weights(5),
)
HALVES = (
    layer("separable.depthwise", DepthwiseConv2D((2, 2), "same"), "image", kernel=weights(3, 3, 6, 2)),
    layer("separable.pointwise", Conv2D(), "separable.depthwise", kernel=weights(1, 1, 12, 5), bias=weights(5)),
)
"""A separable convolution, split."""
POOL = layer("pool", GlobalAveragePool(), "image")
PADS = ((1, 2), (0, 1))
PAD = layer("pad", Pad(PADS), "image")
DENSE = layer("dense", Dense(), "image", kernel=weights(6, 4), bias=weights(4))


class Case(NamedTuple):
    run: Callable[[Graph], PassResult]
    before: Graph
    changed: tuple[str, ...]
    kept: dict[str, str]
    operations: set[type[Op]]
    """What is there afterwards, besides the input."""


CASES = {
    "identities": Case(
        drop_identities,
        graph(CONV, layer("dropout", Identity(), "conv"), layer("noise", Identity(), "dropout")),
        ("dropout", "noise"),
        {},
        {Conv2D},
    ),
    "hard sigmoid, spelled out": Case(
        recognize_hard_activations,
        graph(*spelled_out(), layer("again", Relu(), "sixth")),
        ("sixth",),
        {},
        {Activation, Relu},
    ),
    "hard SiLU, spelled out": Case(
        recognize_hard_activations,
        graph(*spelled_out(), Node("silu", Multiply(), ("sixth", "image"))),
        ("silu",),
        {},
        {Activation},
    ),
    "hard sigmoid that gates something else": Case(
        recognize_hard_activations,
        graph(*spelled_out(), layer("tanh", Activation("tanh"), "image"), Node("gate", Multiply(), ("tanh", "sixth"))),
        ("sixth",),
        {},
        {Activation, Multiply},
    ),
    "hard sigmoid that others read too": Case(
        recognize_hard_activations,
        graph(*spelled_out(), Node("silu", Multiply(), ("image", "sixth")), Node("sum", Add(), ("silu", "sixth"))),
        ("sixth",),
        {},
        {Activation, Multiply, Add},
    ),
    "another offset": Case(recognize_hard_activations, graph(*spelled_out(offset=2.5)), (), {}, {Affine, Relu}),
    "another limit": Case(recognize_hard_activations, graph(*spelled_out(limit=5.0)), (), {}, {Affine, Relu}),
    "another scale": Case(recognize_hard_activations, graph(*spelled_out(scale=0.16)), (), {}, {Affine, Relu}),
    "hard sigmoid of which a part is an output": Case(
        recognize_hard_activations, graph(*spelled_out(), outputs=("sixth", "three")), (), {}, {Affine, Relu}
    ),
    "separable": Case(split_separable, graph(SEPARABLE), ("separable",), {}, {DepthwiseConv2D, Conv2D}),
    "separable without bias": Case(
        split_separable,
        graph(
            layer(
                "separable",
                SeparableConv2D(dilation=(2, 1)),
                "image",
                depthwise=weights(3, 3, 6, 1),
                pointwise=weights(1, 1, 6, 5),
            )
        ),
        ("separable",),
        {},
        {DepthwiseConv2D, Conv2D},
    ),
    "halves of a separable": Case(
        merge_separable,
        graph(*HALVES, layer("relu", Relu(), "separable.pointwise")),
        ("separable",),
        {},
        {SeparableConv2D, Relu},
    ),
    "halves of a separable that is an output": Case(
        merge_separable, graph(*HALVES), ("separable",), {}, {SeparableConv2D}
    ),
    "depthwise half that others read too": Case(
        merge_separable,
        graph(*HALVES, layer("relu", Relu(), "separable.depthwise"), outputs=("relu", "separable.pointwise")),
        (),
        {"separable.depthwise": "what follows is not its pointwise convolution"},
        {DepthwiseConv2D, Conv2D, Relu},
    ),
    "depthwise half that is an output": Case(
        merge_separable,
        graph(*HALVES, outputs=("separable.pointwise", "separable.depthwise")),
        (),
        {"separable.depthwise": "what follows is not its pointwise convolution"},
        {DepthwiseConv2D, Conv2D},
    ),
    "depthwise half with a bias": Case(
        merge_separable,
        graph(HALVES[0].with_params(bias=weights(12)), HALVES[1]),
        (),
        {"separable.depthwise": "it has a bias"},
        {DepthwiseConv2D, Conv2D},
    ),
    "pointwise half with strides": Case(
        merge_separable,
        graph(HALVES[0], replace(HALVES[1], op=Conv2D((2, 2)))),
        (),
        {"separable.depthwise": "what follows is not its pointwise convolution"},
        {DepthwiseConv2D, Conv2D},
    ),
    "pointwise half that sees neighbours": Case(
        merge_separable,
        graph(HALVES[0], HALVES[1].with_params(kernel=weights(2, 2, 12, 5))),
        (),
        {"separable.depthwise": "what follows is not its pointwise convolution"},
        {DepthwiseConv2D, Conv2D},
    ),
    "depthwise half before another convolution": Case(
        merge_separable,
        graph(HALVES[0], replace(HALVES[1], name="other.pointwise")),
        (),
        {"separable.depthwise": "what follows is not its pointwise convolution"},
        {DepthwiseConv2D, Conv2D},
    ),
    "halves beside a node of their name": Case(
        merge_separable,
        graph(layer("separable", Relu(), "image"), *HALVES, outputs=("separable", "separable.pointwise")),
        (),
        {"separable.depthwise": "another node has the name separable"},
        {DepthwiseConv2D, Conv2D, Relu},
    ),
    "depthwise and pointwise under names of their own": Case(
        merge_separable,
        graph(DEPTHWISE, layer("pointwise", Conv2D(), "depthwise", kernel=weights(1, 1, 12, 5))),
        (),
        {},
        {DepthwiseConv2D, Conv2D},
    ),
    "dense over an image": Case(dense_to_pointwise, graph(DENSE), ("dense",), {}, {Conv2D}),
    "dense over a vector": Case(
        dense_to_pointwise,
        graph(POOL, replace(DENSE, inputs=("pool",))),
        (),
        {},
        {GlobalAveragePool, Dense},
    ),
    "dense over a row": Case(
        dense_to_pointwise,
        graph(layer("row", Reshape((36, 12)), "image"), layer("dense", Dense(), "row", kernel=weights(12, 4))),
        ("dense",),
        {},
        {Reshape, Conv2D},
    ),
    "dense over a volume": Case(
        dense_to_pointwise,
        graph(layer("volume", Reshape((9, 4, 4, 3)), "image"), layer("dense", Dense(), "volume", kernel=weights(3, 4))),
        ("dense",),
        {},
        {Reshape, Conv2D},
    ),
    "sums": Case(
        binary_adds,
        graph(
            layer("relu", Relu(), "image"),
            Node("two", Add(), ("image", "relu")),
            Node("four", Add(), ("image", "two", "relu", "image")),
        ),
        ("four",),
        {},
        {Relu, Add},
    ),
    "padding into a convolution": Case(
        fold_padding,
        graph(PAD, layer("conv", Conv2D((2, 2)), "pad", kernel=weights(3, 3, 6, 8))),
        ("pad",),
        {},
        {Conv2D},
    ),
    "padding into a depthwise convolution": Case(
        fold_padding,
        graph(PAD, layer("depthwise", DepthwiseConv2D(), "pad", kernel=weights(3, 3, 6, 1))),
        ("pad",),
        {},
        {DepthwiseConv2D},
    ),
    "padding before padding": Case(
        fold_padding,
        graph(PAD, layer("again", Pad(PADS), "pad"), layer("conv", Conv2D(), "again", kernel=weights(3, 3, 6, 8))),
        ("again",),
        {"pad": "what follows is not one convolution"},
        {Pad, Conv2D},
    ),
    "padding before a pool": Case(
        fold_padding,
        graph(PAD, layer("max", MaxPool2D((2, 2), (2, 2)), "pad")),
        (),
        {"pad": "what follows is not one convolution"},
        {Pad, MaxPool2D},
    ),
    "padding before two": Case(
        fold_padding,
        graph(
            PAD,
            layer("one", Conv2D(), "pad", kernel=weights(1, 1, 6, 3)),
            layer("other", Conv2D(), "pad", kernel=weights(1, 1, 6, 3)),
            Node("both", Add(), ("one", "other")),
        ),
        (),
        {"pad": "what follows is not one convolution"},
        {Pad, Conv2D, Add},
    ),
    "padding that is an output": Case(
        fold_padding,
        graph(PAD, layer("conv", Conv2D(), "pad", kernel=weights(3, 3, 6, 8)), outputs=("conv", "pad")),
        (),
        {"pad": "what follows is not one convolution"},
        {Pad, Conv2D},
    ),
    "padding before padding of its own": Case(
        fold_padding,
        graph(PAD, layer("conv", Conv2D(padding="same"), "pad", kernel=weights(3, 3, 6, 8))),
        (),
        {"pad": "conv pads by itself"},
        {Pad, Conv2D},
    ),
    "norm after a convolution": Case(fold_affine, graph(CONV, norm("norm", "conv", 8)), ("norm",), {}, {Conv2D}),
    "norm after a grouped convolution": Case(
        fold_affine,
        graph(BARE_CONV, norm("norm", "conv", 9)),
        ("norm",),
        {},
        {Conv2D},
    ),
    "norm after a depthwise convolution": Case(
        fold_affine,
        graph(BIASED_DEPTHWISE, norm("norm", "depthwise", 12)),
        ("norm",),
        {},
        {DepthwiseConv2D},
    ),
    "norm after a dense layer": Case(
        fold_affine,
        graph(POOL, replace(DENSE, inputs=("pool",)), norm("norm", "dense", 4)),
        ("norm",),
        {},
        {GlobalAveragePool, Dense},
    ),
    "two norms and an affine": Case(
        fold_affine,
        graph(CONV, norm("norm", "conv", 8), affine("affine", "norm", 8), norm("again", "affine", 8)),
        ("norm", "affine", "again"),
        {},
        {Conv2D},
    ),
    "norm before a ReLU, as in DenseNet": Case(
        fold_affine,
        graph(
            CONV,
            layer("relu", Relu(), "conv"),
            Node("concat", Concat(), ("conv", "relu")),
            norm("norm", "concat", 16),
            layer("norm_relu", Relu(), "norm"),
            layer("next", Conv2D(), "norm_relu", kernel=weights(1, 1, 16, 3)),
        ),
        ("norm",),
        {},
        {Conv2D, Relu, Concat, DepthwiseConv2D},
    ),
    "norm of what others read too": Case(
        fold_affine,
        graph(CONV, norm("norm", "conv", 8), Node("both", Add(), ("conv", "norm"))),
        ("norm",),
        {},
        {Conv2D, DepthwiseConv2D, Add},
    ),
    "norm of an output": Case(
        fold_affine,
        graph(CONV, norm("norm", "conv", 8), outputs=("norm", "conv")),
        ("norm",),
        {},
        {Conv2D, DepthwiseConv2D},
    ),
    "rescaling of the image": Case(
        fold_affine,
        graph(affine("affine", "image", 6), replace(CONV, inputs=("affine",))),
        ("affine",),
        {},
        {DepthwiseConv2D, Conv2D},
    ),
    "norm of a vector without weights before it": Case(
        fold_affine,
        graph(POOL, norm("norm", "pool", 6), replace(DENSE, inputs=("norm",))),
        (),
        {"norm": "pool before it has no weights to take it"},
        {GlobalAveragePool, Affine, Dense},
    ),
}
