"""Check a TFLite file: the file itself is read, whoever wrote it.

Each rule is a function from a file to what breaks it, pairs of a place and a sentence. :data:`RULES` lists them all.
They are the TFLite 8-bit specification (https://ai.google.dev/edge/litert/models/quantization_spec) and what makes
INT8 pay: everything integer between the first QUANTIZE and the last DEQUANTIZE, weights per channel.
"""

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgex.lint.finding import Finding
from edgex.lint.scales import bad_scale
from edgex.lint.tflite_file import FileOperator, FileTensor, TfliteFile, read_tflite_file

CHANNEL_AXES = {"CONV_2D": 0, "DEPTHWISE_CONV_2D": 3, "FULLY_CONNECTED": 0}
"""Products, and the axis of their weights that counts output channels."""

WEIGHTED = (*CHANNEL_AXES, "TRANSPOSE_CONV")
"""Operators that belong in INT8 wherever they stand; others may follow the last DEQUANTIZE, as a softmax does."""

CONVERSIONS = ("QUANTIZE", "DEQUANTIZE")

TIED = (
    "AVERAGE_POOL_2D",
    "CONCATENATION",
    "MAX_POOL_2D",
    "PAD",
    "PADV2",
    "REDUCE_MAX",
    "RESHAPE",
    "RESIZE_BILINEAR",
    "RESIZE_NEAREST_NEIGHBOR",
    "SLICE",
    "STRIDED_SLICE",
    "TRANSPOSE",
)
"""Operators whose kernels move integers without rescaling them."""

QUANTIZABLE = ("INT8", "UINT8", "INT16", "INT4")
FLOAT = ("FLOAT32", "FLOAT16")

BIAS_TOLERANCE = 1e-6
"""Relative; float32 multiplies to 6e-8."""

Breach = tuple[str, str]
"""Where, and what is wrong there."""


@dataclass(frozen=True)
class Subject:
    """What is checked."""

    file: TfliteFile
    allow_float: re.Pattern[str] | None

    def is_excused(self, operator: FileOperator) -> bool:
        """Whether the user left this operator in float.

        Up to two words that edgex adds to a name, as in ``name.float.sigmoid``, may be there or not. Where an
        activation runs inside an operator, only the weights still carry the operator's own name.
        """
        if self.allow_float is None:
            return False
        names = {tensor.name for tensor in (*operator.inputs[1:], *operator.outputs) if tensor is not None}
        return any(self.allow_float.search(name.rsplit(".", added)[0]) for name in names for added in range(3))

    @cached_property
    def integer_products(self) -> tuple[tuple[FileOperator, FileTensor, FileTensor], ...]:
        """Products that read integers, with what they read and their weights; dense layers only with those of 4 bits,
        because with 8 bits one scale for all channels does."""
        found = []
        for operator in self.file.operators:
            if operator.code in CHANNEL_AXES:
                x, weights = operator.inputs[:2]
                if x is None or weights is None or x.type not in QUANTIZABLE:
                    continue
                if operator.code != "FULLY_CONNECTED" or weights.type == "INT4":
                    found.append((operator, x, weights))
        return tuple(found)

    @cached_property
    def activations(self) -> tuple[FileTensor, ...]:
        """Tensors of integers that are quantized and computed."""
        return tuple(tensor for tensor in self.file.tensors if tensor.type in QUANTIZABLE and not tensor.is_constant)


def body_integer(subject: Subject) -> Iterator[Breach]:
    """No operator with weights runs in float in a quantized file, and none of any kind between quantized tensors."""
    behind, ahead = _behind_integers(subject), _ahead_of_integers(subject)
    for operator in subject.file.operators:
        in_float = any(tensor.type in FLOAT for tensor in operator.activations)
        if not subject.activations or not in_float or operator.code in CONVERSIONS or subject.is_excused(operator):
            continue
        if operator.code in WEIGHTED:
            yield operator.name, f"{operator.code} runs in float"
        elif behind.intersection(operator.activations) and ahead.intersection(operator.outputs):
            yield operator.name, f"{operator.code} runs in float between quantized tensors"


def io_types(subject: Subject) -> Iterator[Breach]:
    """Inputs and outputs are float32 or int8."""
    for tensor in (*subject.file.inputs, *subject.file.outputs):
        if tensor.type not in ("FLOAT32", "INT8"):
            yield tensor.name, f"an input or output is {tensor.type}"


def constants_finite(subject: Subject) -> Iterator[Breach]:
    """Constants hold no NaN, and none but single numbers, which are limits, is infinite."""
    for tensor in subject.file.tensors:
        if not tensor.is_finite:
            yield tensor.name, "it holds NaN or infinity"


def scales_positive(subject: Subject) -> Iterator[Breach]:
    """All scales are finite, greater than 0 and not subnormal."""
    for tensor in subject.file.tensors:
        if fault := bad_scale(tensor.scales):
            yield tensor.name, fault


