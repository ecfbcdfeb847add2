"""Check an ONNX file against its target's rules: the file itself is read, whoever wrote it.

Each rule is a function from a file to what breaks it, pairs of a place and a sentence. :data:`RULES` lists them all.
The rules for Q/DQ are TensorRT's (developer guide, "Explicit Quantization") where the target is one of its, and those
under which ONNX Runtime fuses integer kernels everywhere.
"""

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from edgex.lint.finding import Finding
from edgex.lint.onnx_file import DEFAULT_DOMAINS, OnnxFile, Quantizer, label, read_onnx_file
from edgex.lint.scales import bad_scale
from edgex.target import TargetProfile

if TYPE_CHECKING:
    from onnx import NodeProto

PRODUCTS = ("Conv", "ConvTranspose", "Gemm", "MatMul")
"""Operators with weights, in input 1; all but MatMul may have a bias in input 2."""

SUMS = ("Add", "Sum")

COMMUTING = ("Flatten", "Identity", "MaxPool", "Reshape", "Squeeze", "Transpose", "Unsqueeze")
"""Operators that runtimes move a DequantizeLinear across: they do to bytes what they do to floats."""

FUSED_ACTIVATIONS = ("Clip", "Relu")

INT4_OPSET = 21
"""The first opset that has INT4."""

Breach = tuple[str, str]
"""Where, and what is wrong there."""


@dataclass(frozen=True)
class Subject:
    """What is checked, and against what."""

    file: OnnxFile
    target: TargetProfile
    allow_float: re.Pattern[str] | None

    def is_excused(self, node: "NodeProto") -> bool:
        """Whether the user left this node in float, by its name or that of the activation that runs inside it."""
        if self.allow_float is None:
            return False
        readers = self.file.readers.get(node.output[0], [])
        fused = [reader for reader in readers if len(readers) == 1 and reader.op_type in FUSED_ACTIVATIONS]
        # ".raw" is what our writer adds where a tensor is stored in 8 bits
        return any(self.allow_float.search(label(part).removesuffix(".raw")) for part in (node, *fused))

    def products(self) -> Iterator["NodeProto"]:
        return (node for node in self.file.nodes if node.op_type in PRODUCTS)

    def weights(self) -> Iterator[tuple["NodeProto", Quantizer]]:
        """Products with quantized weights, and how these are quantized."""
        for node in self.products():
            quantizer = self.file.dequantizer(node.input[1])
            if quantizer is not None and quantizer.of_constant:
                yield node, quantizer

    def biases(self) -> Iterator[tuple["NodeProto", Quantizer]]:
        """Products with a quantized bias, and how it is quantized."""
        for node in self.products():
            quantizer = self.file.dequantizer(node.input[2]) if len(node.input) > 2 else None
            if quantizer is not None:
                yield node, quantizer

    def activations(self) -> Iterator[Quantizer]:
        return (quantizer for quantizer in self.file.quantizers.values() if not quantizer.of_constant)


# Rules for every file


def opset_within_limit(subject: Subject) -> Iterator[Breach]:
    """The opset is one that the target reads."""
    limit = subject.target.onnx.opset_limit
    if limit is not None and subject.file.opset > limit:
        yield subject.file.path.name, f"its opset is {subject.file.opset}, {_named(subject.target)} reads {limit}"


def operators_supported(subject: Subject) -> Iterator[Breach]:
    """Every operator is of the default domain, and the target has it."""
    known = subject.target.onnx.operators
    for node in subject.file.nodes:
        if node.domain not in DEFAULT_DOMAINS:
            yield label(node), f"{node.op_type} is of the domain {node.domain}, not of ONNX itself"
        elif known is not None and node.op_type not in known:
            yield label(node), f"{_named(subject.target)} has no {node.op_type}"


def constants_finite(subject: Subject) -> Iterator[Breach]:
    """Constants hold no NaN, and none but single numbers, which are limits, is infinite."""
    from onnx import TensorProto

    floats = (TensorProto.FLOAT, TensorProto.FLOAT16, TensorProto.DOUBLE, TensorProto.BFLOAT16)
    scales = {quantizer.node.input[1] for quantizer in subject.file.quantizers.values()}  # have a rule of their own
    for name, tensor in subject.file.constants.items():
        values = subject.file.array(name) if tensor.data_type in floats and name not in scales else None
        if values is None:
            continue
        if np.isnan(values).any():
            yield name, "it holds NaN"
        elif values.size > 1 and np.isinf(values).any():
            yield name, "it holds infinity"


# Rules for files with QuantizeLinear or DequantizeLinear


def scales_positive(subject: Subject) -> Iterator[Breach]:
    """All scales are constant, finite, greater than 0 and not subnormal."""
    for quantizer in subject.file.quantizers.values():
        if quantizer.scale is None:
            yield label(quantizer.node), "its scale is computed while the model runs"
        elif fault := bad_scale(quantizer.scale):
            yield label(quantizer.node), fault


