"""Separable convolutions are found and counted as if by hand, and as a network without them counts itself."""

import numpy as np
import pytest

from edgex.graph.ir import (
    Add,
    BatchNorm,
    Conv2D,
    DepthwiseConv2D,
    Graph,
    Input,
    MaxPool2D,
    Node,
    Op,
    Relu,
    SeparableConv2D,
)
from edgex.graph.macs import macs
from edgex.graph.separable import separable_convolutions

CHANNELS, OUTPUTS = 6, 10


def depthwise(name: str, read: str, kernel: int = 3, multiplier: int = 1, **options: object) -> Node:
    op = DepthwiseConv2D(**{"padding": "same", **options})
    return Node(name, op, (read,), {"kernel": np.ones((kernel, kernel, CHANNELS, multiplier))})


def pointwise(name: str, read: str, inputs: int = CHANNELS, kernel: int = 1, groups: int = 1, stride: int = 1) -> Node:
    weights = np.ones((kernel, kernel, inputs // groups, OUTPUTS))
    return Node(name, Conv2D((stride, stride), "same", groups=groups), (read,), {"kernel": weights})


def after(name: str, read: str, op: Op) -> Node:
    return Node(name, op, (read,), {key: np.ones(CHANNELS) for key in (("mean", "variance") if name == "bn" else ())})


def graph(*nodes: Node, size: int = 9, outputs: tuple[str, ...] = ()) -> Graph:
    return Graph("net", (Node("image", Input((size, size, CHANNELS))), *nodes), outputs or (nodes[-1].name,))


def test_one_layer() -> None:
    params = {"depthwise": np.ones((5, 3, CHANNELS, 1)), "pointwise": np.ones((1, 1, CHANNELS, OUTPUTS))}
    net = graph(Node("separable", SeparableConv2D((2, 2), "same"), ("image",), params))
    (found,) = separable_convolutions(net).values()
    assert (found.depthwise, found.pointwise) == ("separable", "separable")
    assert found.macs == 5 * 5 * (15 * CHANNELS + CHANNELS * OUTPUTS)
    assert found.regular_macs == 5 * 5 * 15 * CHANNELS * OUTPUTS
    assert 1 / found.ratio == pytest.approx(1 / OUTPUTS + 1 / 15)


@pytest.mark.parametrize("between", [(), ("bn",), ("relu",), ("bn", "relu")])
def test_two_layers_and_what_may_stand_between(between: tuple[str, ...]) -> None:
    chain = ["image", "depthwise", *between, "pointwise"]
    links = zip(chain[1:], between, strict=False)
    middle = [after(name, read, BatchNorm() if name == "bn" else Relu()) for read, name in links]
    net = graph(depthwise("depthwise", "image", strides=(2, 2)), *middle, pointwise("pointwise", chain[-2]))
    (found,) = separable_convolutions(net).values()
    assert (found.depthwise, found.pointwise) == ("depthwise", "pointwise")
    assert found.macs == sum(macs(net, node) for node in net.nodes) == 25 * (9 * CHANNELS + CHANNELS * OUTPUTS)
    assert found.regular_macs == 25 * 9 * CHANNELS * OUTPUTS


def test_a_regular_convolution_reads_the_channels_before_they_are_multiplied() -> None:
    net = graph(depthwise("depthwise", "image", multiplier=2), pointwise("pointwise", "depthwise", 2 * CHANNELS))
    (found,) = separable_convolutions(net).values()
    assert found.macs == 81 * (9 * 2 * CHANNELS + 2 * CHANNELS * OUTPUTS)
    assert found.regular_macs == 81 * 9 * CHANNELS * OUTPUTS


@pytest.mark.parametrize("size", [8, 9])
@pytest.mark.parametrize(("kernel", "stride", "dilation"), [(3, 1, 1), (3, 2, 1), (5, 1, 1), (3, 1, 2)])
@pytest.mark.parametrize("padding", ["same", "valid"])
def test_as_the_regular_convolution_counts_itself(
    size: int, kernel: int, stride: int, dilation: int, padding: str
) -> None:
    window = {"strides": (stride, stride), "padding": padding, "dilation": (dilation, dilation)}
    split = graph(depthwise("depthwise", "image", kernel, **window), pointwise("pointwise", "depthwise"), size=size)
    weights = np.ones((kernel, kernel, CHANNELS, OUTPUTS))
    regular = graph(Node("regular", Conv2D(**window), ("image",), {"kernel": weights}), size=size)
    assert separable_convolutions(split)["pointwise"].regular_macs == macs(regular, regular["regular"])


@pytest.mark.parametrize(
    "nodes",
    [
        (depthwise("depthwise", "image"), pointwise("regular", "depthwise", kernel=3)),
        (depthwise("depthwise", "image"), pointwise("grouped", "depthwise", groups=2)),
        (depthwise("depthwise", "image"), pointwise("strided", "depthwise", stride=2)),
        (
            depthwise("depthwise", "image"),
            after("pool", "depthwise", MaxPool2D((2, 2), (1, 1), "same")),
            pointwise("pointwise", "pool"),
        ),
        (
            depthwise("depthwise", "image"),
            pointwise("pointwise", "depthwise"),
            Node("add", Add(), ("depthwise", "image")),
        ),
        (pointwise("pointwise", "image"),),
    ],
    ids=["regular", "grouped", "strided", "pool", "read twice", "alone"],
)
def test_what_is_no_separable_convolution(nodes: tuple[Node, ...]) -> None:
    unread = tuple(node.name for node in nodes if all(node.name not in other.inputs for other in nodes))
    assert separable_convolutions(graph(*nodes, outputs=unread)) == {}


def test_what_is_also_an_output_stays_whole() -> None:
    nodes = (depthwise("depthwise", "image"), pointwise("pointwise", "depthwise"))
    assert separable_convolutions(graph(*nodes)).keys() == {"pointwise"}
    assert separable_convolutions(graph(*nodes, outputs=("pointwise", "depthwise"))) == {}
