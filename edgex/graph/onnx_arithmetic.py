"""Sums and products of ONNX, and the functions that exporters write out in them.

Their parts are tensors that stand for what came so far: ``erf`` and the sums and products with it on the way to GELU,
``x / 2 * (1 + erf(x / sqrt 2))``.
"""

import math
from collections.abc import Mapping
from dataclasses import replace

import numpy as np

from edgex.graph.ir import (
    Activation,
    ActivationFunction,
    Add,
    Affine,
    Array,
    Identity,
    LeakyRelu,
    Multiply,
    Node,
    Op,
    Relu,
)
from edgex.graph.onnx_call import Call, Tensor

ERF, GATE, TWICE = "erf(x / sqrt 2)", "1 + erf(x / sqrt 2)", "x * (1 + erf(x / sqrt 2))"
"""Parts of GELU."""

ABOVE = "whether x is large"
"""A part of softplus as PyTorch has it."""

IDENTICAL_FROM = 17.0
"""From here on softplus(x) is x in float32: it is more by exp(-x), less than half of the last place."""

CLOSE = 1e-5
"""Constants of functions, such as the root of two, are written in so many digits at least."""

GATES: Mapping[str, ActivationFunction] = {"sigmoid": "silu", "hard_sigmoid": "hard_silu"}
"""What a tensor times this function of itself is."""


MOST_OFFSET = 1024.0
"""Of a bound that is added and taken off again: in float32 that costs a value of 1 the places below 6e-5."""


def read_add(call: Call) -> Tensor:
    """Add, Sum: of tensors, or of a tensor and a constant."""
    tensor, constant = _operands(call)
    if len(call.inputs) == 1:
        return call.emit(Identity(), [tensor])
    if constant is None:
        return call.emit(Add(), _alike(call))
    if tensor.part == ERF and np.all(constant == 1):
        return replace(tensor, part=GATE)
    return _affine(call, call.tensor(_position(call, tensor)), np.ones(1, np.float32), constant)


def read_multiply(call: Call) -> Tensor:
    """Mul: of tensors, or of a tensor and a constant; the end of functions that exporters write out."""
    tensor, constant = _operands(call)
    if constant is not None:
        if tensor.part == TWICE and np.allclose(constant, 0.5):
            return call.emit(Activation("gelu"), [replace(tensor, part="")], part="")
        return _affine(call, call.tensor(_position(call, tensor)), constant, np.zeros(1, np.float32))
    for gate, value in ((0, 1), (1, 0)):
        done = _gated(call, gate, value)
        if done is not None:
            return done
    return call.emit(Multiply(), _alike(call))


def read_subtract(call: Call) -> Tensor:
    """Sub: of two tensors, or of a tensor and a constant."""
    tensor, constant = _operands(call)
    if constant is None:
        first, second = _alike(call)
        return call.emit(Add(), [first, _add(call, "negated", Affine(), second, **_uniform(call, second, -1.0, 0.0))])
    one = np.ones(1, np.float32)
    if _position(call, tensor) == 0:
        return _affine(call, call.tensor(), one, -constant)
    return _affine(call, call.tensor(1), -one, constant)


def read_divide(call: Call) -> Tensor:
    """Div, by a constant."""
    with np.errstate(divide="ignore", over="ignore", invalid="ignore"):
        return _affine(call, call.tensor(), np.reciprocal(call.weights(1)), np.zeros(1, np.float32))


def read_negative(call: Call) -> Tensor:
    """Neg."""
    return _affine(call, call.tensor(), -np.ones(1, np.float32), np.zeros(1, np.float32))


def read_clip(call: Call) -> Tensor:
    """Clip: a ReLU where it begins at 0, else one between two offsets: ``low + relu(x - low)``, with a top.

    Without a lower bound it is ``high - relu(high - x)``.
    """
    low, high = (
        float(call.constant(position).item()) if call.has(position) else call.attribute(key, default)
        for position, key, default in ((1, "min", -math.inf), (2, "max", math.inf))
    )
    largest = float(np.finfo(np.float32).max)
    below, above = low > -largest, high < largest  # whether it is bounded there
    factor, edge = (1.0, low) if below else (-1.0, high)
    if not high > low or (abs(edge) > MOST_OFFSET and (below or above)):
        raise call.refusal(f"bounds of {low:g} and {high:g}")
    if not below and not above:
        return call.emit(Identity(), [call.tensor()])
    top = high - low if below and above else None
    if low == 0:
        return call.emit(Relu(top), [call.tensor()])
    given = call.whole()
    raised = _add(call, "raised", Affine(), given, **_uniform(call, given, factor, -factor * edge))
    clipped = _add(call, "clipped", Relu(top), raised)
    return call.emit(Affine(), [clipped], _uniform(call, given, factor, edge))


def read_parametric_relu(call: Call) -> Tensor:
    """PRelu, with one slope, or one for each channel: ``slope * x + (1 - slope) * relu(x)``."""
    given = call.whole()
    slopes = _per_channel(call, given, call.weights(1))
    if np.all(slopes == slopes[0]):
        return call.emit(LeakyRelu(float(slopes[0])), [given])
    zero = np.zeros_like(slopes)
    rest = _add(call, "rest", Affine(), _add(call, "relu", Relu(), given), scale=1 - slopes, offset=zero)
    sloping = _add(call, "sloping", Affine(), given, scale=slopes, offset=zero)
    return call.emit(Add(), [sloping, rest])


