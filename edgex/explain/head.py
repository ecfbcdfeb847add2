"""The end of a classifier in an ONNX file: features, global average pooling, one dense layer."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from edgex.graph.ir import Array
from edgex.lint.onnx_file import OnnxFile

if TYPE_CHECKING:
    from onnx import NodeProto

PASSED_OVER = {"Cast", "DequantizeLinear", "Flatten", "Identity", "QuantizeLinear", "Reshape", "Squeeze"}
"""Between the output and the pooling: what changes type, grid or shape, and mixes nothing."""


@dataclass(frozen=True)
class Head:
    """Where a class' evidence lies in the image.

    Attributes:
        features: name of the value that is pooled, (n, channels, height, width).
        weights: of the dense layer, float32 (channels, classes).
    """

    features: str
    weights: Array


def find_head(file: OnnxFile) -> Head | None:
    """That of a file, or None if it ends otherwise. ModelError if the file is damaged."""
    node = _before(file, file.model.graph.output[0].name)
    if node is not None and node.op_type == "Softmax":
        node = _before(file, node.input[0])
    if node is not None and node.op_type == "Add":  # MatMul, and a bias that shifts all positions alike
        node = _before(file, next((value for value in node.input if not file.is_constant(value)), ""))
    if node is None or node.op_type not in ("Gemm", "MatMul") or not file.is_constant(node.input[1]):
        return None
    weights = _real(file, node.input[1])
    if weights is None or weights.ndim != 2:
        return None
    attributes = {entry.name: entry for entry in node.attribute}
    if "transA" in attributes and attributes["transA"].i:
        return None
    if "transB" in attributes and attributes["transB"].i:
        weights = weights.T
    if "alpha" in attributes:
        weights = weights * np.float32(attributes["alpha"].f)
    pooling = _before(file, node.input[0])
    if pooling is None or pooling.op_type != "GlobalAveragePool":
        return None
    return Head(pooling.input[0], np.asarray(weights, np.float32))


def _before(file: OnnxFile, value: str) -> "NodeProto | None":
    """The node that computes a value, but for what is passed over."""
    node = file.producers.get(value)
    while node is not None and node.op_type in PASSED_OVER:
        node = file.producers.get(node.input[0])
    return node


def _real(file: OnnxFile, value: str) -> Array | None:
    """A constant as it is multiplied: dequantized, if it is stored in integers. None if its scale is not known."""
    quantizer, name = file.dequantizer(value), value
    while name not in file.constants:
        name = file.producers[name].input[0]
    stored = file.array(name)
    assert stored is not None  # it is among the constants
    if quantizer is None:
        return stored.astype(np.float32) if stored.dtype.kind == "f" else None
    if quantizer.scale is None or quantizer.zero_point is None:
        return None
    shape = [1] * stored.ndim
    if quantizer.scale.size > 1:
        shape[quantizer.axis] = quantizer.scale.size
    zero_point = quantizer.zero_point.astype(np.float32)
    levels = stored.astype(np.float32)
    zeros = zero_point.reshape(shape) if zero_point.size > 1 else zero_point.reshape(())
    real: Array = (levels - zeros) * quantizer.scale.astype(np.float32).reshape(shape)
    return real
