"""Weights of 4 bits: packed files compute what those with the same weights in 8 bits do, and are smaller."""

from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
from ai_edge_litert import schema_py_generated as schema
from ai_edge_litert.interpreter import Interpreter, OpResolverType
from graphs import tiny_xception
from numpy.typing import NDArray
from onnx import ModelProto, TensorProto, helper, numpy_helper
from onnx_support import run as run_onnx
from tflite_support import interpreted, min_max_plan, operators, pack, parse, sqnr, tensors, versions
from tflite_support import run as run_tflite

from edgex.dataset import open_dataset
from edgex.graph.ir import (
    Array,
    Conv2D,
    Dense,
    DepthwiseConv2D,
    Flatten,
    GlobalAveragePool,
    Graph,
    Input,
    Node,
    Op,
    Relu,
)
from edgex.graph.passes import prepare
from edgex.graph.read import read_model
from edgex.plan import QuantizationPlan
from edgex.preprocess import Preprocessing
from edgex.quantize.ptq import PtqOptions, quantize_ptq
from edgex.resources import demo_model
from edgex.target import load_target
from edgex.write.int4 import pack_int4
from edgex.write.onnx import OnnxForm, onnx_model
from edgex.write.onnx_form import int8_form
from edgex.write.tflite import tflite_model

RANDOM = np.random.default_rng(0)
LEAST_SQNR = 40.0
"""Of one operation whose weights are exact, in dB; they reach 42 to 58. On another grid most stay under 38."""

PACKED_FORM = OnnxForm(opset=21, weight_storage="int4")
Demo = tuple[Graph, QuantizationPlan, Array]


@pytest.fixture(scope="module")
def demo() -> Demo:
    """The demo model up to its logits, a plan for it with weights of 4 bits, and images."""
    graph = read_model(demo_model())
    height, width, channels = graph.shapes[graph.inputs[0].name]
    dataset = open_dataset("digits", role="calibration").sample(16, 0)
    batches = dataset.batches(Preprocessing(size=(height, width), channels=channels, scale="none", resize="stretch"))
    images = [(dataset.names[int(indices[0])], image) for indices, image in batches]
    result = quantize_ptq(prepare(graph), images, PtqOptions("asymmetric"))
    (softmax,) = result.graph.outputs
    (logits,) = result.graph[softmax].inputs
    kept = tuple(node for node in result.graph.nodes if node.name != softmax)
    plan = replace(result.plan, weight_bits=4)
    return replace(result.graph, nodes=kept, outputs=(logits,)), plan, np.concatenate([image for _, image in images])


# Bytes


def test_the_first_weight_lies_in_the_lower_half() -> None:
    assert pack_int4(np.array([1, -2, 7], np.int8)).tolist() == [0xE1, 0x07]


@pytest.mark.parametrize("shape", [(16,), (3, 5), (2, 3, 1, 7), (1,), (0,)])
def test_onnx_unpacks_what_was_packed(shape: tuple[int, ...]) -> None:
    values = RANDOM.integers(-8, 7, shape, endpoint=True).astype(np.int8)
    packed = pack_int4(values)
    assert packed.size == (values.size + 1) // 2
    tensor = helper.make_tensor("packed", TensorProto.INT4, shape, packed.tobytes(), raw=True)
    assert np.array_equal(numpy_helper.to_array(tensor).astype(np.int8), values)


def test_memory_order_does_not_matter() -> None:
    values = RANDOM.integers(-7, 7, (3, 4)).astype(np.int8)
    assert np.array_equal(pack_int4(values.T), pack_int4(values.T.copy()))


# ONNX


def test_packed_onnx_computes_the_same(demo: Demo) -> None:
    """To the last bit: runtimes unpack on loading, and then run the same kernels."""
    graph, plan, images = demo
    (packed,) = run_onnx(onnx_model(graph, plan, PACKED_FORM), images).values()
    (simulated,) = run_onnx(onnx_model(graph, plan), images).values()
    assert np.array_equal(packed, simulated)