def zero_points_match(subject: Subject) -> Iterator[Breach]:
    """Zero points have the type that is stored, and there are as many as scales."""
    for quantizer in subject.file.quantizers.values():
        zero_point, scale = quantizer.zero_point, quantizer.scale
        if len(quantizer.node.input) < 3 or zero_point is None or scale is None:
            continue
        if str(zero_point.dtype) != quantizer.stored:
            yield label(quantizer.node), f"its zero point is {zero_point.dtype}, {quantizer.stored} is stored"
        elif zero_point.size != scale.size:
            yield label(quantizer.node), f"it has {zero_point.size} zero points and {scale.size} scales"


def pairs_agree(subject: Subject) -> Iterator[Breach]:
    """A DequantizeLinear has scale and zero point of the QuantizeLinear that it reads."""
    for quantizer in subject.file.quantizers.values():
        source = subject.file.quantizers.get(quantizer.node.input[0])
        if source is not None and (
            _differ(source.scale, quantizer.scale) or _differ(source.zero_point, quantizer.zero_point)
        ):
            yield label(quantizer.node), f"its scale or zero point is not that of {label(source.node)}"


def zero_points_zero(subject: Subject) -> Iterator[Breach]:
    """All zero points are 0."""
    for quantizer in subject.file.quantizers.values():
        zero_point = quantizer.zero_point
        if zero_point is None or zero_point.any():
            found = "computed while the model runs" if zero_point is None else zero_point[zero_point != 0].flat[0]
            yield label(quantizer.node), f"its zero point is {found}, {_named(subject.target)} takes only 0"


def activation_type(subject: Subject) -> Iterator[Breach]:
    """Activations are stored in the target's type."""
    wanted = subject.target.onnx.activation_type
    for quantizer in subject.activations():
        if quantizer.stored != wanted:
            yield label(quantizer.node), f"it stores {quantizer.stored}, {_named(subject.target)} wants {wanted}"


def activations_per_tensor(subject: Subject) -> Iterator[Breach]:
    """Activations have one scale each."""
    for quantizer in subject.activations():
        if quantizer.scale is not None and quantizer.scale.size != 1:
            yield label(quantizer.node), f"it has {quantizer.scale.size} scales for an activation"


def weights_int8(subject: Subject) -> Iterator[Breach]:
    """Weights are INT8, or cast to it before they are dequantized."""
    for node, quantizer in subject.weights():
        if quantizer.stored != "int8":
            yield label(node), f"its weights are {quantizer.stored}"


def int4_readable(subject: Subject) -> Iterator[Breach]:
    """Constants are INT4 only in an opset that has it, and not for TensorRT, which wants float activations with it."""
    from onnx import TensorProto

    for name, tensor in subject.file.constants.items():
        if tensor.data_type != TensorProto.INT4:
            continue
        if "tensorrt" in subject.target.compiled:
            yield name, f"it is INT4, which {_named(subject.target)} takes with float activations only"
        elif subject.file.opset < INT4_OPSET:
            yield name, f"it is INT4, opset {subject.file.opset} has none"


def weights_per_channel(subject: Subject) -> Iterator[Breach]:
    """Weights have one scale for each output channel, depthwise ones included."""
    for node, quantizer in subject.weights():
        shape = tuple(subject.file.constant(quantizer.node.input[0]).dims)
        axis = _output_axis(node, len(shape))
        if quantizer.scale is None:
            continue
        if not 0 <= axis < len(shape):
            yield label(node), "its weights have no axis of output channels"
        elif quantizer.scale.size != shape[axis]:
            yield label(node), f"its weights have {quantizer.scale.size} scales for {shape[axis]} output channels"
        elif quantizer.scale.ndim and quantizer.axis % len(shape) != axis:
            yield label(node), f"its weights are quantized along axis {quantizer.axis}, output channels are axis {axis}"


def product_inputs_quantized(subject: Subject) -> Iterator[Breach]:
    """Convolutions and matrix products read 8 bits, data and weights; one that ends the network may stay float."""
    for node in subject.products():
        if subject.is_excused(node) or (node.op_type in ("Gemm", "MatMul") and _is_last(subject.file, node)):
            continue
        for slot, what in enumerate(("data", "weights")):
            if not _is_dequantized(subject.file, node.input[slot]):
                yield label(node), f"its {what} {node.input[slot]} come without Q/DQ"


def residuals_quantized(subject: Subject) -> Iterator[Breach]:
    """An Add of two activations reads both in 8 bits."""
    for node in subject.file.nodes:
        if node.op_type not in SUMS or subject.is_excused(node):
            continue
        if any(subject.file.is_constant(value) for value in node.input):
            continue
        for value in node.input:
            if not _is_dequantized(subject.file, value):
                yield label(node), f"its operand {value} comes without Q/DQ"


