"""A whole network in ONNX, in float, half precision and INT8, run in ONNX Runtime."""

import hashlib
import os
import re
import subprocess
import sys
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
from graphs import tiny_xception
from numpy.typing import NDArray
from onnx import ModelProto, TensorProto, ValueInfoProto, helper, numpy_helper
from onnx_support import min_max_plan, run
from reference import reference, relative_error, sqnr

from edgex.errors import ModelError
from edgex.graph.fusion import fused_activation
from edgex.graph.ir import Activation, Add, Array, Conv2D, Dense, Graph, Input, Node, Pad, Relu, Softmax
from edgex.plan import QuantizationPlan, Scheme
from edgex.write.onnx import IR_VERSIONS, OnnxForm, onnx_model

RANDOM = np.random.default_rng(0)
IMAGES = RANDOM.uniform(-1.0, 1.0, (16, 32, 32, 3)).astype(np.float32)

GRAPH = tiny_xception(seed=1)
LOGITS = replace(GRAPH, nodes=GRAPH.nodes[:-1], outputs=("predictions",))
EXPECTED = reference(GRAPH, IMAGES)

TOLERANCE = 1e-5
HALF_TOLERANCE = 1e-2
LEAST_SQNR = 25.0
"""Of the logits in INT8, in dB; they reach 36 to 39."""

FORMS: dict[str, tuple[Scheme, OnnxForm]] = {
    "U8S8": ("asymmetric", OnnxForm()),
    "U8S8 float bias": ("asymmetric", OnnxForm(bias="float")),
    "S8S8": ("asymmetric", OnnxForm(activation_type="int8")),
    "S8S8 for TensorRT": ("symmetric", OnnxForm(activation_type="int8", bias="float")),
}
PLANS = {scheme: min_max_plan(GRAPH, IMAGES, scheme, integer_io=True) for scheme in ("asymmetric", "symmetric")}
OPSETS = (13, 17, 21)
OFFSETS = {"uint8": 128, "int8": 0}


def int8_model(form: str, graph: Graph = GRAPH, **changes: Any) -> ModelProto:
    scheme, onnx_form = FORMS[form]
    plan = PLANS[scheme]
    if not changes.get("integer_io"):
        plan = replace(plan, ranges={name: span for name, span in plan.ranges.items() if name != "predictions.softmax"})
    return onnx_model(graph, plan, replace(onnx_form, **changes))


def constants(model: ModelProto) -> dict[str, NDArray[Any]]:
    return {tensor.name: numpy_helper.to_array(tensor) for tensor in model.graph.initializer}


# Float


@pytest.mark.parametrize("opset", OPSETS)
def test_float_is_exact(opset: int) -> None:
    found = run(onnx_model(GRAPH, form=OnnxForm(opset=opset)), IMAGES)
    assert relative_error(found["predictions.softmax"], EXPECTED["predictions.softmax"]) < TOLERANCE


def test_one_wrong_weight_shows() -> None:
    kernel = GRAPH["block3_sepconv1.pointwise"].params["kernel"].copy()
    kernel[0, 0, 3, 5] *= 1.1
    faulty = GRAPH.rewrite(
        {"block3_sepconv1.pointwise": [GRAPH["block3_sepconv1.pointwise"].with_params(kernel=kernel)]}
    )
    found = run(onnx_model(faulty), IMAGES)
    assert relative_error(found["predictions.softmax"], EXPECTED["predictions.softmax"]) > TOLERANCE


@pytest.mark.parametrize("opset", OPSETS)
def test_half_precision(opset: int) -> None:
    model = onnx_model(GRAPH, form=OnnxForm(opset=opset, float_type="float16"))
    (found,) = run(model, IMAGES).values()
    assert found.dtype == np.float32
    assert relative_error(found, EXPECTED["predictions.softmax"]) < HALF_TOLERANCE
    assert {array.dtype for array in constants(model).values() if array.dtype.kind == "f"} == {np.dtype(np.float16)}