def test_one_weight_of_packed_onnx_shows(demo: Demo) -> None:
    graph, plan, images = demo
    model = onnx_model(graph, plan, PACKED_FORM)
    (before,) = run_onnx(model, images).values()
    *_, tensor = (tensor for tensor in model.graph.initializer if tensor.data_type == TensorProto.INT4)
    # of the last layer, and by half the range, so that no rounding hides it
    tensor.raw_data = bytes([tensor.raw_data[0] ^ 4]) + tensor.raw_data[1:]
    (after,) = run_onnx(model, images).values()
    assert not np.array_equal(before, after)


def constants(model: ModelProto) -> dict[str, NDArray[Any]]:
    return {tensor.name: numpy_helper.to_array(tensor) for tensor in model.graph.initializer}


def test_onnx_stores_all_kernels_as_int4(demo: Demo) -> None:
    graph, plan, _ = demo
    packed, simulated = constants(onnx_model(graph, plan, PACKED_FORM)), constants(onnx_model(graph, plan))
    kernels = [f"{node.name}.kernel.quantized" for node in graph.nodes if "kernel" in node.params]
    assert len(kernels) == 75
    for name in kernels:
        assert name not in packed
        assert packed[f"{name}.int4"].dtype.name == "int4"
        assert np.array_equal(packed[f"{name}.int4"].astype(np.int8), simulated[name])
        assert np.abs(simulated[name]).max() == 7


def test_onnx_runtime_runs_packed_weights_in_integers(demo: Demo, tmp_path: Path) -> None:
    graph, plan, _ = demo
    found = []
    for form in (OnnxForm(opset=21), PACKED_FORM):
        options = onnxruntime.SessionOptions()
        options.optimized_model_filepath = str(tmp_path / "optimized.onnx")
        options.log_severity_level = 3
        content = onnx_model(graph, plan, form).SerializeToString()
        onnxruntime.InferenceSession(content, options, ["CPUExecutionProvider"])
        found.append(Counter(node.op_type for node in onnx.load(tmp_path / "optimized.onnx").graph.node))
    assert found[0] == found[1]
    assert found[1]["QLinearConv"] == 74
    assert not {"Conv", "FusedConv", "Gemm", "Cast"} & set(found[1])


def test_weights_of_8_bits_are_never_packed(demo: Demo) -> None:
    graph, plan, _ = demo
    plan = replace(plan, weight_bits=8)
    assert onnx_model(graph, plan, PACKED_FORM) == onnx_model(graph, plan, OnnxForm(opset=21))


def test_packed_onnx_is_smaller(demo: Demo) -> None:
    graph, plan, _ = demo
    packed, simulated = (len(onnx_model(graph, plan, form).SerializeToString()) for form in (PACKED_FORM, OnnxForm()))
    assert packed < 0.85 * simulated, "a fifth of the demo's file are names and scales"


@pytest.mark.parametrize("opset", [13, 20])
def test_opsets_before_21_have_no_int4(opset: int) -> None:
    with pytest.raises(ValueError, match=f"opset {opset} has no INT4"):
        OnnxForm(opset=opset, weight_storage="int4")


def test_each_target_has_its_form() -> None:
    cpu = load_target("cpu")
    assert int8_form(cpu) == OnnxForm(17, "uint8", "int32")
    assert int8_form(cpu, 4, integer_io=True) == OnnxForm(21, "uint8", "int32", integer_io=True, weight_storage="int4")
    limited = cpu.model_copy(update={"onnx": cpu.onnx.model_copy(update={"opset_limit": 20})})
    assert int8_form(limited, 4) == OnnxForm(17)
    newer = cpu.model_copy(update={"onnx": cpu.onnx.model_copy(update={"opset": 23})})
    assert int8_form(newer, 4).opset == 23
    for target in (load_target("gpu-desktop"), load_target("jetson", jetpack="7.2")):
        assert int8_form(target, 4) == int8_form(target) == OnnxForm(17, "int8", "float")
    assert int8_form(load_target("jetson", jetpack="4.6.1"), 4).opset == 13


# TFLite


def unpacked(content: bytes) -> bytes:
    """The same file with INT8 tensors in place of INT4 ones."""
    model = parse(content)
    for tensor in model.subgraphs[0].tensors:
        if tensor.type == schema.TensorType.INT4:
            buffer = model.buffers[tensor.buffer]
            halves = np.stack([buffer.data & 15, buffer.data >> 4], axis=1).reshape(-1)[: np.prod(tensor.shape)]
            buffer.data = np.where(halves > 7, halves.astype(int) - 16, halves).astype(np.int8).view(np.uint8)
            tensor.type = schema.TensorType.INT8
    return pack(model)