def read_mish(call: Call) -> Tensor:
    """Mish: ``x * tanh(softplus(x))``."""
    given = call.whole()
    softplus = _add(call, "softplus", Activation("softplus"), given)
    return call.emit(Multiply(), [given, _add(call, "tanh", Activation("tanh"), softplus)])


def read_greater(call: Call) -> Tensor:
    """Greater, a part of softplus."""
    tensor, bound = call.tensor(), call.constant(1)
    if np.any(bound < IDENTICAL_FROM):
        raise call.refusal("a use other than softplus")
    return replace(tensor, part=ABOVE)


def read_where(call: Call) -> Tensor:
    """Where: of softplus itself, and what it is where it is the same anyway."""
    condition, above, below = (call.inputs[position] if call.has(position) else None for position in range(3))
    if (
        isinstance(condition, Tensor)
        and isinstance(below, Tensor)
        and condition.part == ABOVE
        and not below.part
        and above == replace(condition, part="")
        and call.nodes.made[below.name].op == Activation("softplus")
        and call.nodes.made[below.name].inputs == (condition.name,)
    ):
        return below
    raise call.refusal("a use other than softplus")


def read_erf(call: Call) -> Tensor:
    """Erf, a part of GELU."""
    scaled = call.tensor()
    node = call.nodes.made[scaled.name]
    if not _is_affine(node, scale=math.sqrt(0.5)):
        raise call.refusal("a use other than GELU")
    return replace(scaled, name=node.inputs[0], part=ERF)


def _gated(call: Call, gate: int, value: int) -> Tensor | None:
    """The product of a tensor and a function of it, where that is a function by itself."""
    gated, given = call.inputs[gate], call.inputs[value]
    assert isinstance(gated, Tensor)
    assert isinstance(given, Tensor)
    if gated.axes != given.axes:
        return None
    if gated.part == GATE and not given.part:
        if given.name == gated.name:
            return replace(gated, part=TWICE)
        node = call.nodes.made[given.name]
        if _is_affine(node, scale=0.5) and node.inputs == (gated.name,):
            return call.emit(Activation("gelu"), [replace(gated, part="")])
    if not gated.part and not given.part and call.nodes.made[gated.name].inputs == (given.name,):
        op = call.nodes.made[gated.name].op
        if isinstance(op, Activation) and op.function in GATES:
            return call.emit(Activation(GATES[op.function]), [given])
    return None


def _is_affine(node: Node, scale: float = 1.0, offset: float = 0.0) -> bool:
    """Whether a node does this, the same in all channels."""
    wanted = {"scale": scale, "offset": offset}
    return isinstance(node.op, Affine) and all(
        np.allclose(node.params[key], value, rtol=CLOSE, atol=0) for key, value in wanted.items()
    )


def _affine(call: Call, tensor: Tensor, scale: Array, offset: Array) -> Tensor:
    """``tensor * scale + offset``; one that follows a factor alone becomes one with it."""
    if tensor.flattened is not None:
        raise call.refusal("a flattened image as its input")
    factors, offsets = (_per_channel(call, tensor, values) for values in (scale, offset))
    node = call.nodes.made[tensor.name]
    read = tensor
    if isinstance(node.op, Affine) and not node.params["offset"].any() and np.all(factors == 1):
        factors, read = node.params["scale"], replace(tensor, name=node.inputs[0])
    return call.emit(Affine(), [read], {"scale": factors, "offset": offsets})


def _alike(call: Call) -> list[Tensor]:
    """The tensors that it reads, whose axes are in one order."""
    tensors = [call.whole(position) for position in range(len(call.inputs))]
    if len({tensor.axes for tensor in tensors}) > 1:
        raise call.refusal("inputs with their axes in different orders")
    return tensors


def _add(call: Call, suffix: str, op: Op, read: Tensor, **params: Array) -> Tensor:
    """A node before the one that the file has, of the same shape as what it reads."""
    name = f"{call.name}.{suffix}"
    call.nodes.append(Node(name, op, (read.name,), params))
    return replace(read, name=name)


def _uniform(call: Call, tensor: Tensor, scale: float, offset: float) -> Mapping[str, Array]:
    """The weights of an Affine that does the same to all channels."""
    channels = call.nodes.shapes[tensor.name][-1]
    return {key: np.full(channels, value, np.float32) for key, value in (("scale", scale), ("offset", offset))}


def _operands(call: Call) -> tuple[Tensor, Array | None]:
    """The first tensor, and the constant beside it if there is one."""
    if not call.inputs:
        raise call.refusal("no input")
    positions = [position for position, value in enumerate(call.inputs) if isinstance(value, Tensor)]
    if not positions:
        raise call.refusal("constants alone")
    tensor = call.inputs[positions[0]]
    assert isinstance(tensor, Tensor)
    if len(positions) == len(call.inputs):
        return tensor, None
    if len(call.inputs) != 2:
        raise call.refusal("constants among more than two inputs")
    return tensor, call.weights(1 - positions[0])


def _position(call: Call, tensor: Tensor) -> int:
    return next(position for position, value in enumerate(call.inputs) if value is tensor)


def _per_channel(call: Call, tensor: Tensor, values: Array) -> Array:
    """A constant that is broadcast, as one number for each channel."""
    if values.ndim > tensor.rank:
        raise call.refusal(f"a constant of shape {values.shape}")
    shape = (1,) * (tensor.rank - values.ndim) + values.shape
    if any(size != 1 and axis != tensor.rank - 1 for size, axis in zip(shape, tensor.axes, strict=True)):
        raise call.refusal(f"a constant of shape {values.shape}, other than one number or one for each channel")
    return np.broadcast_to(values.reshape(-1), call.nodes.shapes[tensor.name][-1])
