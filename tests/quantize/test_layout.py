"""What is quantized, what is stored in 8 bits, and what shares a scale."""

import re

import numpy as np
import pytest
from graphs import tiny_xception

from edgex.errors import UsageError
from edgex.graph.ir import (
    Activation,
    Add,
    Array,
    AveragePool2D,
    Concat,
    Conv2D,
    Dense,
    DepthwiseConv2D,
    Flatten,
    GlobalAveragePool,
    Graph,
    Input,
    MaxPool2D,
    Node,
    Pad,
    Relu,
    Reshape,
    Softmax,
)
from edgex.quantize.layout import QuantizationLayout, quantization_layout

XCEPTION = tiny_xception()
IMAGE = Node("image", Input((8, 8, 4)))


def weights(*shape: int) -> dict[str, Array]:
    return {"kernel": np.ones(shape, np.float32)}


def conv(name: str, read: str) -> Node:
    return Node(name, Conv2D(), (read,), weights(1, 1, 4, 4))


def layout(*nodes: Node, keep_float: str | None = None, integer_io: bool = False) -> QuantizationLayout:
    graph = Graph("test", (IMAGE, *nodes), (nodes[-1].name,))
    pattern = re.compile(keep_float) if keep_float is not None else None
    return quantization_layout(graph, pattern, integer_io=integer_io)


def in_float(of: QuantizationLayout) -> list[str]:
    return [name for name, precision in of.precisions.items() if precision == "float"]


def test_xception_is_integer_up_to_its_logits() -> None:
    found = quantization_layout(XCEPTION)
    assert in_float(found) == ["predictions.softmax"]
    fused = {
        "block1_conv1",
        "block1_conv2",
        "block2_sepconv1.pointwise",
        "block3_sepconv1.pointwise",
        "block14_sepconv1.pointwise",
    }
    every = [node.name for node in XCEPTION.nodes]
    assert found.tensors == tuple(name for name in every if name not in {*fused, "predictions.softmax"})
    assert found.ties == (("block2_sepconv2.pointwise", "block2_pool"),)
    assert list(found.precisions) == every[1:]


def test_integer_ends_are_stored_whoever_makes_or_reads_them() -> None:
    found = quantization_layout(XCEPTION, integer_io=True)
    assert set(found.tensors) - set(quantization_layout(XCEPTION).tensors) == {"predictions.softmax"}
    assert in_float(found) == ["predictions.softmax"]
    nodes = (
        Node("silu", Activation("silu"), ("image",)),
        conv("conv", "silu"),
        Node("tanh", Activation("tanh"), ("conv",)),
    )
    assert layout(*nodes).tensors == ("silu", "conv")
    assert layout(*nodes, integer_io=True).tensors == ("image", "silu", "conv", "tanh")


@pytest.mark.parametrize(
    "op",
    [Pad(((1, 1), (0, 0))), MaxPool2D((2, 2), (2, 2)), AveragePool2D((2, 2), (2, 2)), Flatten(), Reshape((16, 16))],
    ids=lambda op: type(op).__name__,
)
def test_what_only_moves_or_compares_is_tied(op: Pad) -> None:
    found = layout(conv("conv", "image"), Node("moved", op, ("conv",)))
    assert found.ties == (("conv", "moved"),)
    assert found.tensors == ("image", "conv", "moved")


@pytest.mark.parametrize("op", [GlobalAveragePool(), Relu(1.5)], ids=lambda op: type(op).__name__)
def test_what_computes_is_not_tied(op: Relu) -> None:
    found = layout(conv("conv", "image"), Node("computed", op, ("conv",)))
    assert found.ties == ()
    assert found.precisions["computed"] == "int8"


def test_ties_that_touch_are_one_in_the_order_of_the_graph() -> None:
    found = layout(
        conv("a", "image"),
        conv("b", "image"),
        conv("c", "image"),
        Node("c_pool", MaxPool2D((1, 1), (1, 1)), ("c",)),
        Node("ab", Concat(), ("b", "a")),
        conv("between", "ab"),
        Node("abc", Concat(), ("ab", "c_pool")),
    )
    assert found.ties == (("a", "b", "c", "c_pool", "ab", "abc"),)


