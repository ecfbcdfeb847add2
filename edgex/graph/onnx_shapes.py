"""Operators of ONNX that give a tensor another shape, or its axes another order."""

import math
from dataclasses import replace

import numpy as np

from edgex.graph.ir import Flatten, GlobalAveragePool, GlobalMaxPool, Identity, Reshape
from edgex.graph.onnx_call import BATCH, NCHW, ROW, Call, Tensor, Value


def read_transpose(call: Call) -> Value:
    """Transpose: the graph stays as it is, the file sees its axes in another order from here on."""
    if not isinstance(call.inputs[0], Tensor):
        return np.transpose(call.constant(0), call.numbers("perm"))
    given = call.whole()
    order = call.numbers("perm") or list(range(given.rank))[::-1]
    if sorted(order) != list(range(given.rank)) or order[0] != 0:
        raise call.refusal(f"the order {order} of its axes")
    return replace(given, axes=tuple(given.axes[axis] for axis in order))


def read_flatten(call: Call) -> Tensor:
    """Flatten, to a vector for each image."""
    if call.attribute("axis", 1) != 1:
        raise call.refusal(f"axis {call.attribute('axis', 1)}")
    return _as_vector(call, call.tensor())


def read_reshape(call: Call) -> Value:
    """Reshape: to a vector, from a vector to one pixel, or of what has its axes in the order of the graph."""
    if not isinstance(call.inputs[0], Tensor):
        return call.constant(0).reshape(call.constant(1).reshape(-1).tolist())
    given = call.tensor()
    before = call.shape(given)
    wanted = call.numbers("shape", 1)
    if wanted == [-1] and given.flattened is None:
        return replace(given, part=ROW)
    if not wanted or (0 in wanted and call.attribute("allowzero", 0)):
        raise call.refusal(f"the shape {wanted}")
    after = [before[axis] if size == 0 and axis < len(before) else size for axis, size in enumerate(wanted)]
    if after[0] not in (1, -1, BATCH):
        raise call.refusal(f"the shape {wanted}, which mixes images")
    within = after[1:]
    if within.count(-1) == 1:
        known = math.prod(size for size in within if size != -1)
        within[within.index(-1)] = math.prod(before) // known if known else 0
    return shaped(call, given, tuple(within))


def read_squeeze(call: Call) -> Value:
    """Squeeze, of axes that are named."""
    given = call.inputs[0]
    if not isinstance(given, Tensor):
        axes = call.numbers("axes", 1)
        return np.squeeze(call.constant(0), None if axes is None else tuple(axes))
    shape = call.shape(call.tensor())
    axes = [call.axis(axis, len(shape)) for axis in call.numbers("axes", 1) or []]
    if not axes or 0 in axes or any(shape[axis] != 1 for axis in axes):
        raise call.refusal(f"the axes {axes} of a tensor of shape {shape}")
    return shaped(call, call.tensor(), tuple(size for axis, size in enumerate(shape) if axis and axis not in axes))


def read_unsqueeze(call: Call) -> Value:
    """Unsqueeze."""
    given, axes = call.inputs[0], call.numbers("axes", 1)
    if not axes:
        raise call.refusal("no axes")
    if not isinstance(given, Tensor):
        return np.expand_dims(call.constant(0, per_image=True), tuple(axes))
    shape = list(call.shape(call.tensor()))
    places = sorted(call.axis(axis, len(shape) + len(axes)) for axis in axes)
    if 0 in places:
        raise call.refusal("an axis before that of the images")
    for axis in places:
        shape.insert(axis, 1)
    return shaped(call, call.tensor(), tuple(shape[1:]))


def shaped(call: Call, given: Tensor, shape: tuple[int, ...]) -> Tensor:
    """A tensor in another shape, as the file sees it, without the batch."""
    before = call.shape(given)[1:]
    if math.prod(before) != math.prod(shape):
        raise ValueError(f"{before} cannot take the shape {shape}")
    if shape == before:
        return call.emit(Identity(), [given])
    if len(shape) == 1:
        return _as_vector(call, given)
    if given.flattened is not None:
        raise call.refusal("a flattened image as its input")
    if given.axes == tuple(range(given.rank)) and not (len(shape) == 3 and shape[1:] == (1, 1)):
        return call.emit(Reshape(shape), [given], axes=tuple(range(len(shape) + 1)))
    if len(shape) == 3 and math.prod(shape[1:]) == 1 and math.prod(before) == shape[0]:
        return call.emit(Reshape((1, 1, shape[0])), [given], axes=NCHW)
    raise call.refusal(f"the shape {shape} for a tensor of {before}")


def _as_vector(call: Call, given: Tensor) -> Tensor:
    shape = call.shape(given)[1:]
    node = call.nodes.made[given.name]
    if len(shape) == 1:
        return call.emit(Identity(), [given])
    if isinstance(node.op, GlobalAveragePool | GlobalMaxPool):
        return call.emit(type(node.op)(), [replace(given, name=node.inputs[0])], axes=(0, 1))
    if given.axes == NCHW and math.prod(shape[1:]) > 1:
        return call.emit(Flatten(), [given], axes=(0, 1), flattened=shape)
    if given.axes not in (NCHW, tuple(range(given.rank))):
        raise call.refusal("an input with its axes in another order")
    return call.emit(Flatten(), [given], axes=(0, 1))