def int4_layers(content: bytes) -> set[str]:
    found = {name for name, tensor in tensors(content).items() if tensor.type == schema.TensorType.INT4}
    return {name.removesuffix(".kernel") for name in found}


def weights(*shape: int) -> Array:
    return RANDOM.normal(0.0, 0.3, shape).astype(np.float32)


def single(op: Op, *shape: int, before: Op | None = None, channels: int = 8) -> Graph:
    """``before``, one layer with weights, and a ReLU that lets much of it pass."""
    bias = 1 + weights(shape[2] * shape[3] if isinstance(op, DepthwiseConv2D) else shape[-1])
    nodes = (
        Node("image", Input((6, 5, channels))),
        Node("before", before or Relu(), ("image",)),
        Node("node", op, ("before",), {"kernel": weights(*shape), "bias": bias}),
        Node("relu", Relu(), ("node",)),
    )
    return Graph("test", nodes, ("relu",))


PACKED_CASES = {
    "pointwise": single(Conv2D(), 1, 1, 8, 7),
    "pointwise with padding": single(Conv2D(padding=((1, 0), (0, 2))), 1, 1, 8, 5),
    "pointwise dilated": single(Conv2D(dilation=(2, 2)), 1, 1, 8, 6),
    "dense on an image": single(Dense(), 8, 3),
    "dense on a pooled image": single(Dense(), 8, 3, before=GlobalAveragePool()),
    "dense on a flattened image": single(Dense(), 240, 3, before=Flatten()),
}
INT8_CASES = {
    "convolution": single(Conv2D(padding="same"), 3, 3, 8, 6),
    "dilated": single(Conv2D(dilation=(2, 1)), 3, 3, 8, 6),
    "strided pointwise": single(Conv2D((2, 2)), 1, 1, 8, 6),
    "grouped pointwise": single(Conv2D(groups=2), 1, 1, 4, 6),
    "depthwise": single(DepthwiseConv2D(), 3, 3, 8, 1),
    "depthwise of one pixel": single(DepthwiseConv2D(), 1, 1, 8, 2),
    "pointwise with odd inputs": single(Conv2D(), 1, 1, 5, 6, channels=5),
    "dense with odd inputs": single(Dense(), 5, 6, channels=5),
}


def images_for(graph: Graph, count: int = 3) -> Array:
    return np.random.default_rng(0).normal(0.0, 2.0, (count, *graph.shapes["image"])).astype(np.float32)


def plan_for(graph: Graph, images: Array) -> QuantizationPlan:
    return replace(min_max_plan(graph, images), weight_bits=4)


def without_xnnpack(content: bytes, images: Array) -> Array:
    resolver = OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES
    interpreter = Interpreter(model_content=content, experimental_op_resolver_type=resolver)
    (given,), (made,) = interpreter.get_input_details(), interpreter.get_output_details()
    interpreter.resize_tensor_input(given["index"], images.shape)
    interpreter.allocate_tensors()
    interpreter.set_tensor(given["index"], images)
    interpreter.invoke()
    return interpreter.get_tensor(made["index"])


@pytest.mark.parametrize("count", [1, 3])
@pytest.mark.parametrize("case", PACKED_CASES)
def test_packed_tflite_computes_the_same(case: str, count: int) -> None:
    """To the last bit, in XNNPACK and without it."""
    graph = PACKED_CASES[case]
    images = images_for(graph, count)
    model = tflite_model(graph, plan_for(graph, images))
    assert int4_layers(model) == {"node"}
    assert versions(model)["FULLY_CONNECTED"] == 10
    packed, simulated = run_tflite(model, images)["relu"], run_tflite(unpacked(model), images)["relu"]
    assert np.array_equal(packed, simulated)
    assert np.array_equal(without_xnnpack(model, images), without_xnnpack(unpacked(model), images))
    assert len(np.unique(packed)) > 1


