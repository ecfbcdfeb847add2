"""Operators of ONNX on tensors or constants: exporters compute the shapes of tensors with them."""

import math
from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import reduce

import numpy as np

from edgex.graph.ir import Concat, Identity
from edgex.graph.onnx_call import BATCH, ROW, Call, Constant, PerImage, Tensor, Value
from edgex.graph.onnx_resize import read_nearest
from edgex.graph.onnx_shapes import shaped
from edgex.graph.onnx_windows import read_crop

MOST_COMPUTED = 1000
"""Numbers that a constant is computed from: sizes of tensors. Such nodes could double them over and over."""

FLOATS = (1, 10, 11, 16)
"""FLOAT, FLOAT16, DOUBLE and BFLOAT16 of TensorProto.DataType."""

INTEGERS = (6, 7)
"""INT32 and INT64."""


def read_constant(call: Call) -> Constant:
    """Constant."""
    if "value" in call.attributes:
        return np.asarray(call.attributes["value"])
    for key, dtype in (("value_float", "f4"), ("value_floats", "f4"), ("value_int", "i8"), ("value_ints", "i8")):
        if key in call.attributes:
            return np.asarray(call.attributes[key], dtype)
    raise call.refusal("a value that is no array of numbers")


def read_constant_of_shape(call: Call) -> Constant:
    """ConstantOfShape."""
    shape = tuple(call.constant(0).reshape(-1).tolist())
    if not all(isinstance(size, int) and 0 <= size <= MOST_COMPUTED for size in shape):
        raise call.refusal(f"the shape {shape}")
    _expect_few(call, math.prod(shape))
    return np.full(shape, np.asarray(call.attribute("value", np.zeros(1, np.float32))).reshape(-1)[0])


def read_shape(call: Call) -> Constant:
    """Shape, with :data:`~edgex.graph.onnx_call.BATCH` for the number of images."""
    shape = np.array([BATCH, *call.shape(call.tensor())[1:]], np.int64)
    return shape[call.attribute("start", 0) : call.attributes.get("end")]


def read_range(call: Call) -> Constant:
    """Range, of the images."""
    if [call.constant(position).item() for position in range(3)] != [0, BATCH, 1]:
        raise call.refusal("other numbers than those of the images")
    return np.arange(2).view(PerImage)


def read_gather(call: Call) -> Value:
    """Gather, of constants; or of all values of a tensor, in their order; or of rows or columns of an image."""
    row = call.inputs[0] if call.inputs else None
    if isinstance(row, Tensor) and not row.part:
        return read_nearest(call)
    if call.attribute("axis", 0) != 0:
        raise call.refusal("an axis that is not the first")
    if isinstance(row, Tensor) and row.part == ROW:
        return _taken_apart(call, replace(row, part=""), call.constant(1, per_image=True))
    given, chosen = call.constant(0), call.constant(1)
    _expect_few(call, given.size * chosen.size)
    try:
        return np.asarray(given[chosen])
    except IndexError as error:
        raise ValueError(str(error)) from error


def read_concatenate(call: Call) -> Value:
    """Concat: of tensors along their channels, or of constants."""
    if not any(isinstance(value, Tensor) for value in call.inputs):
        constants = [call.constant(position) for position in range(max(1, len(call.inputs)))]
        _expect_few(call, sum(constant.size for constant in constants))
        return np.concatenate(constants, call.axis(call.attribute("axis", 1), constants[0].ndim))
    tensors = [call.whole(position) for position in range(len(call.inputs))]
    axis = call.axis(call.attribute("axis", 1), tensors[0].rank)
    if tensors[0].axes[axis] != tensors[0].rank - 1 or len({tensor.axes for tensor in tensors}) > 1:
        raise call.refusal("an axis that is not that of the channels")
    return call.emit(Concat(), tensors)


def read_slice(call: Call) -> Value:
    """Slice: the inside of an image, or a piece of a constant."""
    if isinstance(call.inputs[0], Tensor):
        return read_crop(call)
    starts, ends = call.numbers("starts", 1), call.numbers("ends", 2)
    axes, steps = call.numbers("axes", 3) or [0], call.numbers("steps", 4) or [1]
    if not starts or not ends or len(starts) > 1 or axes != [0] or len(steps) > 1 or not steps[0]:
        raise call.refusal("more than one axis")
    return call.constant(0)[starts[0] : ends[0] : steps[0]]


def read_cast(call: Call) -> Value:
    """Cast: nothing between floats, as all is float32 in the graph."""
    to = call.attributes.get("to")
    if not isinstance(call.inputs[0], Tensor):
        return _as_type(call, call.constant(0), to)
    if to not in FLOATS:
        raise call.refusal("a type that is no float")
    return call.emit(Identity(), [call.tensor()])


def read_identity(call: Call) -> Value:
    """Identity."""
    if not isinstance(call.inputs[0], Tensor):
        return call.constant(0)
    return call.emit(Identity(), [call.tensor()])


def _taken_apart(call: Call, tensor: Tensor, places: Constant) -> Tensor:
    """What ``as_strided`` makes of a tensor, for one image or two: PyTorch has it behind pools, with channels last."""
    images = 2 if isinstance(places, PerImage) else 1
    values = images * math.prod(call.shape(tensor))
    if places.shape[:1] != (images,) or not np.array_equal(places.reshape(-1), np.arange(values)):
        raise call.refusal("values in another order")
    return shaped(call, tensor, places.shape[1:])


def compute(call: Call) -> Constant:
    """Add, Sub, Mul or Div, of constants; such as sizes, which PyTorch computes from those of the image."""
    linear = call.operator != "Div"
    operands = [call.constant(position, per_image=linear) for position in range(len(call.inputs))]
    most = max(MOST_COMPUTED, *(operand.size for operand in operands))
    if math.prod(np.broadcast_shapes(*(operand.shape for operand in operands))) > most:
        raise call.refusal("so many numbers to compute a constant from")
    if any(np.any(operand == BATCH) for operand in operands):
        raise call.refusal("the number of images as its input")
    with np.errstate(all="ignore"):
        return np.asanyarray(reduce(ARITHMETIC[call.operator], operands))


def _divided(dividend: Constant, divisor: Constant) -> Constant:
    """Whole numbers become whole, towards zero. ValueError if one of them is divided by zero."""
    if dividend.dtype.kind == "f" or divisor.dtype.kind == "f":
        return np.asarray(dividend / divisor)
    if not np.all(divisor):
        raise ValueError("it divides by zero")
    return np.asarray(np.sign(dividend) * np.sign(divisor) * (np.abs(dividend) // np.abs(divisor)))


ARITHMETIC: Mapping[str, Callable[[Constant, Constant], Constant]] = {
    "Add": np.add,
    "Div": _divided,
    "Mul": np.multiply,
    "Sub": np.subtract,
    "Sum": np.add,
}


def _as_type(call: Call, constant: Constant, to: int | None) -> Constant:
    from onnx import helper

    if to not in (*FLOATS, *INTEGERS):
        raise call.refusal("a type that is no number")
    with np.errstate(all="ignore"):
        return np.asarray(constant).astype(helper.tensor_dtype_to_np_dtype(to))


def _expect_few(call: Call, numbers: int) -> None:
    if numbers > MOST_COMPUTED:
        raise call.refusal(f"{numbers} numbers to compute a constant from")
