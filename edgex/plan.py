"""The quantization plan: for each tensor its range, for each node its precision.

PTQ makes one by calibrating, QAT by training; writers turn a float graph and a plan into a file. The arithmetic that
turns a range into a scale and a zero point is here and nowhere else, so that the formats agree with each other.

Quantization is affine, ``real = scale * (q - zero_point)`` (Jacob et al. 2018, arXiv:1712.05877), in 8 bits:

==========  ===============  ===========================  =========================================
scheme      activations      zero point                   why
==========  ===============  ===========================  =========================================
asymmetric  -128…127         any                          all 256 levels after a ReLU
symmetric   -127…127         0                            what TensorRT takes; narrow, as QAT trains
==========  ===============  ===========================  =========================================

Formats that store unsigned bytes add 128 to both. Weights are symmetric and narrow, per output channel, always, in 8
bits or in 4. Their scale is the largest magnitude of a channel over the levels of one side, so it needs no place in the
plan: who wants a smaller scale clips the kernel, who wants other roundings puts the kernel on the grid.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, NamedTuple, get_args

import numpy as np
from numpy.typing import NDArray

from edgex.documents import parse_json, read_text
from edgex.errors import ModelError, UsageError
from edgex.graph.ir import (
    Array,
    AveragePool2D,
    Concat,
    Crop,
    Flatten,
    GlobalMaxPool,
    MaxPool2D,
    Pad,
    Reshape,
    Resize,
)

Scheme = Literal["asymmetric", "symmetric"]
Precision = Literal["int8", "float"]
WeightBits = Literal[4, 8]

PLAN_SCHEMA = "edgex.plan/1"
SMALLEST_SCALE = np.float32(1e-10)
"""Below this a scale says that the tensor is constant zero; it keeps scales normal, positive and invertible, and so is
the product of two, which is the scale of a bias."""

LARGEST_FLOAT = float(np.finfo(np.float32).max)

REPAIR = "Write it anew with edgex quantize."

TIED_OPS = (MaxPool2D, AveragePool2D, GlobalMaxPool, Pad, Crop, Resize, Flatten, Reshape, Concat)
"""Operations that only move, compare or average bytes, so that inputs and output must share one scale (TFLite's
quantization specification, https://ai.google.dev/edge/litert/models/quantization_spec)."""

BIAS_LIMIT = 2.0**30
"""Largest magnitude of an int32 bias, leaving a bit for the accumulator it is added to."""


class Range(NamedTuple):
    """Smallest and largest real value that must be represented; always spans zero."""

    low: float
    high: float

    def union(self, other: "Range") -> "Range":
        return Range(min(self.low, other.low), max(self.high, other.high))


class QuantizationParameters(NamedTuple):
    """Of one activation tensor, for signed bytes."""

    scale: np.float32
    zero_point: int


class QuantizedKernel(NamedTuple):
    """Weights of one node.

    Attributes:
        values: in the kernel's own layout; of 4 bits too, in the lower half of a byte.
        scales: (out,)
        bias: (out,), at the scale of the input times ``scales``.
    """

    values: NDArray[np.int8]
    scales: NDArray[np.float32]
    bias: NDArray[np.int32]


@dataclass(frozen=True)
class QuantizationPlan:
    """What to quantize and how; see the module docstring.

    Attributes:
        scheme: of all activations.
        ranges: tensor name → range, for every tensor that is stored in 8 bits. Tied tensors have equal ranges.
        precisions: node name → precision, for every node that is not an input.
        ties: groups of tensors that formats force to share one scale.
        calibration: how the ranges came about (method, count, seed, odd images); for people and for the record.
        weight_bits: of the weights of every node that runs in INT8.
    """

    scheme: Scheme
    ranges: Mapping[str, Range]
    precisions: Mapping[str, Precision]
    ties: tuple[tuple[str, ...], ...] = ()
    calibration: Mapping[str, Any] = field(default_factory=dict)
    weight_bits: WeightBits = 8

    def parameters(self, tensor: str) -> QuantizationParameters:
        """Scale and zero point of a tensor for signed bytes. KeyError if the plan leaves it in float."""
        return quantization_parameters(self.ranges[tensor], self.scheme)

    def is_int8(self, node: str) -> bool:
        return self.precisions.get(node) == "int8"

    @property
    def kept_float(self) -> tuple[str, ...]:
        """Nodes with weights or arithmetic that stay in float."""
        return tuple(name for name, precision in self.precisions.items() if precision == "float")

    def to_json(self) -> str:
        """Deterministic JSON; floats round-trip exactly."""
        document = {
            "schema": PLAN_SCHEMA,
            "scheme": self.scheme,
            "weight_bits": self.weight_bits,
            "calibration": dict(self.calibration),
            "ranges": {name: list(span) for name, span in self.ranges.items()},
            "precisions": dict(self.precisions),
            "ties": [list(group) for group in self.ties],
        }
        return json.dumps(document, indent=1) + "\n"

    @classmethod
    def from_json(cls, text: str, source: str = "plan.json") -> "QuantizationPlan":
        """The inverse of :meth:`to_json`.

        Raises:
            UsageError: not a plan, or a range is none of float32 that spans zero.
        """
        try:
            document = parse_json(text)
            if document["schema"] != PLAN_SCHEMA:
                raise UsageError(f"{source} has the schema {document['schema']!r}, not {PLAN_SCHEMA!r}.", fix=REPAIR)
            ranges = {str(name): Range(float(low), float(high)) for name, (low, high) in document["ranges"].items()}
            precisions, calibration = dict(document["precisions"].items()), dict(document["calibration"].items())
            if not set(precisions.values()) <= set(get_args(Precision)):
                raise ValueError(f"a precision is not one of {', '.join(get_args(Precision))}")
            if not isinstance(calibration.get("equalized", []), list):
                raise ValueError("its equalized tensors are no list")
            plan = cls(
                scheme=document["scheme"],
                ranges=ranges,
                precisions=precisions,
                ties=tuple(tuple(group) for group in document["ties"]),
                calibration=calibration,
                weight_bits=document.get("weight_bits", 8),  # earlier plans do not say
            )
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise UsageError(f"{source} is not a quantization plan: {error}.", fix=REPAIR) from error
        if plan.scheme not in get_args(Scheme):
            raise UsageError(f"{source} names the unknown scheme {plan.scheme!r}.", fix=REPAIR)
        if plan.weight_bits not in get_args(WeightBits):
            raise UsageError(f"{source} has weights of {plan.weight_bits!r} bits.", fix=REPAIR)
        bad = [name for name, (low, high) in ranges.items() if not -LARGEST_FLOAT <= low <= 0 <= high <= LARGEST_FLOAT]
        if bad:
            raise UsageError(
                f"{source} has ranges that are too large or do not span zero: {', '.join(bad)}.", fix=REPAIR
            )
        return plan


def read_plan(file: Path) -> QuantizationPlan:
    """The plan in a file. UsageError if it cannot be read, and as of :meth:`QuantizationPlan.from_json`."""
    try:
        text = read_text(file)
    except (OSError, ValueError) as error:
        raise UsageError(f"{file} cannot be read: {error}.", fix=REPAIR) from error
    return QuantizationPlan.from_json(text, str(file))


def quantization_parameters(span: Range, scheme: Scheme) -> QuantizationParameters:
    """Scale and zero point for signed bytes that represent ``span``, with zero exact."""
    if scheme == "symmetric":
        scale = np.float32(max(-span.low, span.high) / 127.0)
        return QuantizationParameters(max(scale, SMALLEST_SCALE), 0)
    scale = max(np.float32((span.high - span.low) / 255.0), SMALLEST_SCALE)
    zero_point = int(np.clip(np.rint(-128.0 - span.low / float(scale)), -128, 127))
    return QuantizationParameters(scale, zero_point)


def weight_levels(bits: WeightBits) -> int:
    """The largest quantized weight; the smallest is its negative."""
    return int(2 ** (bits - 1)) - 1


def quantize_kernel(
    kernel: Array, axes: tuple[int, ...], bias: Array | None, input_scale: np.float32, bits: WeightBits = 8
) -> QuantizedKernel:
    """Quantize weights symmetrically per output channel, -127…127 or -7…7, and the bias to match.

    Args:
        kernel: in any layout.
        axes: the axes that together count output channels, in order; (3,) for a convolution in Keras' layout,
            (2, 3) for a depthwise one.
        bias: (out,) or None for zeros.
        input_scale: scale of the activation that the kernel reads.
        bits: of a weight.

    A channel of zeros, or one whose bias dwarfs its weights, gets a scale large enough for its int32 bias.

    Raises:
        ModelError: a bias is so large that its channel would need an infinite scale.
    """
    reduced = tuple(axis for axis in range(kernel.ndim) if axis not in axes)
    largest = np.abs(kernel).max(axis=reduced, keepdims=True)
    real_bias = np.zeros(largest.size, np.float32) if bias is None else bias
    floor = np.abs(real_bias).astype(np.float64) / (float(input_scale) * BIAS_LIMIT)
    if floor.max() > LARGEST_FLOAT:
        raise ModelError(
            f"A bias of {np.abs(real_bias).max():g} cannot be quantized beside an input in steps of {input_scale:g}.",
            fix="Keep its layer in float: --keep-float.",
        )
    levels = weight_levels(bits)
    scales = np.maximum(largest / np.float32(levels), SMALLEST_SCALE)
    scales = np.maximum(scales, floor.astype(np.float32).reshape(scales.shape))
    values = np.clip(np.rint(kernel / scales), -levels, levels).astype(np.int8)
    flat = scales.reshape(-1).astype(np.float32)
    integer_bias = np.rint(real_bias / (flat.astype(np.float64) * float(input_scale)))
    return QuantizedKernel(values, flat, integer_bias.astype(np.int32))
