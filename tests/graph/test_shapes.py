"""Shape inference, against what numpy's reference makes and sizes worked out by hand."""

import numpy as np
import pytest
from reference import reference

from edgex.graph.ir import (
    Add,
    AveragePool2D,
    BatchNorm,
    Concat,
    Conv2D,
    Crop,
    Dense,
    DepthwiseConv2D,
    Flatten,
    GlobalAveragePool,
    GlobalMaxPool,
    Graph,
    Input,
    MaxPool2D,
    Multiply,
    Node,
    Op,
    Pad,
    Relu,
    Reshape,
    Resize,
    SeparableConv2D,
    Softmax,
)
from edgex.graph.shapes import explicit_padding

SHAPE = (9, 10, 4)
PADS = ((1, 2), (0, 1))


def weights(*shape: int) -> np.ndarray:
    return np.ones(shape, np.float32)


def single(op: Op, *inputs: str, **params: np.ndarray) -> Graph:
    """``op`` over an image and, if asked for, ``pixel``, its average as an image of 1×1."""
    pixel = Node("pixel", GlobalAveragePool(keepdims=True), ("image",))
    return Graph(
        "test", (Node("image", Input(SHAPE)), pixel, Node("node", op, inputs or ("image",), params)), ("node",)
    )


def beside(other: Op, op: Op, **params: np.ndarray) -> Graph:
    """``op`` over an image and what another operation makes of it."""
    nodes = Node("other", other, ("image",), params), Node("node", op, ("image", "other"))
    return Graph("test", (Node("image", Input(SHAPE)), *nodes), ("node",))


CASES = {
    "conv valid": (single(Conv2D((2, 3)), kernel=weights(3, 2, 4, 7)), (4, 3, 7)),
    "conv same": (single(Conv2D((2, 3), "same"), kernel=weights(3, 2, 4, 7)), (5, 4, 7)),
    "conv dilated": (single(Conv2D(dilation=(2, 3)), kernel=weights(3, 3, 4, 7)), (5, 4, 7)),
    "conv explicit": (single(Conv2D(padding=PADS), kernel=weights(3, 3, 4, 7)), (10, 9, 7)),
    "conv grouped": (single(Conv2D(groups=2), kernel=weights(1, 1, 2, 6)), (9, 10, 6)),
    "depthwise": (single(DepthwiseConv2D((2, 2), "same"), kernel=weights(3, 3, 4, 2)), (5, 5, 8)),
    "separable": (
        single(SeparableConv2D(), depthwise=weights(3, 3, 4, 2), pointwise=weights(1, 1, 8, 5)),
        (7, 8, 5),
    ),
    "dense": (single(Dense(), kernel=weights(4, 3)), (9, 10, 3)),
    "batch norm": (single(BatchNorm(), **{k: weights(4) for k in ("gamma", "beta", "mean", "variance")}), SHAPE),
    "max pool": (single(MaxPool2D((3, 3), (2, 2), "same")), (5, 5, 4)),
    "average pool": (single(AveragePool2D((2, 2), (2, 2))), (4, 5, 4)),
    "global average": (single(GlobalAveragePool()), (4,)),
    "global max, kept": (single(GlobalMaxPool(keepdims=True)), (1, 1, 4)),
    "pad": (single(Pad(PADS)), (12, 11, 4)),
    "crop": (single(Crop(PADS)), (6, 9, 4)),
    "resize": (single(Resize((3, 40))), (3, 40, 4)),
    "flatten": (single(Flatten()), (360,)),
    "reshape": (single(Reshape((-1, 6))), (60, 6)),
    "add": (single(Add(), "image", "image"), SHAPE),
    "add a pixel": (single(Add(), "pixel", "image", "pixel"), SHAPE),
    "multiply by a pixel": (single(Multiply(), "pixel", "image"), SHAPE),
    "concat": (single(Concat(), "image", "image", "image"), (9, 10, 12)),
    "relu": (single(Relu()), SHAPE),
    "softmax": (single(Softmax()), SHAPE),
}


@pytest.mark.parametrize("case", CASES)
def test_shapes(case: str) -> None:
    graph, shape = CASES[case]
    assert graph.shapes["node"] == shape
    assert reference(graph, np.zeros((2, *SHAPE), np.float32))["node"].shape == (2, *shape)


REFUSALS = {
    "other channels": (single(Conv2D(), kernel=weights(1, 1, 5, 7)), "the kernel reads 5 channels of 4"),
    "depthwise of others": (single(DepthwiseConv2D(), kernel=weights(1, 1, 5, 1)), "the kernel reads 5 channels"),
    "pointwise of others": (
        single(SeparableConv2D(), depthwise=weights(1, 1, 4, 2), pointwise=weights(1, 1, 4, 5)),
        "pointwise reads 4 channels of 8",
    ),
    "dense of others": (single(Dense(), kernel=weights(5, 3)), "the kernel reads 5 features of 4"),
    "sum of unequal": (beside(Conv2D(), Add(), kernel=weights(1, 1, 4, 3)), "combines tensors of shapes"),
    "product of unequal": (beside(MaxPool2D((2, 2), (1, 1)), Multiply()), "combines tensors of shapes"),
    "product of unlike ranks": (beside(GlobalAveragePool(), Multiply()), "combines tensors of shapes"),
    "joined unequal": (single(Concat(), "image", "pixel"), "joins tensors of shapes"),
    "reshape": (single(Reshape((7, -1))), "cannot take the shape"),
    "too small": (single(Conv2D(), kernel=weights(10, 1, 4, 7)), "the image is too small"),
    "all cropped": (single(Crop(((5, 4), (0, 0)))), "the image is too small"),
}


@pytest.mark.parametrize("case", REFUSALS)
def test_what_does_not_fit_is_named(case: str) -> None:
    graph, message = REFUSALS[case]
    with pytest.raises(ValueError, match=f"^node: .*{message}"):
        _ = graph.shapes


@pytest.mark.parametrize(
    ("size", "kernel", "stride", "dilation", "pads"),
    [
        (8, 3, 1, 1, (1, 1)),
        (8, 3, 2, 1, (0, 1)),
        (9, 3, 2, 1, (1, 1)),
        (8, 2, 1, 1, (0, 1)),
        (8, 1, 2, 1, (0, 0)),
        (8, 3, 1, 2, (2, 2)),
        (7, 5, 3, 1, (2, 2)),
        (6, 5, 3, 1, (1, 1)),
        (2, 7, 1, 1, (3, 3)),
    ],
)
def test_same_padding_puts_the_odd_pixel_last(
    size: int, kernel: int, stride: int, dilation: int, pads: tuple[int, int]
) -> None:
    """As TensorFlow does, worked out by hand."""
    assert explicit_padding("same", (size, 1), (kernel, 1), (stride, 1), (dilation, 1)) == (pads, (0, 0))
    assert explicit_padding("same", (1, size), (1, kernel), (1, stride), (1, dilation)) == ((0, 0), pads)


def test_other_padding_is_taken_as_it_is() -> None:
    assert explicit_padding("valid", (8, 8), (3, 3), (2, 2)) == ((0, 0), (0, 0))
    assert explicit_padding(PADS, (8, 8), (3, 3), (2, 2)) == PADS