def activations_int8(subject: Subject) -> Iterator[Breach]:
    """Integer activations are int8, with one scale and one zero point each."""
    for tensor in subject.activations:
        if tensor.type != "INT8":
            yield tensor.name, f"it is {tensor.type}"
        elif (tensor.scales.size, tensor.zero_points.size) != (1, 1):
            yield tensor.name, f"it has {tensor.scales.size} scales and {tensor.zero_points.size} zero points"
        elif not -128 <= tensor.zero_points[0] <= 127:
            yield tensor.name, f"its zero point is {tensor.zero_points[0]}"


def weights_int8(subject: Subject) -> Iterator[Breach]:
    """Weights are int8, or INT4 where XNNPACK takes it: in dense layers with an even number of inputs."""
    for operator, _, weights in subject.integer_products:
        if operator.code != "FULLY_CONNECTED":
            if weights.type != "INT8":
                yield operator.name, f"its weights are {weights.type}"
        elif weights.shape and weights.shape[-1] % 2:
            yield operator.name, f"its weights are INT4 for {weights.shape[-1]} inputs, an odd number"


def weights_per_channel(subject: Subject) -> Iterator[Breach]:
    """Weights have one scale for each output channel."""
    for operator, _, weights in subject.integer_products:
        axis = CHANNEL_AXES[operator.code]
        channels = weights.shape[axis] if len(weights.shape) > axis else 0
        if weights.scales.size != channels:
            yield operator.name, f"its weights have {weights.scales.size} scales for {channels} output channels"
        elif weights.axis != axis:
            yield operator.name, f"its weights are quantized along axis {weights.axis}, output channels are axis {axis}"


def weights_symmetric(subject: Subject) -> Iterator[Breach]:
    """The zero points of weights are 0."""
    for operator, _, weights in subject.integer_products:
        if weights.zero_points.any():
            yield operator.name, "its weights have zero points other than 0"


def bias_scale(subject: Subject) -> Iterator[Breach]:
    """There is an int32 bias, at the scale of the input times that of the weights; interpreters crash without one."""
    for operator, x, weights in subject.integer_products:
        bias = operator.inputs[2] if len(operator.inputs) > 2 else None
        if bias is None:
            yield operator.name, "it has no bias"
        elif bias.type != "INT32" or bias.zero_points.any():
            yield operator.name, f"its bias is {bias.type}, or has a zero point"
        elif x.scales.size == 1 and not _equal(bias.scales, _product(x, weights), BIAS_TOLERANCE):
            yield operator.name, "its bias has not the scale of the input times that of the weights"


def ties_kept(subject: Subject) -> Iterator[Breach]:
    """What an operator only moves keeps scale and zero point."""
    for operator in subject.file.operators:
        if operator.code not in TIED:
            continue
        made = operator.outputs[0]
        for tensor in operator.activations:
            if tensor.type not in QUANTIZABLE:
                continue
            if not (_equal(tensor.scales, made.scales) and _equal(tensor.zero_points, made.zero_points)):
                yield operator.name, f"{operator.code} reads {tensor.name} with another scale or zero point"


Rule = Callable[[Subject], Iterator[Breach]]

RULES: tuple[Rule, ...] = (
    body_integer,
    io_types,
    constants_finite,
    scales_positive,
    activations_int8,
    weights_int8,
    weights_per_channel,
    weights_symmetric,
    bias_scale,
    ties_kept,
)


def lint_tflite(path: Path, *, allow_float: re.Pattern[str] | None = None) -> list[Finding]:
    """Everything in the file at ``path`` that breaks a rule, rule by rule. In a float file only constants can.

    Args:
        allow_float: finds the names of nodes that the user left in float, as ``--keep-float`` does.

    Raises:
        OutputError: the file cannot be read.
        ModelError: it is no TFLite model, is damaged, or has more than one subgraph.
    """
    subject = Subject(read_tflite_file(path), allow_float)
    return [
        Finding(rule.__name__.replace("_", "-"), where, message) for rule in RULES for where, message in rule(subject)
    ]


def _behind_integers(subject: Subject) -> set[FileTensor]:
    """Tensors that are integers or computed from some."""
    behind = set(subject.activations)
    for operator in subject.file.operators:
        if behind.intersection(operator.inputs):
            behind.update(operator.outputs)
    return behind


def _ahead_of_integers(subject: Subject) -> set[FileTensor]:
    """Tensors that are integers or that some are computed from."""
    ahead = set(subject.activations)
    for operator in reversed(subject.file.operators):
        if ahead.intersection(operator.outputs):
            ahead.update(tensor for tensor in operator.inputs if tensor is not None)
    return ahead


def _product(one: FileTensor, other: FileTensor) -> NDArray[np.float32]:
    """Of their scales, which in a damaged file can be anything."""
    with np.errstate(all="ignore"):
        return one.scales * other.scales


def _equal(one: NDArray[Any], other: NDArray[Any], tolerance: float = 0.0) -> bool:
    return one.shape == other.shape and np.allclose(one, other, rtol=tolerance, atol=0.0, equal_nan=True)
