"""Runs TFLite models, plans INT8 ones, and looks into their files."""

from collections.abc import Iterable
from dataclasses import replace
from typing import Any

import flatbuffers
import numpy as np
from ai_edge_litert import schema_py_generated as schema
from ai_edge_litert.interpreter import Interpreter

from edgex.graph.fusion import fused_activation
from edgex.graph.ir import Graph, Input, Softmax
from edgex.plan import TIED_OPS, QuantizationPlan, Range, Scheme
from edgex.write.tflite import tflite_model
from edgex.write.tflite_operators import FLOAT_ONLY

IN_FLOAT = (*FLOAT_ONLY, Softmax)
"""Operations that :func:`min_max_plan` leaves in float."""


def run(model: bytes, images: np.ndarray) -> dict[str, np.ndarray]:
    """Outputs by name."""
    interpreter = interpreted(model, images)
    return {made["name"]: interpreter.get_tensor(made["index"]) for made in interpreter.get_output_details()}


def interpreted(model: bytes, images: np.ndarray) -> Interpreter:
    interpreter = Interpreter(model_content=model, num_threads=2)
    (given,) = interpreter.get_input_details()
    interpreter.resize_tensor_input(given["index"], images.shape)
    interpreter.allocate_tensors()
    interpreter.set_tensor(given["index"], images)
    interpreter.invoke()
    return interpreter


def error(got: np.ndarray, expected: np.ndarray) -> float:
    """Largest difference, relative to the largest expected value; infinite if the shapes differ."""
    return float(np.abs(got - expected).max() / np.abs(expected).max()) if got.shape == expected.shape else np.inf


def sqnr(got: np.ndarray, expected: np.ndarray) -> float:
    """Power of the signal over that of the error, in dB."""
    assert got.shape == expected.shape
    return float(10 * np.log10(np.square(expected).sum() / np.square(got - expected).sum()))


def min_max_plan(
    graph: Graph, images: np.ndarray, scheme: Scheme = "asymmetric", keep_float: Iterable[str] = ()
) -> QuantizationPlan:
    """What a planner does, in short: ranges seen on ``images``, equal where tensors are tied."""
    in_float = {node.name for node in graph.nodes if isinstance(node.op, IN_FLOAT)} | set(keep_float)
    stored = [node for node in graph.nodes if fused_activation(graph, node) is None]
    made = tuple(node.name for node in stored if not isinstance(node.op, Input))
    values = {graph.inputs[0].name: images, **run(tflite_model(replace(graph, outputs=made)), images)}
    ranges = {name: Range(min(0.0, float(x.min())), max(0.0, float(x.max()))) for name, x in values.items()}
    for node in [*graph.nodes, *reversed(graph.nodes)]:
        if isinstance(node.op, TIED_OPS) and node.name not in in_float:
            tied = (node.name, *node.inputs)
            low, high = zip(*(ranges[name] for name in tied), strict=True)
            ranges.update(dict.fromkeys(tied, Range(min(low), max(high))))
    int8 = [node for node in graph.nodes if node.name not in in_float and not isinstance(node.op, Input)]
    touched = {name for node in int8 for name in (node.name, *node.inputs)}
    return QuantizationPlan(
        scheme,
        {name: span for name, span in ranges.items() if name in touched},
        {node.name: "float" if node.name in in_float else "int8" for node in graph.nodes},
    )


def parse(model: bytes | np.ndarray) -> Any:
    return schema.ModelT.InitFromPackedBuf(model)


def operators(model: bytes) -> list[tuple[str, str]]:
    """Name of the operator and of what it makes, in order."""
    parsed = parse(model)
    names = {value: name for name, value in vars(schema.BuiltinOperator).items()}
    graph = parsed.subgraphs[0]
    return [
        (names[parsed.operatorCodes[op.opcodeIndex].builtinCode], graph.tensors[op.outputs[0]].name.decode())
        for op in graph.operators
    ]


def versions(model: bytes) -> dict[str, int]:
    """The highest version of each operator."""
    names = {value: name for name, value in vars(schema.BuiltinOperator).items()}
    found: dict[str, int] = {}
    for code in parse(model).operatorCodes:
        assert code.deprecatedBuiltinCode == min(code.builtinCode, 127)
        found[names[code.builtinCode]] = max(code.version, found.get(names[code.builtinCode], 0))
    return found


def tensors(model: bytes) -> dict[str, Any]:
    return {tensor.name.decode(): tensor for tensor in parse(model).subgraphs[0].tensors}


def types(model: bytes) -> dict[str, str]:
    """Of inputs and outputs, by name."""
    names = {value: name for name, value in vars(schema.TensorType).items()}
    graph = parse(model).subgraphs[0]
    ends = [graph.tensors[index] for index in (*graph.inputs, *graph.outputs)]
    return {tensor.name.decode(): names[tensor.type] for tensor in ends}


def in_float(model: bytes) -> set[str]:
    """What operators make in float, conversions aside."""
    made = {name for code, name in operators(model) if code not in ("QUANTIZE", "DEQUANTIZE")}
    return {name for name, tensor in tensors(model).items() if name in made and tensor.type != schema.TensorType.INT8}


def pack(model: Any) -> bytes:
    builder = flatbuffers.Builder()
    builder.Finish(model.Pack(builder), b"TFL3")
    return bytes(builder.Output())
