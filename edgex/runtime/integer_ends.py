"""What the integers at the ends of an ONNX file stand for, which its types do not say."""

from pathlib import Path
from typing import NamedTuple

import numpy as np

from edgex.plan import QuantizationParameters

LAYOUT_OPS = ("Identity", "Reshape", "Transpose")


class Ends(NamedTuple):
    """Scale and zero point of a model's input and output; None where there are none or nothing says so."""

    input: QuantizationParameters | None
    output: QuantizationParameters | None


def onnx_ends(path: Path, input_name: str, output_name: str) -> Ends:
    """Those of the first DequantizeLinear and the last QuantizeLinear, with only layout between."""
    import onnx

    graph = onnx.load(path, load_external_data=False).graph
    constants = {tensor.name: tensor for tensor in graph.initializer}
    readers = {node.input[0]: node for node in graph.node if node.input}
    makers = {name: node for node in graph.node for name in node.output}

    def parameters(node: onnx.NodeProto | None, op_type: str) -> QuantizationParameters | None:
        if node is None or node.op_type != op_type or not constants.keys() >= set(node.input[1:]):
            return None
        scale, zero_point = (onnx.numpy_helper.to_array(constants[name]) for name in node.input[1:])
        return QuantizationParameters(np.float32(scale), int(zero_point))

    first, last = readers.get(input_name), makers.get(output_name)
    while first is not None and first.op_type in LAYOUT_OPS:
        first = readers.get(first.output[0])
    while last is not None and last.op_type in LAYOUT_OPS:
        last = makers.get(last.input[0])
    return Ends(parameters(first, "DequantizeLinear"), parameters(last, "QuantizeLinear"))