def test_half_precision_ends_in_a_float_softmax() -> None:
    """Two classes that float16 cannot tell apart near 0.5, where its steps are 0.0005."""
    graph = Graph(
        "test",
        (Node("logits", Input((2,))), Node("scaled", Relu(), ("logits",)), Node("softmax", Softmax(), ("scaled",))),
        ("softmax",),
    )
    logits = np.array([[1.0, 1.0009765625]], np.float32)  # neighbours in float16
    (found,) = run(onnx_model(graph, form=OnnxForm(float_type="float16")), logits).values()
    assert relative_error(found, reference(graph, logits)["softmax"]) < 1e-6
    assert np.abs(found.astype(np.float16) - found).max() > 1e-5


# INT8


@pytest.mark.parametrize("opset", OPSETS)
@pytest.mark.parametrize("form", FORMS)
def test_int8_is_close_to_float(form: str, opset: int) -> None:
    found = run(int8_model(form, LOGITS, opset=opset), IMAGES)
    assert sqnr(found["predictions"], EXPECTED["predictions"]) > LEAST_SQNR


@pytest.mark.parametrize("constant", ["add.scale", "block3_sepconv1.depthwise.kernel.scale", "input.zero_point"])
@pytest.mark.parametrize("form", FORMS)
def test_int8_with_a_wrong_constant_is_not(form: str, constant: str) -> None:
    model = int8_model(form, LOGITS)
    (tensor,) = [tensor for tensor in model.graph.initializer if tensor.name == constant]
    array = numpy_helper.to_array(tensor)
    wrong = array / 4 if array.dtype == np.float32 else (array + 60).astype(array.dtype)
    tensor.CopyFrom(numpy_helper.from_array(wrong.astype(array.dtype), constant))
    assert sqnr(run(model, IMAGES)["predictions"], EXPECTED["predictions"]) < LEAST_SQNR


@pytest.mark.parametrize(
    "model",
    [onnx_model(GRAPH), onnx_model(GRAPH, form=OnnxForm(float_type="float16")), *map(int8_model, FORMS)],
    ids=["float", "half", *FORMS],
)
def test_batches_of_1_and_7_agree(model: ModelProto) -> None:
    together = run(model, IMAGES[:7])["predictions.softmax"]
    apart = np.concatenate([run(model, image[np.newaxis])["predictions.softmax"] for image in IMAGES[:7]])
    assert np.abs(together - apart).max() <= 1e-6
    assert np.abs(together[0] - together[1]).max() > 1e-3


@pytest.mark.parametrize("form", FORMS)
def test_readers_take_what_is_dequantized(form: str) -> None:
    """What goes through 8 bits comes back before anyone computes with it."""
    model = int8_model(form)
    readers: dict[str, list[str]] = {}
    for node in model.graph.node:
        for value in node.input:
            readers.setdefault(value, []).append(node.op_type)
    stored = set(PLANS["asymmetric"].ranges) - {"predictions.softmax"}
    assert stored >= {"input", "add", "avg_pool", "predictions"}
    for name in stored:
        raw = "input.nchw" if name == "input" else f"{name}.raw"
        assert readers[raw] == ["QuantizeLinear"]
        assert readers[f"{name}.quantized"] == ["DequantizeLinear"]
        wanted = {type(node.op) for node in GRAPH.consumers[name]}
        assert len(readers["input.body" if name == "input" else name]) == len(wanted)
    fused = {node.name for node in GRAPH.nodes if fused_activation(GRAPH, node)}
    assert len(fused) == 5
    assert not fused & stored


@pytest.mark.parametrize("form", FORMS)
def test_weights_are_8_bits_per_output_channel(form: str) -> None:
    found = constants(int8_model(form))
    for node in GRAPH.nodes:
        if node.params:
            kernel, scales = found[f"{node.name}.kernel.quantized"], found[f"{node.name}.kernel.scale"]
            assert kernel.dtype == np.int8
            assert scales.shape == (kernel.shape[0],)
            assert not found[f"{node.name}.kernel.zero_point"].any()
            assert np.abs(kernel.reshape(len(scales), -1).astype(int)).max(axis=1).tolist() == [127] * len(scales)
    assert {name.endswith(".bias") for name in found if "bias" in name} == (
        {True} if FORMS[form][1].bias == "float" else {False}
    )


