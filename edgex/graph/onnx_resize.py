"""Resize of ONNX, in those of its many forms that compute what :class:`edgex.graph.ir.Resize` does."""

import math
from dataclasses import replace

import numpy as np

from edgex.graph.ir import Pair, Resize
from edgex.graph.limits import EXTENT_LIMIT
from edgex.graph.nearest import nearest_pixels
from edgex.graph.onnx_call import BATCH, Call, Tensor

WHOLE = 1e-5
"""Relative error of a whole number of pixels, of a factor in float32. Between pixels a factor means other centres."""


def read_resize(call: Call) -> Tensor:
    """Resize, of height and width."""
    image = call.image()
    before = call.nodes.shapes[image.name]
    size = _size(call, before[:2])
    mode = call.attribute("mode", "nearest")
    coordinates = call.attribute("coordinate_transformation_mode", "half_pixel" if call.opset > 10 else "asymmetric")
    if call.attribute("antialias", 0):
        raise call.refusal("antialias")
    if mode == "linear" and _is_half_pixel(coordinates, before, size):
        return call.emit(Resize(size, "bilinear"), [image])
    if mode == "nearest" and _is_nearest(call, coordinates, before, size):
        return call.emit(Resize(size, "nearest"), [image])
    raise call.refusal(f"the mode {mode!r} of the coordinates {coordinates!r} from {before[:2]} to {size}")


def read_nearest(call: Call) -> Tensor:
    """Gather, of those rows or columns of an image that the nearest pixels are in."""
    image, chosen = call.image(), call.constant(1)
    before = call.nodes.shapes[image.name]
    axis = call.axis(call.attribute("axis", 0), 4) - 2
    if axis not in (0, 1) or chosen.ndim != 1 or not 0 < chosen.size <= EXTENT_LIMIT:
        raise call.refusal("a choice of other than rows or columns")
    counted = np.where(chosen < 0, chosen + before[axis], chosen)  # from the front
    if not np.array_equal(counted, nearest_pixels(before[axis], chosen.size)):
        raise call.refusal("a choice of pixels that are not the nearest")
    if axis == 0:
        return call.emit(Resize((chosen.size, before[1]), "nearest"), [image])
    rows = call.nodes.made[image.name]
    if isinstance(rows.op, Resize) and rows.op == Resize((before[0], call.nodes.shapes[rows.inputs[0]][1]), "nearest"):
        image = replace(image, name=rows.inputs[0])  # rows and then columns of one image
    return call.emit(Resize((before[0], chosen.size), "nearest"), [image])


def _is_half_pixel(coordinates: str, before: tuple[int, ...], size: Pair) -> bool:
    """PyTorch's coordinates are others only for a single pixel, and of a single pixel all is the same."""
    single = any(after == 1 < extent for extent, after in zip(before, size, strict=False))
    return coordinates == "half_pixel" or (coordinates == "pytorch_half_pixel" and not single)


def _is_nearest(call: Call, coordinates: str, before: tuple[int, ...], size: Pair) -> bool:
    rounding = call.attribute("nearest_mode", "round_prefer_floor" if call.opset > 10 else "floor")
    if _is_half_pixel(coordinates, before, size) and rounding == "round_prefer_ceil":
        return True
    # Each pixel as many times: then no new centre is as near to two old ones
    whole = all(after % extent == 0 for extent, after in zip(before, size, strict=False))
    repeated = coordinates == "asymmetric" and rounding == "floor"
    near = "prefer" in rounding or size == before[:2]
    return whole and (repeated or (near and _is_half_pixel(coordinates, before, size)))


def _size(call: Call, before: tuple[int, ...]) -> Pair:
    """Height and width, given as such or as factors."""
    scales_at, sizes_at = (2, 3) if call.opset > 10 else (1, 4)
    axes = [call.axis(axis, 4) for axis in call.numbers("axes") or range(4)]
    if call.has(sizes_at) and call.constant(sizes_at).size:
        wanted = [int(number) for number in call.constant(sizes_at).reshape(-1)]
    elif call.has(scales_at):
        scales = call.constant(scales_at).reshape(-1).astype(np.float32)
        if not np.isfinite(scales).all() or len(scales) != len(axes):
            raise ValueError(f"its factors are {scales.tolist()}")
        extents = (1, call.nodes.shapes[call.image().name][2], *before)
        made = [float(np.float32(extents[axis]) * factor) for axis, factor in zip(axes, scales, strict=True)]
        wanted = [math.floor(extent) for extent in made]
        if not np.allclose(made, wanted, rtol=WHOLE, atol=0):
            raise call.refusal(f"factors that make {made} pixels")
    else:
        raise call.refusal("neither sizes nor factors")
    if len(wanted) != len(axes):
        raise ValueError(f"its size is {wanted}")
    if call.attribute("keep_aspect_ratio_policy", "stretch") != "stretch":
        raise call.refusal("a policy of the aspect ratio")
    found = dict(zip(axes, wanted, strict=True))
    height, width = found.get(2, before[0]), found.get(3, before[1])
    if found.get(0, 1) not in (1, BATCH) or found.get(1, _channels(call)) != _channels(call):
        raise call.refusal("axes other than height and width")
    if not all(0 < extent <= EXTENT_LIMIT for extent in (height, width)):
        raise ValueError(f"its size is {height, width}")
    return height, width


def _channels(call: Call) -> int:
    return call.nodes.shapes[call.image().name][2]
