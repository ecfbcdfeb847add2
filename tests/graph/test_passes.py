"""Each pass keeps what the graph computes; one that were wrong would show.

Before and after are computed by the numpy reference, and what is ready for it also by ONNX Runtime.
"""

from collections.abc import Callable
from dataclasses import replace
from typing import NamedTuple

import numpy as np
import pytest
from numpy.typing import NDArray
from reference import reference, relative_error

from edgex.execute import tensor_values
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
    Flatten,
    GlobalAveragePool,
    Graph,
    Identity,
    Input,
    MaxPool2D,
    Node,
    Op,
    Pad,
    Relu,
    Reshape,
    SeparableConv2D,
    Softmax,
)
from edgex.graph.passes import PREPARATION, prepare
from edgex.graph.passes.fold import fold_affine, fold_padding
from edgex.graph.passes.result import PassResult
from edgex.graph.passes.simplify import binary_adds, dense_to_pointwise, drop_identities, split_separable

SHAPE = (9, 8, 6)
TOLERANCE = 1e-5
"""Relative: float32 weights are rounded once more, which costs some 1e-7 each."""

IMAGES = np.random.default_rng(0).normal(0.0, 2.0, (3, *SHAPE)).astype(np.float32)
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


def outputs(of: Graph) -> list[NDArray[np.float64]]:
    values = reference(of, IMAGES)
    return [values[name] for name in of.outputs]


def largest_error(after: Graph, before: Graph) -> float:
    pairs = zip(outputs(after), outputs(before), strict=True)
    return max(relative_error(found, expected) for found, expected in pairs)


def with_fault(after: Graph) -> Graph | None:
    """The graph with a hundredth added to one of its weights, in the middle of the last node that has any."""
    node = next((node for node in reversed(after.nodes) if node.params), None)
    if node is None:
        return None
    key = next(iter(node.params))
    array = node.params[key].copy()
    array.flat[array.size // 2] += 0.01 * np.abs(array).max()
    return after.rewrite({node.name: [node.with_params(**{key: array})]})


@pytest.mark.parametrize("case", CASES)
def test_a_pass_keeps_the_function(case: str) -> None:
    run, before, changed, kept, operations = CASES[case]
    result = run(before)
    assert largest_error(result.graph, before) < TOLERANCE
    assert (result.changed, result.kept) == (changed, kept)
    assert {type(node.op) for node in result.graph.nodes} == {Input, *operations}


@pytest.mark.parametrize("case", [name for name, case in CASES.items() if with_fault(case.run(case.before).graph)])
def test_one_wrong_weight_shows(case: str) -> None:
    before = CASES[case].before
    faulty = with_fault(CASES[case].run(before).graph)
    assert faulty is not None
    assert largest_error(faulty, before) > TOLERANCE


@pytest.mark.parametrize("pair", [("mean", "variance"), ("gamma", "beta"), ("beta", "mean")], ids="-".join)
def test_swapped_statistics_show(pair: tuple[str, str]) -> None:
    before = graph(CONV, norm("norm", "conv", 8))
    one, other = (before["norm"].params[key] for key in pair)
    swapped = before["norm"].with_params(**{pair[0]: other, pair[1]: one})
    folded = fold_affine(before.rewrite({"norm": [swapped]})).graph
    assert largest_error(folded, before) > 100 * TOLERANCE


def test_padding_folded_the_wrong_way_round_shows() -> None:
    before = CASES["padding into a convolution"].before
    turned = replace(before["pad"], op=Pad((PADS[0][::-1], PADS[1])))
    assert largest_error(fold_padding(before.rewrite({"pad": [turned]})).graph, before) > 100 * TOLERANCE


def test_folding_reads_the_epsilon() -> None:
    before = graph(CONV, norm("norm", "conv", 8, epsilon=1e-2))
    other = graph(CONV, norm("norm", "conv", 8, epsilon=1e-3))
    assert largest_error(fold_affine(other).graph, before) > 100 * TOLERANCE


def test_names_after_a_split() -> None:
    after = split_separable(graph(SEPARABLE, layer("relu", Relu(), "separable"), outputs=("relu", "separable"))).graph
    assert [node.name for node in after.nodes] == ["image", "separable.depthwise", "separable.pointwise", "relu"]
    assert after.outputs == ("relu", "separable.pointwise")
    assert "bias" not in after["separable.depthwise"].params


def network() -> Graph:
    """Something of everything that preparation takes away."""
    return graph(
        affine("rescaling", "image", 6),
        layer("pad", Pad(((0, 1), (0, 1))), "rescaling"),
        layer("conv", Conv2D((2, 2)), "pad", kernel=weights(3, 3, 6, 8)),
        norm("norm", "conv", 8),
        layer("relu", Relu(), "norm"),
        layer(
            "separable",
            SeparableConv2D(padding="same"),
            "relu",
            depthwise=weights(3, 3, 8, 1),
            pointwise=weights(1, 1, 8, 8),
        ),
        norm("separable_norm", "separable", 8),
        layer("dense", Dense(), "relu", kernel=weights(8, 8)),
        Node("sum", Add(), ("separable_norm", "relu", "dense")),
        norm("pre_norm", "sum", 8),
        layer("pre_relu", Relu(6.0), "pre_norm"),
        layer("dropout", Identity(), "pre_relu"),
        layer("silu", Activation("silu"), "dropout"),
        layer("flat", Flatten(), "silu"),
        norm("flat_norm", "flat", 128),
        layer("head", Dense(), "flat_norm", kernel=weights(128, 5), bias=weights(5)),
        norm("head_norm", "head", 5),
        layer("softmax", Softmax(), "head_norm"),
        outputs=("softmax", "head_norm"),
    )


def test_preparation_keeps_the_function_in_the_runtime_too() -> None:
    before = network()
    after = prepare(before)
    expected = outputs(before)
    for found, wanted in zip(tensor_values(after, after.outputs)(IMAGES), expected, strict=True):
        assert relative_error(found, wanted) < TOLERANCE
    faulty = after.rewrite({"pre_norm": [after["pre_norm"].with_params(bias=np.zeros(8))]})
    assert relative_error(tensor_values(faulty, faulty.outputs)(IMAGES)[1], expected[1]) > 100 * TOLERANCE


def test_preparation_leaves_only_what_writers_know() -> None:
    after = prepare(network())
    left = {type(node.op) for node in after.nodes}
    assert not left & {Identity, SeparableConv2D, BatchNorm, Pad}
    assert [node.name for node in after.nodes if isinstance(node.op, Affine)] == ["flat_norm"]
    assert all(len(node.inputs) == 2 for node in after.nodes if isinstance(node.op, Add))


def test_preparation_changes_nothing_twice() -> None:
    once = prepare(network())
    assert [run(once).changed for run in PREPARATION] == [()] * len(PREPARATION)