def test_symmetric_models_have_no_zero_points() -> None:
    found = constants(int8_model("S8S8 for TensorRT"))
    zero_points = [array for name, array in found.items() if name.endswith("zero_point")]
    assert len(zero_points) > 20
    assert not any(array.any() for array in zero_points)


def test_unsigned_and_signed_are_the_same_but_for_128() -> None:
    unsigned, signed = constants(int8_model("U8S8")), constants(int8_model("S8S8"))
    assert set(unsigned) == set(signed)
    shifted = [name for name in unsigned if unsigned[name].dtype == np.uint8]
    assert {name: int(unsigned[name]) - 128 for name in shifted} == {name: int(signed[name]) for name in shifted}
    others = set(unsigned) - set(shifted)
    assert all(np.array_equal(unsigned[name], signed[name]) for name in others)


def test_onnx_runtime_runs_the_body_in_integers(tmp_path: Path) -> None:
    options = onnxruntime.SessionOptions()
    options.optimized_model_filepath = str(tmp_path / "optimized.onnx")
    options.log_severity_level = 3
    onnxruntime.InferenceSession(int8_model("U8S8").SerializeToString(), options, ["CPUExecutionProvider"])
    optimized = onnx.load(tmp_path / "optimized.onnx")
    found = Counter(node.op_type for node in optimized.graph.node)
    convolutions = sum(len(node.params.get("kernel", np.zeros(0)).shape) == 4 for node in GRAPH.nodes)
    assert convolutions == 13
    assert found["QLinearConv"] == convolutions
    assert found["QLinearAdd"] == 2
    assert found["QGemm"] == 1
    assert found["QLinearGlobalAveragePool"] == 1
    assert not {"Conv", "FusedConv", "Add", "Gemm", "MatMul", "Relu", "GlobalAveragePool"} & set(found)


# Ends


def shape(value: ValueInfoProto) -> list[int | str]:
    return [size.dim_param or size.dim_value for size in value.type.tensor_type.shape.dim]


def test_float_ends_of_int8_models() -> None:
    (given,), (made,) = int8_model("U8S8").graph.input, int8_model("U8S8").graph.output
    assert (given.type.tensor_type.elem_type, made.type.tensor_type.elem_type) == (TensorProto.FLOAT, TensorProto.FLOAT)
    assert (shape(given), shape(made)) == (["N", 32, 32, 3], ["N", 10])


def quantized(values: Array, plan: QuantizationPlan, name: str, form: OnnxForm) -> NDArray[Any]:
    """A tensor as an integer input takes it."""
    scale, zero_point = plan.parameters(name)
    stored = np.clip(np.rint(values / scale) + zero_point, -128, 127)
    return (stored + OFFSETS[form.activation_type]).astype(form.activation_type)


def dequantized(stored: NDArray[Any], plan: QuantizationPlan, name: str, form: OnnxForm) -> Array:
    """What an integer output means."""
    assert stored.dtype == form.activation_type
    scale, zero_point = plan.parameters(name)
    return (stored.astype(np.float32) - OFFSETS[form.activation_type] - zero_point) * scale


@pytest.mark.parametrize("form", FORMS)
def test_integer_ends(form: str) -> None:
    scheme, onnx_form = FORMS[form]
    plan = PLANS[scheme]
    model = int8_model(form, integer_io=True)
    (found,) = run(model, quantized(IMAGES, plan, "input", onnx_form)).values()
    (expected,) = run(int8_model(form), IMAGES).values()
    # ONNX Runtime may compute the softmax in integers too, which costs up to another half step
    step = plan.parameters("predictions.softmax").scale
    assert np.abs(dequantized(found, plan, "predictions.softmax", onnx_form) - expected).max() <= step


