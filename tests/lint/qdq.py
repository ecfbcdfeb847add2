"""A small Q/DQ model, written by hand the way each target wants it."""

import re
from pathlib import Path

import numpy as np
from onnx import ModelProto, NodeProto, TensorProto, helper, numpy_helper

from edgex.lint.onnx import lint_onnx
from edgex.target import TargetProfile, load_target


class Qdq:
    """A small residual network with Q/DQ, written by hand the way a target wants it.

    input → conv, relu → depthwise → pointwise → add (with relu's output) → max pool → average → dense → softmax.
    """

    def __init__(self, target: TargetProfile) -> None:
        self.rules = target.onnx
        self.zero_point = {"uint8": 128, "int8": 0}[self.rules.activation_type]
        self.random = np.random.default_rng(0)
        self.nodes: list[NodeProto] = []
        self.constants: dict[str, TensorProto] = {}

    def model(self, opset: int) -> ModelProto:
        x = self.pair(self.emit("Transpose", ["input"], "input.nchw", perm=[0, 3, 1, 2]))
        stem = self.pair(self.emit("Relu", [self.product("Conv", x, "stem", (4, 3, 3, 3))], "stem.relu"))
        depthwise = self.pair(self.product("Conv", stem, "depthwise", (4, 1, 3, 3), group=4, pads=[1, 1, 1, 1]))
        pointwise = self.pair(self.product("Conv", depthwise, "pointwise", (4, 4, 1, 1)))
        total = self.pair(self.emit("Relu", [self.emit("Add", [pointwise, stem], "add")], "add.relu"))
        pooled = self.pair(self.emit("MaxPool", [total], "pool", kernel_shape=[2, 2], strides=[2, 2]))
        average = self.pair(self.emit("Flatten", [self.emit("GlobalAveragePool", [pooled], "average")], "flat"))
        hidden = self.pair(self.product("Gemm", average, "hidden", (6, 4), transB=1))
        logits = self.pair(self.product("Gemm", hidden, "dense", (5, 6), transB=1))
        self.emit("Softmax", [logits], "softmax", axis=1)
        ends = (("input", ["N", 8, 8, 3]), ("softmax", ["N", 5]))
        given, made = (helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name, shape in ends)
        graph = helper.make_graph(self.nodes, "small", [given], [made], list(self.constants.values()))
        return helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=8)

    def emit(self, op_type: str, inputs: list[str], name: str, **attributes: object) -> str:
        self.nodes.append(helper.make_node(op_type, inputs, [name], name=name, **attributes))
        return name

    def constant(self, name: str, array: np.ndarray) -> str:
        self.constants[name] = numpy_helper.from_array(array, name)
        return name

    def pair(self, value: str) -> str:
        scale = self.constant(f"{value}.scale", np.float32(0.05))
        zero_point = self.constant(f"{value}.zero", np.array(self.zero_point, self.rules.activation_type))
        quantized = self.emit("QuantizeLinear", [value, scale, zero_point], f"{value}.q")
        return self.emit("DequantizeLinear", [quantized, scale, zero_point], f"{value}.dq")

    def product(self, op_type: str, data: str, name: str, shape: tuple[int, ...], **attributes: object) -> str:
        weights = self.random.integers(-127, 128, shape).astype(np.int8)
        scales = self.random.uniform(0.001, 0.01, shape[0]).astype(np.float32)
        inputs = [data, self.dequantized(f"{name}.kernel", weights, scales)]
        if self.rules.bias == "float":
            inputs.append(self.constant(f"{name}.bias", self.random.normal(size=shape[0]).astype(np.float32)))
        else:
            bias = self.random.integers(-99, 99, shape[0]).astype(np.int32)
            inputs.append(self.dequantized(f"{name}.bias", bias, scales * np.float32(0.05)))
        return self.emit(op_type, inputs, name, **attributes)

    def dequantized(self, name: str, values: np.ndarray, scales: np.ndarray) -> str:
        zero_points = self.constant(f"{name}.zero", np.zeros(len(scales), values.dtype))
        parts = [self.constant(f"{name}.q", values), self.constant(f"{name}.scale", scales), zero_points]
        return self.emit("DequantizeLinear", parts, name, axis=0)


TARGETS = {
    "jetson": load_target("jetson"),
    "gpu-desktop": load_target("gpu-desktop"),
    "x86": load_target("cpu"),
    "arm": load_target("cpu", arch="arm"),
}


def lint(model: ModelProto, target: TargetProfile, folder: Path, allow_float: str | None = None) -> dict[str, set[str]]:
    """Rule → places, of the findings about a model written to ``folder``."""
    file = folder / "model.onnx"
    file.write_bytes(model.SerializeToString())
    pattern = re.compile(allow_float) if allow_float else None
    places: dict[str, set[str]] = {}
    for finding in lint_onnx(file, target, allow_float=pattern):
        places.setdefault(finding.rule, set()).add(finding.where)
    return places
