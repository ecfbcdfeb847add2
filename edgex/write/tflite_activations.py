"""Activations as TFLite operators, in float and, where the format has them, in INT8."""

from collections.abc import Sequence

import numpy as np

from edgex.graph.ir import Activation, ActivationFunction, Elu, LeakyRelu, Op, Relu
from edgex.write.tflite_schema import ModelBuilder, Tensor

FUSED_ACTIVATIONS: dict[Op | None, int] = {None: 0, Relu(): 1, Relu(6.0): 3}
"""What can run inside an operator, and its number in the schema's ``ActivationFunctionType``."""

ACTIVATION_OPERATORS: dict[ActivationFunction, str] = {
    "sigmoid": "LOGISTIC",
    "tanh": "TANH",
    "hard_silu": "HARD_SWISH",
    "gelu": "GELU",
}
"""Functions that are one operator; the others are composed."""


def write_activation(model: ModelBuilder, op: Relu | LeakyRelu | Elu | Activation, x: Tensor, output: Tensor) -> None:
    """Write ``output = op(x)``, for an activation that runs inside no other operator."""
    match op:
        case Relu(max_value):
            _relu(model, x, output, max_value)
        case LeakyRelu(slope):
            model.operator("LEAKY_RELU", [x], output, alpha=slope)
        case Elu(1.0):
            model.operator("ELU", [x], output)
        case Elu(alpha):
            _elu(model, x, output, alpha)
        case Activation("silu"):
            _silu(model, x, output)
        case Activation("hard_sigmoid"):
            _hard_sigmoid(model, x, output)
        case Activation("softplus"):
            _softplus(model, x, output)
        case Activation(function):
            model.operator(ACTIVATION_OPERATORS[function], [x], output)


def _relu(model: ModelBuilder, x: Tensor, output: Tensor, max_value: float | None) -> None:
    """An activation that runs in no operator of the graph.

    In INT8 it runs in a sum with zero: XNNPACK has no INT8 RELU, and the loop that stands in for it makes the 11 of an
    Xception cost as much as all its convolutions.
    """
    if max_value is not None and max_value != 6.0:
        positive = model.activation(f"{output.name}.positive", output.shape, output.quantization)
        _relu(model, x, positive, None)
        model.operator("MINIMUM", [positive, scalar(model, f"{output.name}.max", max_value, output)], output)
    elif x.quantization is None:
        model.operator("RELU" if max_value is None else "RELU6", [x], output)
    else:
        zero = scalar(model, f"{output.name}.zero", 0.0, x)
        model.operator("ADD", [x, zero], output, fusedActivationFunction=FUSED_ACTIVATIONS[Relu(max_value)])


def _elu(model: ModelBuilder, x: Tensor, output: Tensor, alpha: float) -> None:
    """alpha * elu(x) + (1 - alpha) * relu(x), because the operator knows only the alpha of 1."""
    parts = []
    for code, share in (("ELU", alpha), ("RELU", 1.0 - alpha)):
        part, scaled = (
            model.activation(f"{output.name}.{code.lower()}{suffix}", output.shape) for suffix in ("", "_scaled")
        )
        model.operator(code, [x], part)
        model.operator("MUL", [part, scalar(model, f"{output.name}.{code.lower()}_share", share, x)], scaled)
        parts.append(scaled)
    model.operator("ADD", parts, output)


def _silu(model: ModelBuilder, x: Tensor, output: Tensor) -> None:
    gate = model.activation(f"{output.name}.sigmoid", output.shape)
    model.operator("LOGISTIC", [x], gate)
    model.operator("MUL", [x, gate], output)


def _hard_sigmoid(model: ModelBuilder, x: Tensor, output: Tensor) -> None:
    """relu6(x + 3) / 6."""
    clipped = model.activation(f"{output.name}.relu6", output.shape)
    offset = scalar(model, f"{output.name}.three", 3.0, x)
    model.operator("ADD", [x, offset], clipped, fusedActivationFunction=FUSED_ACTIVATIONS[Relu(6.0)])
    model.operator("MUL", [clipped, scalar(model, f"{output.name}.sixth", 1 / 6, x)], output)


def _softplus(model: ModelBuilder, x: Tensor, output: Tensor) -> None:
    """log(1 + exp(x)) as relu(x) + log(1 + exp(-|x|)), in which nothing overflows."""

    def step(code: str, operands: Sequence[Tensor], made: str) -> Tensor:
        tensor = model.activation(f"{output.name}.{made}", output.shape)
        model.operator(code, operands, tensor)
        return tensor

    decay = step("EXP", [step("NEG", [step("ABS", [x], "abs")], "neg")], "exp")
    tail = step("LOG", [step("ADD", [decay, scalar(model, f"{output.name}.one", 1.0, x)], "sum")], "log")
    model.operator("ADD", [step("RELU", [x], "positive"), tail], output)


def scalar(model: ModelBuilder, name: str, value: float, like: Tensor) -> Tensor:
    """A constant in the precision of another tensor, with its scale and zero point."""
    if like.quantization is None:
        return model.constant(name, np.array(value, np.float32))
    scale, zero_point = like.quantization
    stored = np.clip(np.rint(value / float(scale)) + zero_point, -128, 127)
    return model.constant(name, stored.astype(np.int8), np.array([scale]), zero_point)