ENDS = Graph(
    "ends",
    (
        Node("image", Input((8, 8, 4))),
        Node("conv", Conv2D(padding="same"), ("image",), {"kernel": RANDOM.normal(0, 0.3, (3, 3, 4, 4))}),
        Node("silu", Activation("silu"), ("image",)),
        Node("relu", Relu(), ("conv",)),
        Node("sum", Add(), ("silu", "relu")),
        Node("pad", Pad(((1, 0), (0, 1))), ("sum",)),
        Node("tanh", Activation("tanh"), ("pad",)),
    ),
    ("conv", "sum", "tanh", "pad"),
)
"""Outputs that are read on, images, in float and not; an input that an INT8 node and a float node read."""
END_IMAGES = RANDOM.normal(0, 1, (5, 8, 8, 4)).astype(np.float32)


@pytest.mark.parametrize("float_type", ["float32", "float16"])
@pytest.mark.parametrize("opset", OPSETS)
def test_several_outputs(opset: int, float_type: Any) -> None:
    found = run(onnx_model(ENDS, form=OnnxForm(opset=opset, float_type=float_type)), END_IMAGES)
    expected = reference(ENDS, END_IMAGES)
    assert tuple(found) == ENDS.outputs
    tolerance = TOLERANCE if float_type == "float32" else HALF_TOLERANCE
    assert all(relative_error(found[name], expected[name]) < tolerance for name in ENDS.outputs)
    assert all(relative_error(found[name], 1.1 * expected[name]) > tolerance for name in ENDS.outputs)


@pytest.mark.parametrize("keep_float", [None, "conv", "pad", "sum|relu"])
@pytest.mark.parametrize("integer_io", [False, True])
@pytest.mark.parametrize("form", FORMS)
def test_several_outputs_in_int8(form: str, integer_io: bool, keep_float: str | None) -> None:
    scheme, onnx_form = FORMS[form]
    pattern = re.compile(keep_float) if keep_float else None
    plan = min_max_plan(ENDS, END_IMAGES, scheme, integer_io=integer_io, keep_float=pattern)
    model = onnx_model(ENDS, plan, replace(onnx_form, integer_io=integer_io))
    found = run(model, quantized(END_IMAGES, plan, "image", onnx_form) if integer_io else END_IMAGES)
    expected = reference(ENDS, END_IMAGES)
    for name in ENDS.outputs:
        values = dequantized(found[name], plan, name, onnx_form) if integer_io else found[name]
        assert sqnr(values, expected[name]) > 30


# What is kept in float, names, bytes


def test_kept_layers_run_in_float() -> None:
    plan = min_max_plan(GRAPH, IMAGES, keep_float=re.compile("^block3_sepconv1|^predictions$"))
    model = onnx_model(GRAPH, plan)
    found = constants(model)
    for name in ("block3_sepconv1.depthwise", "block3_sepconv1.pointwise", "predictions"):
        assert found[f"{name}.kernel"].dtype == np.float32
    assert found["block3_sepconv2.depthwise.kernel.quantized"].dtype == np.int8
    # Between two of them nothing is rounded
    assert "block3_sepconv1.depthwise.quantized" not in {node.output[0] for node in model.graph.node}
    logits = run(onnx_model(LOGITS, plan), IMAGES)["predictions"]
    assert sqnr(logits, EXPECTED["predictions"]) > LEAST_SQNR


