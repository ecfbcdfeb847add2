"""Model files that edgex did not write, some of them bad, and stand-ins for runtimes."""

from collections.abc import Sequence
from pathlib import Path

import flatbuffers
import numpy as np
import onnx
from ai_edge_litert import schema_py_generated as schema
from onnx import TensorProto, helper, numpy_helper

OPSET = helper.make_opsetid("", 17)
Shape = Sequence[int | str]


def save_onnx(path: Path, graph: onnx.GraphProto) -> Path:
    onnx.save(helper.make_model(graph, opset_imports=[OPSET], ir_version=8), path)
    return path


def save_identity(path: Path, shape: Shape, dtype: int = TensorProto.FLOAT, inputs: int = 1) -> Path:
    """A file whose first output is its first input."""
    names = [f"input_{number}" for number in range(inputs)]
    graph = helper.make_graph(
        [helper.make_node("Identity", [names[0]], ["output"])],
        "identity",
        [helper.make_tensor_value_info(name, dtype, shape) for name in names],
        [helper.make_tensor_value_info("output", dtype, None)],
    )
    return save_onnx(path, graph)


def save_crashing(path: Path, float_tflite: Path) -> Path:
    """A copy of a file whose depthwise convolutions have no bias: LiteRT 2.3 reads it from nowhere and dies."""
    model = schema.ModelT.InitFromPackedBuf(float_tflite.read_bytes(), 0)
    codes = [code.builtinCode for code in model.operatorCodes]
    for operator in model.subgraphs[0].operators:
        if codes[operator.opcodeIndex] == schema.BuiltinOperator.DEPTHWISE_CONV_2D:
            operator.inputs = operator.inputs[:2]
    builder = flatbuffers.Builder(1 << 20)
    builder.Finish(model.Pack(builder), file_identifier=b"TFL3")
    path.write_bytes(bytes(builder.Output()))
    return path


def save_endless(path: Path) -> Path:
    """A loop that ends after 2⁶³ - 1 rounds, over an image of 4×4."""
    image, scores = (
        helper.make_tensor_value_info(name, TensorProto.FLOAT, [1, *shape])
        for name, shape in (("image", (4, 4, 3)), ("scores", (3,)))
    )
    value, doubled = (helper.make_tensor_value_info(name, TensorProto.FLOAT, [1, 3]) for name in ("value", "doubled"))
    number = helper.make_tensor_value_info("number", TensorProto.INT64, [])
    going, goes_on = (helper.make_tensor_value_info(name, TensorProto.BOOL, []) for name in ("going", "goes_on"))
    body = helper.make_graph(
        [
            helper.make_node("Identity", ["going"], ["goes_on"]),
            helper.make_node("Add", ["value", "value"], ["doubled"]),
        ],
        "body",
        [number, going, value],
        [goes_on, doubled],
    )
    constants = [
        numpy_helper.from_array(np.array(np.iinfo(np.int64).max), "rounds"),
        numpy_helper.from_array(np.array(True), "yes"),
    ]
    nodes = [
        helper.make_node("ReduceMean", ["image"], ["mean"], axes=[1, 2], keepdims=0),
        helper.make_node("Loop", ["rounds", "yes", "mean"], ["scores"], body=body),
    ]
    return save_onnx(path, helper.make_graph(nodes, "endless", [image], [scores], constants))


def save_greedy(path: Path, megabytes: int) -> Path:
    """Spreads an image of 4×4 over so much memory, and takes the mean of it."""
    image = helper.make_tensor_value_info("image", TensorProto.FLOAT, [1, 4, 4, 3])
    scores = helper.make_tensor_value_info("scores", TensorProto.FLOAT, [1, 3])
    copies = (megabytes << 20) // (4 * 4 * 4 * 3)
    constants = [numpy_helper.from_array(np.array([copies, 1, 1, 1]), "copies")]
    nodes = [
        helper.make_node("Expand", ["image", "copies"], ["large"]),
        helper.make_node("ReduceMean", ["large"], ["small"], axes=[0, 1, 2], keepdims=0),
        helper.make_node("Reshape", ["small", "row"], ["scores"]),
    ]
    constants.append(numpy_helper.from_array(np.array([1, 3]), "row"))
    return save_onnx(path, helper.make_graph(nodes, "greedy", [image], [scores], constants))


def make_runtime(folder: Path, code: str = "") -> Path:
    """A package ``tflite_runtime`` that runs some code and then is LiteRT; for ``PYTHONPATH``."""
    package = folder / "tflite_runtime"
    package.mkdir()
    (package / "__init__.py").write_text('__version__ = "0.0"\n')
    (package / "interpreter.py").write_text(f"from ai_edge_litert.interpreter import Interpreter\n{code}\n")
    return folder
