"""What the integers at the ends of an ONNX file stand for, which its types do not say."""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from edgex.model_file import read_onnx
from edgex.plan import QuantizationParameters

if TYPE_CHECKING:
    from onnx import NodeProto, TensorProto

LAYOUT_OPS = ("Identity", "Reshape", "Transpose")


class Ends(NamedTuple):
    """Scale and zero point of a model's input and output; None where there are none or nothing says so."""

    input: QuantizationParameters | None
    output: QuantizationParameters | None


def onnx_ends(path: Path, input_name: str, output_name: str) -> Ends:
    """Those of the first DequantizeLinear and the last QuantizeLinear, with only layout between.

    Only what is in the file itself is read. Errors as :func:`edgex.model_file.read_onnx`.
    """
    graph = read_onnx(path, external_data=True).graph
    constants = {tensor.name: tensor for tensor in graph.initializer if not tensor.external_data}
    first = last = None
    for node in graph.node:
        if input_name in node.input[:1] and node.op_type == "DequantizeLinear":
            first = _parameters(node, constants)
            break
        if input_name in node.input[:1] and node.op_type in LAYOUT_OPS:
            input_name = node.output[0]
    for node in reversed(graph.node):
        if output_name in node.output[:1] and node.op_type == "QuantizeLinear":
            last = _parameters(node, constants)
            break
        if output_name in node.output[:1] and node.op_type in LAYOUT_OPS:
            output_name = node.input[0]
    return Ends(first, last)


def _parameters(node: "NodeProto", constants: Mapping[str, "TensorProto"]) -> QuantizationParameters | None:
    """Those of a quantizer, if constants say them, once for the whole tensor. Without a zero point it is 0."""
    from onnx import numpy_helper

    named = [name for name in node.input[1:] if name]
    if not named or not constants.keys() >= set(named):
        return None
    arrays = [numpy_helper.to_array(constants[name]) for name in named]
    if any(array.size != 1 for array in arrays):
        return None
    scale, zero_point = (*(array.item() for array in arrays), 0)[:2]
    return QuantizationParameters(np.float32(scale), int(zero_point))