@pytest.mark.parametrize("form", ["U8S8", "S8S8"])  # with a float bias, other layers too run otherwise without it
@pytest.mark.parametrize("kept", ["block3_sepconv1.pointwise", "block3_sepconv2.depthwise", "block1_conv2"])
def test_a_kept_layer_between_stored_tensors_keeps_its_weights(form: str, kept: str) -> None:
    """One scale for all channels, as ONNX Runtime would give such weights, loses the small ones."""
    node = GRAPH[kept]
    kernel = node.params["kernel"].copy()
    kernel[..., :1] *= 1e3
    spread = replace(node, params={**node.params, "kernel": kernel})
    graph = replace(GRAPH, nodes=tuple(spread if each is node else each for each in GRAPH.nodes))
    scheme, onnx_form = FORMS[form]
    plan = min_max_plan(graph, IMAGES, scheme, keep_float=re.compile(f"^{re.escape(kept)}$"))
    read, made = graph[kept].inputs[0], getattr(fused_activation(graph, graph[kept]), "name", kept)
    assert {read, made} <= set(plan.ranges), "the layer must stand between two stored tensors"
    model = onnx_model(graph, plan, onnx_form)
    expected = run(model, IMAGES, without=["WeightBiasQuantization"])
    found = run(model, IMAGES)
    np.testing.assert_allclose(found["predictions.softmax"], expected["predictions.softmax"], atol=1e-5)


@pytest.mark.parametrize(
    "model",
    [
        onnx_model(GRAPH),
        onnx_model(GRAPH, form=OnnxForm(float_type="float16")),
        int8_model("U8S8"),
        int8_model("U8S8", integer_io=True),
        int8_model("S8S8 for TensorRT"),
    ],
    ids=["float", "half", "int8", "integer ends", "TensorRT"],
)
def test_nothing_is_there_for_nobody(model: ModelProto) -> None:
    made = [name for node in model.graph.node for name in node.output] + list(constants(model))
    read = {name for node in model.graph.node for name in node.input} | {output.name for output in model.graph.output}
    assert set(made) <= read
    assert len(made) == len(set(made))


@pytest.mark.parametrize("model", [onnx_model(GRAPH), int8_model("U8S8")], ids=["float", "int8"])
def test_names_are_those_of_the_graph(model: ModelProto) -> None:
    computed = {node.name.removesuffix(".raw") for node in model.graph.node}
    assert {node.name for node in GRAPH.nodes if not isinstance(node.op, Input)} <= computed
    assert all(node.name == node.output[0] for node in model.graph.node)
    assert model.graph.name == "tiny_xception"


SCRIPT = """
import hashlib, sys
sys.path.insert(0, {tests!r})
from graphs import tiny_xception
from edgex.plan import QuantizationPlan
from edgex.write.onnx import OnnxForm, onnx_model
plan = QuantizationPlan.from_json(sys.stdin.read())
for arguments in ((None, OnnxForm()), (plan, OnnxForm()), (None, OnnxForm(float_type="float16"))):
    print(hashlib.sha256(onnx_model(tiny_xception(seed=1), *arguments).SerializeToString()).hexdigest())
"""


def test_equal_arguments_give_equal_bytes_in_every_process() -> None:
    plan = PLANS["asymmetric"]
    here = [
        hashlib.sha256(onnx_model(GRAPH, *arguments).SerializeToString()).hexdigest()
        for arguments in ((None, OnnxForm()), (plan, OnnxForm()), (None, OnnxForm(float_type="float16")))
    ]
    for seed in ("1", "2"):
        there = subprocess.run(
            [sys.executable, "-c", SCRIPT.format(tests=str(Path(__file__).parents[1]))],
            env={**os.environ, "PYTHONHASHSEED": seed},
            input=plan.to_json(),
            capture_output=True,
            text=True,
            check=True,
        )
        assert there.stdout.split() == here
    assert len(set(here)) == 3


def test_ir_versions_are_those_of_the_releases() -> None:
    released = {row[2]: row[1] for row in reversed(helper.VERSION_TABLE)}
    assert {opset: released[opset] for opset in IR_VERSIONS} == IR_VERSIONS


def test_a_weight_too_large_for_float16_is_refused() -> None:
    kernel = np.full((3, 2), 70_000.0, np.float32)
    graph = Graph("test", (Node("x", Input((3,))), Node("dense", Dense(), ("x",), {"kernel": kernel})), ("dense",))
    with pytest.raises(ModelError, match=r"^dense\.kernel holds values too large for float16"):
        onnx_model(graph, form=OnnxForm(float_type="float16"))
    onnx_model(graph)
