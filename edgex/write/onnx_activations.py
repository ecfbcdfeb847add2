"""Activation functions in ONNX, from operators that every opset since 13 has."""

from collections.abc import Callable
from typing import Any

from edgex.graph.ir import ActivationFunction


def write_activation(
    emit: Callable[..., str], constant: Callable[[str, Any], str], function: ActivationFunction, x: str, out: str
) -> str:
    """Emit ``out = function(x)``; returns ``out``.

    Args:
        emit: emits a node, from operator, inputs, output and attributes.
        constant: makes a float constant, from name and value.
    """
    match function:
        case "sigmoid" | "tanh" | "softplus":
            return emit(function.capitalize(), [x], out)
        case "hard_sigmoid":
            return emit("HardSigmoid", [x], out, alpha=1 / 6, beta=0.5)
        case "silu":
            return emit("Mul", [x, emit("Sigmoid", [x], f"{out}.gate")], out)
        case "hard_silu":
            return emit("Mul", [x, emit("HardSigmoid", [x], f"{out}.gate", alpha=1 / 6, beta=0.5)], out)
        case "gelu":
            # Gelu is an operator only from opset 20 on: x / 2 * (1 + erf(x / sqrt 2))
            scaled = emit("Mul", [x, constant(f"{out}.rsqrt2", 0.5**0.5)], f"{out}.scaled")
            gate = emit("Add", [emit("Erf", [scaled], f"{out}.erf"), constant(f"{out}.one", 1.0)], f"{out}.gate")
            return emit("Mul", [emit("Mul", [x, constant(f"{out}.half", 0.5)], f"{out}.halved"), gate], out)
