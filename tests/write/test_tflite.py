"""A whole network in TFLite, in float and in INT8, run in LiteRT."""

from dataclasses import replace

import numpy as np
import pytest
from ai_edge_litert import schema_py_generated as schema
from ai_edge_litert.interpreter import Interpreter
from graphs import tiny_xception
from tflite_support import in_float, interpreted, min_max_plan, operators, parse, run, sqnr, tensors, types

from edgex.errors import UsageError
from edgex.graph.fusion import fused_activation
from edgex.plan import QuantizationPlan, Range
from edgex.write.tflite import tflite_model
from edgex.write.tflite_schema import BUFFER_ALIGNMENT

PICTURES = np.random.default_rng(0).uniform(-1.0, 1.0, (7, 32, 32, 3)).astype(np.float32)

GRAPH = tiny_xception(seed=1)
LOGITS = replace(GRAPH, nodes=GRAPH.nodes[:-1], outputs=("predictions",))

PLAN = min_max_plan(GRAPH, PICTURES)
FLOAT, INT8 = tflite_model(GRAPH), tflite_model(GRAPH, PLAN)

LEAST_SQNR = 25.0
"""Of the logits in INT8, in dB."""


def logits_sqnr(plan: QuantizationPlan) -> float:
    expected = run(tflite_model(LOGITS), PICTURES)["predictions"]
    return sqnr(run(tflite_model(LOGITS, plan), PICTURES)["predictions"], expected)


def test_int8_is_close_to_float() -> None:
    assert logits_sqnr(PLAN) > LEAST_SQNR


def test_int8_with_a_wrong_range_is_not() -> None:
    low, high = PLAN.ranges["add"]
    assert logits_sqnr(replace(PLAN, ranges={**PLAN.ranges, "add": Range(low / 4, high / 4)})) < LEAST_SQNR


@pytest.mark.parametrize("model", [FLOAT, INT8], ids=["float", "int8"])
def test_batches_of_1_and_7_agree(model: bytes) -> None:
    together = run(model, PICTURES)["predictions.softmax"]
    apart = np.concatenate([run(model, picture[None])["predictions.softmax"] for picture in PICTURES])
    assert np.abs(together - apart).max() <= 1e-6
    assert np.abs(together[0] - together[1]).max() > 1e-3


def test_equal_arguments_give_equal_bytes() -> None:
    assert tflite_model(tiny_xception(seed=1)) == FLOAT
    assert tflite_model(tiny_xception(seed=1), PLAN) == INT8


@pytest.mark.parametrize("model", [FLOAT, INT8], ids=["float", "int8"])
def test_xnnpack_takes_all_of_it(model: bytes) -> None:
    run_ops = [op["op_name"] for op in interpreted(model, PICTURES[:1])._get_ops_details()]
    assert run_ops == [code for code, _ in operators(model)] + ["DELEGATE"]


def test_names_are_those_of_the_graph() -> None:
    made = {name for _, name in operators(FLOAT)}
    fused = {node.name for node in GRAPH.nodes if fused_activation(GRAPH, node)}
    assert made == {node.name for node in GRAPH.nodes} - fused - {"input"}
    assert ("CONV_2D", "block1_conv1_act") in operators(FLOAT)
    assert ("RELU", "block3_sepconv1_act") in operators(FLOAT), "the sum before it has other readers"


def test_int8_names_and_ends() -> None:
    assert operators(INT8)[0] == ("QUANTIZE", "input.int8")
    assert operators(INT8)[-5:] == [
        ("MEAN", "avg_pool"),
        ("CONV_2D", "predictions.conv"),
        ("RESHAPE", "predictions"),
        ("DEQUANTIZE", "predictions.float"),
        ("SOFTMAX", "predictions.softmax"),
    ]
    assert types(INT8) == {"input": "FLOAT32", "predictions.softmax": "FLOAT32"}
    assert in_float(INT8) == {"predictions.softmax"}


def test_integer_ends() -> None:
    model = tflite_model(GRAPH, PLAN, integer_io=True)
    assert not {"QUANTIZE", "DEQUANTIZE"} & {code for code, _ in operators(model)}
    assert types(model) == {"input": "INT8", "predictions.softmax": "INT8"}
    made, given = (tensors(model)[name].quantization for name in ("predictions.softmax", "input"))
    assert (made.scale[0], made.zeroPoint[0]) == (1 / 256, -128)
    stored = np.clip(np.rint(PICTURES / given.scale[0]) + given.zeroPoint[0], -128, 127).astype(np.int8)
    (got,) = run(model, stored).values()
    (expected,) = run(INT8, PICTURES).values()
    assert np.abs((got + 128.0) / 256 - expected).max() < 2 / 256


def test_integer_ends_need_integer_neighbours() -> None:
    plan = min_max_plan(GRAPH, PICTURES, keep_float=["block1_conv1", "block1_conv1_act"])
    with pytest.raises(UsageError, match="input cannot be int8"):
        tflite_model(GRAPH, plan, integer_io=True)


def test_kept_layers_run_in_float() -> None:
    plan = min_max_plan(GRAPH, PICTURES, keep_float=["block3_sepconv1.depthwise", "add"])
    model = tflite_model(GRAPH, plan)
    assert in_float(model) == {"block3_sepconv1.depthwise.float", "add.float", "predictions.softmax"}
    assert operators(model).count(("DEQUANTIZE", "block3_sepconv1_act.float")) == 1
    assert ("QUANTIZE", "block3_sepconv1.depthwise") in operators(model)
    assert tensors(model)["block3_sepconv1.depthwise.kernel"].type == schema.TensorType.FLOAT32
    assert logits_sqnr(plan) > LEAST_SQNR


def test_signature_names_the_ends() -> None:
    signatures = Interpreter(model_content=FLOAT).get_signature_list()
    assert signatures == {"serving_default": {"inputs": ["input"], "outputs": ["predictions.softmax"]}}


def test_constants_are_aligned() -> None:
    model = np.frombuffer(INT8, np.uint8)
    data = [buffer.data for buffer in parse(model).buffers if buffer.data is not None]
    assert len(data) > 20
    assert not any((values.ctypes.data - model.ctypes.data) % BUFFER_ALIGNMENT for values in data)