def bias_float(subject: Subject) -> Iterator[Breach]:
    """Biases are float."""
    for node, quantizer in subject.biases():
        yield label(node), f"its bias is {quantizer.stored} behind a DequantizeLinear, not float"


def bias_scale(subject: Subject) -> Iterator[Breach]:
    """An integer bias is INT32, at the scale of the data times that of the weights."""
    for node, quantizer in subject.biases():
        data, weights = (subject.file.dequantizer(value) for value in node.input[:2])
        if quantizer.stored != "int32" or quantizer.zero_point is None or quantizer.zero_point.any():
            yield label(node), f"its bias is {quantizer.stored}, or has a zero point"
        elif data is None or weights is None or data.scale is None or weights.scale is None or quantizer.scale is None:
            continue
        elif not _is_product(quantizer.scale, data.scale, weights.scale):
            yield label(node), "its bias has not the scale of the data times that of the weights"


Check = Callable[[Subject], Iterator[Breach]]


def always(_: TargetProfile) -> bool:
    return True


@dataclass(frozen=True)
class Rule:
    """A rule and when it holds. Its name is the function's, its sentence the docstring."""

    check: Check
    quantized_only: bool = True
    holds_for: Callable[[TargetProfile], bool] = always

    @property
    def name(self) -> str:
        return self.check.__name__.replace("_", "-")


RULES = (
    Rule(opset_within_limit, quantized_only=False),
    Rule(operators_supported, quantized_only=False),
    Rule(constants_finite, quantized_only=False),
    Rule(scales_positive),
    Rule(zero_points_match),
    Rule(pairs_agree),
    Rule(zero_points_zero, holds_for=lambda target: target.activations == "symmetric"),
    Rule(activation_type),
    Rule(activations_per_tensor),
    Rule(weights_int8),
    Rule(int4_readable),
    Rule(weights_per_channel),
    Rule(product_inputs_quantized),
    Rule(residuals_quantized),
    Rule(bias_float, holds_for=lambda target: target.onnx.bias == "float"),
    Rule(bias_scale, holds_for=lambda target: target.onnx.bias == "int32"),
)


def lint_onnx(
    path: Path, target: TargetProfile, *, allow_float: re.Pattern[str] | None = None, external_data: bool = False
) -> list[Finding]:
    """Everything in the file at ``path`` that breaks a rule of ``target``, rule by rule.

    Args:
        allow_float: finds the names of nodes that the user left in float, as ``--keep-float`` does.
        external_data: the file may keep weights in plain files beside itself.

    Raises:
        OutputError: the file cannot be read.
        ModelError: it is no ONNX model, is damaged, or keeps weights where it may not.
    """
    subject = Subject(read_onnx_file(path, external_data=external_data), target, allow_float)
    rules = [rule for rule in RULES if rule.holds_for(target)]
    if not subject.file.quantizers:
        rules = [rule for rule in rules if not rule.quantized_only]
    return [Finding(rule.name, where, message) for rule in rules for where, message in rule.check(subject)]


def _named(target: TargetProfile) -> str:
    """The target and its variant, as on the command line."""
    return " ".join([target.name, *(f"--{option} {value}" for option, value in target.options.items())])


def _differ(one: NDArray[Any] | None, other: NDArray[Any] | None) -> bool:
    """Whether two constants are both known and not the same; a scalar equals a vector of one."""
    return one is not None and other is not None and not np.array_equal(one.ravel(), other.ravel())


def _is_product(scale: NDArray[Any], one: NDArray[Any], other: NDArray[Any]) -> bool:
    """Whether a scale is the product of two others. It is not where their shapes do not fit together."""
    try:
        with np.errstate(all="ignore"):  # in a damaged file they can be anything
            return np.allclose(scale, one * other, rtol=1e-5, atol=0)
    except ValueError:
        return False


def _output_axis(node: "NodeProto", rank: int) -> int:
    """The axis of a product's weights that counts output channels."""
    if node.op_type == "Conv":
        return 0
    if node.op_type == "Gemm" and any(entry.name == "transB" and entry.i for entry in node.attribute):
        return 0
    return 1 if node.op_type == "ConvTranspose" else rank - 1


def _is_dequantized(file: OnnxFile, value: str) -> bool:
    """Whether ``value`` comes from a DequantizeLinear: weights directly, activations also across COMMUTING."""
    origin = value
    while (node := file.producers.get(origin)) is not None and node.op_type in COMMUTING and node.input:
        origin = node.input[0]
    return file.dequantizer(origin) is not None and (origin == value or not file.is_constant(origin))


def _is_last(file: OnnxFile, node: "NodeProto") -> bool:
    """Whether no other product reads what this one makes, however indirectly."""
    seen: set[str] = set()
    ahead = list(node.output)
    while ahead:
        value = ahead.pop()
        for reader in file.readers.get(value, ()):
            if reader.op_type in PRODUCTS:
                return False
            fresh = set(reader.output) - seen
            seen |= fresh
            ahead += fresh
    return True
