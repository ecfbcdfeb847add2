"""Shape inference: what each node makes from what it reads. Shapes are without the batch axis, NHWC."""

import math
from collections.abc import Sequence

from edgex.graph.ir import (
    Add,
    AveragePool2D,
    Concat,
    Conv2D,
    Crop,
    Dense,
    DepthwiseConv2D,
    ExplicitPadding,
    Flatten,
    GlobalAveragePool,
    GlobalMaxPool,
    Graph,
    Input,
    MaxPool2D,
    Multiply,
    Node,
    Pad,
    Padding,
    Pair,
    Reshape,
    Resize,
    SeparableConv2D,
)

Shape = tuple[int, ...]

IMAGE_OPS = (
    Conv2D,
    DepthwiseConv2D,
    SeparableConv2D,
    MaxPool2D,
    AveragePool2D,
    GlobalAveragePool,
    GlobalMaxPool,
    Pad,
    Crop,
    Resize,
)
"""Operations on (height, width, channels) alone."""


def infer_shapes(graph: Graph) -> dict[str, Shape]:
    """The shape of every tensor of the graph, by name.

    Raises:
        ValueError: the shapes do not fit; names the node.
    """
    shapes: dict[str, Shape] = {}
    for node in graph.nodes:
        try:
            shape = _output_shape(node, [shapes[name] for name in node.inputs])
        except ValueError as error:
            raise ValueError(f"{node.name}: {error}") from None
        if any(size <= 0 for size in shape):
            raise ValueError(f"{node.name}: the image is too small, nothing is left of it here (shape {shape})")
        shapes[node.name] = shape
    return shapes


def explicit_padding(
    padding: Padding, size: Sequence[int], kernel: Pair, strides: Pair, dilation: Pair = (1, 1)
) -> ExplicitPadding:
    """Padding in pixels, for an image of ``size`` (height, width).

    "same" pads as TensorFlow does: the output has ceil(size / stride) positions, and the odd pixel goes to the
    bottom and right, so the result depends on the size.
    """
    if padding == "valid":
        return ((0, 0), (0, 0))
    if padding != "same":
        return padding
    (top, bottom), (left, right) = (
        _same(extent, k, stride, rate)
        for extent, k, stride, rate in zip(size[:2], kernel, strides, dilation, strict=True)
    )
    return ((top, bottom), (left, right))


def _same(size: int, kernel: int, stride: int, dilation: int) -> Pair:
    reach = (kernel - 1) * dilation + 1
    total = max((math.ceil(size / stride) - 1) * stride + reach - size, 0)
    return total // 2, total - total // 2


def _window(padding: Padding, shape: Shape, kernel: Pair, strides: Pair, dilation: Pair = (1, 1)) -> Pair:
    pads = explicit_padding(padding, shape, kernel, strides, dilation)
    height, width = (
        (size + sum(pad) - (k - 1) * rate - 1) // stride + 1
        for size, pad, k, stride, rate in zip(shape[:2], pads, kernel, strides, dilation, strict=True)
    )
    return height, width


def _expect(condition: bool, message: str) -> None:
    if not condition:
        raise ValueError(message)


def _broadcast(shapes: list[Shape]) -> Shape:
    message = f"combines tensors of shapes {shapes}"
    _expect(len({len(shape) for shape in shapes}) == 1, message)
    sizes = [set(sizes) - {1} for sizes in zip(*shapes, strict=True)]
    _expect(all(len(other) <= 1 for other in sizes), message)
    return tuple(other.pop() if other else 1 for other in sizes)


def _output_shape(node: Node, inputs: list[Shape]) -> Shape:
    first = inputs[0] if inputs else ()
    _expect(not isinstance(node.op, IMAGE_OPS) or len(first) == 3, f"needs an image, got shape {first}")
    match node.op:
        case Input(shape=shape):
            return shape
        case Conv2D(strides=strides, padding=padding, dilation=dilation, groups=groups):
            kh, kw, per_group, out = node.params["kernel"].shape
            _expect(per_group * groups == first[2], f"the kernel reads {per_group * groups} channels of {first[2]}")
            return (*_window(padding, first, (kh, kw), strides, dilation), out)
        case DepthwiseConv2D(strides=strides, padding=padding, dilation=dilation):
            kh, kw, channels, multiplier = node.params["kernel"].shape
            _expect(channels == first[2], f"the kernel reads {channels} channels of shape {first}")
            return (*_window(padding, first, (kh, kw), strides, dilation), channels * multiplier)
        case SeparableConv2D(strides=strides, padding=padding, dilation=dilation):
            kh, kw, channels, multiplier = node.params["depthwise"].shape
            _expect(channels == first[2], f"the kernel reads {channels} channels of shape {first}")
            _, _, read, out = node.params["pointwise"].shape
            _expect(read == channels * multiplier, f"pointwise reads {read} channels of {channels * multiplier}")
            return (*_window(padding, first, (kh, kw), strides, dilation), out)
        case Dense():
            read, out = node.params["kernel"].shape
            _expect(read == first[-1], f"the kernel reads {read} features of {first[-1]}")
            return (*first[:-1], out)
        case MaxPool2D(pool, strides, padding) | AveragePool2D(pool, strides, padding):
            return (*_window(padding, first, pool, strides), first[2])
        case GlobalAveragePool(keepdims) | GlobalMaxPool(keepdims):
            return (1, 1, first[2]) if keepdims else (first[2],)
        case Pad(((top, bottom), (left, right))):
            return (first[0] + top + bottom, first[1] + left + right, first[2])
        case Crop(((top, bottom), (left, right))):
            return (first[0] - top - bottom, first[1] - left - right, first[2])
        case Resize(size):
            return (*size, first[2])
        case Flatten():
            return (math.prod(first),)
        case Reshape(shape):
            known = math.prod(size for size in shape if size != -1)
            resolved = tuple(math.prod(first) // known if size == -1 else size for size in shape)
            _expect(math.prod(resolved) == math.prod(first), f"{first} cannot take the shape {shape}")
            return resolved
        case Add() | Multiply():
            return _broadcast(inputs)
        case Concat():
            _expect(all(shape[:-1] == first[:-1] for shape in inputs), f"joins tensors of shapes {inputs}")
            return (*first[:-1], sum(shape[-1] for shape in inputs))
        case _:
            return first
