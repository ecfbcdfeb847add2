"""Operators of ONNX that move a window over an image, and those that give it a border or take one."""

from dataclasses import replace
from typing import cast

from edgex.graph.ir import (
    AveragePool2D,
    Crop,
    ExplicitPadding,
    MaxPool2D,
    Node,
    Pad,
    Padding,
    Pair,
)
from edgex.graph.limits import EXTENT_LIMIT
from edgex.graph.onnx_call import NCHW, Call, Tensor
from edgex.graph.shapes import explicit_padding

NONE: ExplicitPadding = ((0, 0), (0, 0))


def convolution_window(call: Call, image: Tensor, kernel: Pair) -> tuple[Pair, Pair, Padding]:
    """Strides, dilation and padding."""
    strides, dilation = call.pair("strides"), call.pair("dilations")
    return strides, dilation, _padding(call, image, kernel, strides, dilation)


def read_max_pool(call: Call) -> Tensor:
    """Padding counts as less than any number, in both."""
    image, pool, strides = _pool(call)
    padding = _with_ceiling(call, image, pool, strides, _padding(call, image, pool, strides, (1, 1)))
    return call.emit(MaxPool2D(pool, strides, padding), [image])


def read_average_pool(call: Call) -> Tensor:
    """Padding does not count in the graph; where it does in the file, it becomes part of the image."""
    image, pool, strides = _pool(call)
    padding = _padding(call, image, pool, strides, (1, 1))
    ceiling = _with_ceiling(call, image, pool, strides, padding)
    if not call.attribute("count_include_pad", 0) or padding == "valid":
        return call.emit(AveragePool2D(pool, strides, ceiling), [image])
    if ceiling != padding:
        raise call.refusal("count_include_pad with ceil_mode")
    borders = explicit_padding(padding, call.nodes.shapes[image.name], pool, strides)
    padded = f"{call.name}.padded"
    call.nodes.append(Node(padded, Pad(borders), (image.name,)))
    return call.emit(AveragePool2D(pool, strides), [replace(image, name=padded)])


def read_pad(call: Call) -> Tensor:
    """Zeros around height and width."""
    image = call.image()
    value = float(call.constant(2).item()) if call.has(2) else call.attribute("value", 0.0)
    pads = call.numbers("pads", 1) or []
    axes = call.numbers("axes", 3) or [0, 1, 2, 3]
    if call.attribute("mode", "constant") != "constant" or value != 0 or len(pads) != 2 * len(axes):
        raise call.refusal("a border other than zeros")
    sides = {call.axis(axis, 4): (pads[at], pads[at + len(axes)]) for at, axis in enumerate(axes)}
    if any(sides.get(axis, (0, 0)) != (0, 0) for axis in (0, 1)):
        raise call.refusal("a border of other axes than height and width")
    return call.emit(Pad(_borders((sides.get(2, (0, 0)), sides.get(3, (0, 0))))), [image])


def read_crop(call: Call) -> Tensor:
    """Slice, of height and width."""
    image = call.image()
    starts, ends = call.numbers("starts", 1) or [], call.numbers("ends", 2) or []
    axes = call.numbers("axes", 3) or list(range(len(starts)))
    steps = call.numbers("steps", 4) or [1] * len(starts)
    if not len(starts) == len(ends) == len(axes) == len(steps) or set(steps) != {1}:
        raise call.refusal("steps")
    cropping = {1: (0, 0), 2: (0, 0)}
    shape = call.nodes.shapes[image.name]
    for axis, start, end in zip(axes, starts, ends, strict=True):
        place = NCHW[call.axis(axis, 4)]
        first, last, _ = slice(start, end).indices(shape[place - 1] if place else 1)
        if place in cropping:
            cropping[place] = (first, shape[place - 1] - last)
        elif (first, last) != (0, shape[place - 1] if place else 1):
            raise call.refusal("other axes than height and width")
    return call.emit(Crop(_borders((cropping[1], cropping[2]))), [image])


def _pool(call: Call) -> tuple[Tensor, Pair, Pair]:
    if call.pair("dilations") != (1, 1) or call.attribute("storage_order", 0):
        raise call.refusal("dilations")
    return call.image(), call.pair("kernel_shape", None), call.pair("strides")


def _padding(call: Call, image: Tensor, kernel: Pair, strides: Pair, dilation: Pair) -> Padding:
    match call.attribute("auto_pad", "NOTSET"):
        case "SAME_UPPER":
            return "same"
        case "SAME_LOWER":
            shape = call.nodes.shapes[image.name]
            upper = explicit_padding("same", shape, kernel, strides, dilation)
            return cast("ExplicitPadding", tuple(sides[::-1] for sides in upper))
        case "VALID":
            return "valid"
        case "NOTSET":
            top, left, bottom, right = call.numbers("pads") or (0, 0, 0, 0)
            borders = _borders(((top, bottom), (left, right)))
            return "valid" if borders == NONE else borders
        case other:
            raise call.refusal(f"auto_pad {other!r}")


def _with_ceiling(call: Call, image: Tensor, pool: Pair, strides: Pair, padding: Padding) -> Padding:
    """With ceil_mode a last window may reach over the border, if it begins before that: so there is more border."""
    if not call.attribute("ceil_mode", 0):
        return padding
    size = call.nodes.shapes[image.name][:2]
    borders = explicit_padding(padding, size, pool, strides)
    more = []
    for extent, (before, after), window, stride in zip(size, borders, pool, strides, strict=True):
        positions = -(-(extent + before + after - window) // stride) + 1
        if (positions - 1) * stride >= extent + before:
            positions -= 1
        more.append((before, max((positions - 1) * stride + window - extent - before, after)))
    return padding if tuple(more) == borders else _borders((more[0], more[1]))


def _borders(borders: ExplicitPadding) -> ExplicitPadding:
    """ValueError if they are not so many pixels."""
    if not all(0 <= extent <= EXTENT_LIMIT for sides in borders for extent in sides):
        raise ValueError(f"its border is {borders}")
    return borders
