"""How a written artifact stores weights of 4 bits: two to a byte, or one to a byte where a format knows no better."""

import math
from pathlib import Path
from typing import NamedTuple

from edgex.lint.onnx import PRODUCTS
from edgex.lint.onnx_file import read_onnx_file
from edgex.lint.tflite import CHANNEL_AXES, QUANTIZABLE
from edgex.lint.tflite_file import read_tflite_file
from edgex.target import TargetProfile


class WeightStorage(NamedTuple):
    """How many quantized weights a file stores in 4 bits, and in 8."""

    int4: int
    int8: int


def weight_storage(path: Path) -> WeightStorage:
    """Count the weights of a ``.onnx`` or ``.tflite`` file. ModelError and OutputError as the linters."""
    return _of_tflite(path) if path.suffix.lower() == ".tflite" else _of_onnx(path)


def unpacked_warning(path: Path, target: TargetProfile) -> str | None:
    """A sentence about weights of 4 bits in a file that it stores in 8; None if there are none.

    Args:
        path: an artifact whose plan has 4-bit weights.
        target: it was written for.
    """
    packed, unpacked = weight_storage(path)
    if not unpacked:
        return None
    if path.suffix.lower() == ".tflite":
        reason = "LiteRT has fast INT4 kernels for dense and pointwise layers alone"
    elif "tensorrt" in target.compiled:
        reason = "TensorRT takes INT4 weights with float activations only"
    else:
        reason = f"{target.name} reads opset {target.onnx.opset_limit}, which has no INT4"
    share = f"{unpacked / (packed + unpacked):.0%} of the" if packed else "the"
    return f"{path.name} stores {share} 4-bit weights in 8 bits each: {reason}."


def _of_onnx(path: Path) -> WeightStorage:
    from onnx import TensorProto

    file = read_onnx_file(path)
    counts: dict[int, int] = {TensorProto.INT4: 0, TensorProto.INT8: 0}
    for node in file.nodes:
        if node.op_type in PRODUCTS and file.is_constant(node.input[1]):
            weights = file.constant(node.input[1])
            if weights.data_type in counts:
                counts[weights.data_type] += math.prod(weights.dims)
    return WeightStorage(counts[TensorProto.INT4], counts[TensorProto.INT8])


def _of_tflite(path: Path) -> WeightStorage:
    counts = {"INT4": 0, "INT8": 0}
    for operator in read_tflite_file(path).operators:
        x, weights = operator.inputs[:2] if operator.code in CHANNEL_AXES else (None, None)
        if x is not None and weights is not None and x.type in QUANTIZABLE and weights.type in counts:
            counts[weights.type] += math.prod(weights.shape)
    return WeightStorage(counts["INT4"], counts["INT8"])