@pytest.mark.parametrize("case", [*PACKED_CASES, *INT8_CASES])
def test_weights_on_the_grid_lose_nothing(case: str) -> None:
    """Each weight stands where it belongs: only activations are rounded."""
    graph = (PACKED_CASES | INT8_CASES)[case]
    node = graph["node"]
    steps = np.random.default_rng(0).integers(-7, 7, node.params["kernel"].shape, endpoint=True)
    steps.reshape(-1, node.params["bias"].size)[0] = 7  # some weight of each channel must be as large as can be
    gridded = replace(node, params={**node.params, "kernel": (steps * np.float32(0.03)).astype(np.float32)})
    graph = replace(graph, nodes=tuple(gridded if each is node else each for each in graph.nodes))
    images = images_for(graph)
    (expected,) = run_tflite(tflite_model(graph), images).values()
    (found,) = run_tflite(tflite_model(graph, plan_for(graph, images)), images).values()
    assert sqnr(found, expected) > LEAST_SQNR


@pytest.mark.parametrize("case", PACKED_CASES)
def test_xnnpack_takes_packed_layers(case: str) -> None:
    graph = PACKED_CASES[case]
    images = images_for(graph)
    model = tflite_model(graph, plan_for(graph, images))
    run_ops = [op["op_name"] for op in interpreted(model, images)._get_ops_details()]
    assert run_ops == [code for code, _ in operators(model)] + ["DELEGATE"]


@pytest.mark.parametrize("case", INT8_CASES)
def test_other_layers_hold_4_bits_in_8(case: str) -> None:
    graph = INT8_CASES[case]
    images = images_for(graph)
    plan = plan_for(graph, images)
    model = tflite_model(graph, plan)
    assert int4_layers(model) == set()
    (kernel,) = (tensor for name, tensor in tensors(model).items() if name == "node.kernel")
    stored = parse(model).buffers[kernel.buffer].data.view(np.int8)
    assert np.abs(stored).max() == 7
    assert operators(model) == operators(tflite_model(graph, replace(plan, weight_bits=8)))


def test_packed_tflite_of_the_demo_computes_the_same(demo: Demo) -> None:
    graph, plan, images = demo
    model = tflite_model(graph, plan)
    (packed,), (simulated,) = run_tflite(model, images).values(), run_tflite(unpacked(model), images).values()
    assert np.array_equal(packed, simulated)
    run_ops = [op["op_name"] for op in interpreted(model, images)._get_ops_details()]
    assert run_ops.count("DELEGATE") == 1, "XNNPACK takes all of it"


def test_one_weight_of_packed_tflite_shows(demo: Demo) -> None:
    graph, plan, images = demo
    content = tflite_model(graph, plan)
    model = parse(content)
    *_, tensor = (tensor for tensor in model.subgraphs[0].tensors if tensor.type == schema.TensorType.INT4)
    data = model.buffers[tensor.buffer].data.copy()
    data[0] ^= 4
    model.buffers[tensor.buffer].data = data
    (before,), (after,) = run_tflite(content, images).values(), run_tflite(pack(model), images).values()
    assert not np.array_equal(before, after)


def test_formats_agree_on_weights_of_4_bits() -> None:
    """Kernels, scales and biases of both files are the same numbers."""
    graph = tiny_xception(seed=1)
    plan = plan_for(graph, RANDOM.uniform(-1.0, 1.0, (4, 32, 32, 3)).astype(np.float32))
    ours = constants(onnx_model(graph, plan))
    model = unpacked(tflite_model(graph, plan))
    for node in graph.nodes:
        if "kernel" in node.params:
            tensor = tensors(model)[f"{node.name}.kernel"]
            stored = parse(model).buffers[tensor.buffer].data.view(np.int8)
            expected = ours[f"{node.name}.kernel.quantized"]
            assert sorted(stored.tolist()) == sorted(expected.reshape(-1).tolist())
            assert np.array_equal(tensor.quantization.scale, ours[f"{node.name}.kernel.scale"])


def test_packed_tflite_is_smaller(demo: Demo) -> None:
    graph, plan, _ = demo
    packed, simulated = (len(tflite_model(graph, replace(plan, weight_bits=bits))) for bits in (4, 8))
    assert packed < 0.85 * simulated
