"""Operations that give an image another height and width, in ONNX."""

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgex.graph.ir import Crop, Node, Pad, Resize
from edgex.graph.nearest import has_ties, nearest_pixels
from edgex.graph.shapes import Shape

NEAREST = {"mode": "nearest", "nearest_mode": "round_prefer_ceil"}
"""As TensorFlow and TFLite find it."""


def write_other_size(
    emit: Callable[..., str],
    constant: Callable[[str, NDArray[Any]], str],
    node: Node,
    shape: Shape,
    x: str,
    out: str,
    float_dtype: "np.dtype[Any]",
) -> str:
    """Emit what a Pad, Crop or Resize makes of NCHW images; returns ``out``.

    Args:
        emit: emits a node, from operator, inputs, output and attributes.
        constant: makes a constant, from name and array.
        node: in the graph.
        shape: of its input, (height, width, channels).
        x: the value that it reads.
        out: the value to make.
        float_dtype: of both.
    """
    match node.op:
        case Pad(((top, bottom), (left, right))):
            pads = constant(f"{node.name}.pads", np.array([0, 0, top, left, 0, 0, bottom, right], np.int64))
            # ONNX Runtime moves a padding of +0 into pools, which pad with -inf
            return emit("Pad", [x, pads, constant(f"{node.name}.value", np.array(-0.0, float_dtype))], out)
        case Crop(((top, bottom), (left, right))):
            bounds = {"starts": [top, left], "ends": [shape[0] - bottom, shape[1] - right], "axes": [2, 3]}
            constants = [constant(f"{node.name}.{key}", np.array(value, np.int64)) for key, value in bounds.items()]
            return emit("Slice", [x, *constants], out)
        case Resize(size, "nearest") if any(map(_is_unsure, shape[:2], size)):
            rows, columns = (
                constant(f"{node.name}.{axis}", nearest_pixels(before, after))
                for axis, before, after in zip(("rows", "columns"), shape[:2], size, strict=True)
            )
            return emit("Gather", [emit("Gather", [x, rows], f"{out}.taller", axis=2), columns], out, axis=3)
        case Resize(size, method):
            factors = [_factor(before, after) for before, after in zip(shape[:2], size, strict=True)]
            scales = constant(f"{node.name}.scales", np.array([1, 1, *factors], np.float32))
            how = {"mode": "linear"} if method == "bilinear" else NEAREST
            return emit("Resize", [x, "", scales], out, coordinate_transformation_mode="half_pixel", **how)
        case other:
            raise ValueError(f"{node.name}: {type(other).__name__} keeps the size of its image")


def _is_unsure(before: int, after: int) -> bool:
    """Whether rounding a factor to float32 could tell which of two pixels is taken."""
    return has_ties(before, after) and float(_factor(before, after)) * before != after


def _factor(before: int, after: int) -> np.float32:
    """The factor that makes so many pixels: floor(before * factor).

    Sizes would say it outright, but until opset 18 they include that of the batch.
    """
    factor = np.float32(after / before)
    enough = int(before * float(factor)) == after  # in float64, as some readers multiply, it can fall short
    return factor if enough else np.nextafter(factor, np.float32(np.inf))