def test_a_tie_reaches_tensors_that_float_nodes_make() -> None:
    found = layout(
        conv("a", "image"), Node("silu", Activation("silu"), ("image",)), Node("both", Concat(), ("a", "silu"))
    )
    assert in_float(found) == ["silu"]
    assert found.ties == (("a", "silu", "both"),)


def test_a_tie_leaves_out_what_is_fused_away() -> None:
    found = layout(
        conv("conv", "image"), Node("relu", Relu(), ("conv",)), Node("pool", MaxPool2D((2, 2), (2, 2)), ("relu",))
    )
    assert found.tensors == ("image", "relu", "pool")
    assert found.ties == (("relu", "pool"),)


def test_the_image_may_be_tied() -> None:
    padded = Node("padded", Pad(((1, 1), (1, 1))), ("image",))
    found = layout(padded, Node("pool", AveragePool2D((2, 2), (1, 1)), ("padded",)), conv("conv", "pool"))
    assert found.ties == (("image", "padded", "pool"),)


def test_what_only_moves_floats_leaves_them_float() -> None:
    found = layout(
        Node("pool", GlobalAveragePool(), ("image",)),
        Node("dense", Dense(), ("pool",), weights(4, 6)),
        Node("softmax", Softmax(), ("dense",)),
        Node("rows", Reshape((2, 3)), ("softmax",)),
        Node("flat", Flatten(), ("rows",)),
    )
    assert in_float(found) == ["softmax", "rows", "flat"]
    assert found.tensors == ("image", "pool", "dense")
    assert found.ties == ()


# --keep-float


def test_kept_nodes_are_float_and_their_neighbours_stored() -> None:
    found = quantization_layout(XCEPTION, re.compile(r"block3_sepconv2\."))
    assert in_float(found) == ["block3_sepconv2.depthwise", "block3_sepconv2.pointwise", "predictions.softmax"]
    gone = set(quantization_layout(XCEPTION).tensors) - set(found.tensors)
    assert gone == {"block3_sepconv2.depthwise"}, "the sum reads the pointwise in 8 bits"


@pytest.mark.parametrize("pattern", ["^block1_conv2$", "^block1_conv2_act$"])
def test_what_is_fused_is_kept_together(pattern: str) -> None:
    found = quantization_layout(XCEPTION, re.compile(pattern))
    assert in_float(found) == ["block1_conv2", "block1_conv2_act", "predictions.softmax"]
    assert "block1_conv2" not in found.tensors


def test_a_relu_that_is_not_fused_is_kept_alone() -> None:
    found = quantization_layout(XCEPTION, re.compile("^block3_sepconv1_act$"))
    assert in_float(found) == ["block3_sepconv1_act", "predictions.softmax"]
    assert {"add", "block3_sepconv1_act"} <= set(found.tensors)


def test_a_sum_and_its_relu_are_kept_together() -> None:
    nodes = (
        conv("conv", "image"),
        Node("sum", Add(), ("conv", "image")),
        Node("relu", Relu(6.0), ("sum",)),
        Node("depthwise", DepthwiseConv2D(), ("relu",), weights(3, 3, 4, 1)),
    )
    assert layout(*nodes).tensors == ("image", "conv", "relu", "depthwise")
    assert in_float(layout(*nodes, keep_float="relu")) == ["sum", "relu"]
    assert layout(*nodes, keep_float="relu").tensors == ("image", "conv", "relu", "depthwise")


@pytest.mark.parametrize("pattern", ["block99", "^input$", "BLOCK1"])
def test_a_pattern_that_matches_no_layer_is_refused(pattern: str) -> None:
    with pytest.raises(UsageError, match="matches no layer of tiny_xception") as refusal:
        quantization_layout(XCEPTION, re.compile(pattern))
    assert repr(pattern) in refusal.value.message


def test_a_pattern_that_matches_all_is_refused() -> None:
    with pytest.raises(UsageError, match="nothing to quantize in tiny_xception"):
        quantization_layout(XCEPTION, re.compile(""))
