"""How files say that they store weights of 4 bits: counted from the file, not from what was asked for."""

import math
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from graphs import tiny_xception
from qdq import TARGETS
from tflite_support import min_max_plan

from edgex.errors import ModelError
from edgex.graph.ir import Conv2D, Dense
from edgex.lint.weight_storage import WeightStorage, unpacked_warning, weight_storage
from edgex.plan import QuantizationPlan
from edgex.target import TargetProfile
from edgex.write.onnx import onnx_model
from edgex.write.onnx_form import int8_form
from edgex.write.tflite import tflite_model

GRAPH = tiny_xception()
WEIGHTS = {node.name: math.prod(node.params["kernel"].shape) for node in GRAPH.nodes if "kernel" in node.params}
TOTAL = sum(WEIGHTS.values())
PACKED = sum(
    WEIGHTS[node.name]
    for node in GRAPH.nodes
    if isinstance(node.op, Dense)
    or (isinstance(node.op, Conv2D) and node.params["kernel"].shape[:2] == (1, 1) and node.op.strides == (1, 1))
)
"""In dense and pointwise layers."""

IMAGES = np.random.default_rng(0).uniform(-1.0, 1.0, (2, 32, 32, 3)).astype(np.float32)
PLAN = replace(min_max_plan(GRAPH, IMAGES), weight_bits=4)


def onnx_file(folder: Path, target: TargetProfile, plan: QuantizationPlan | None = PLAN) -> Path:
    path = folder / "m.int8.onnx"
    model = onnx_model(GRAPH, plan, int8_form(target, plan.weight_bits) if plan else None)
    path.write_bytes(model.SerializeToString())
    return path


def tflite_file(folder: Path, plan: QuantizationPlan | None = PLAN) -> Path:
    path = folder / "m.int8.tflite"
    path.write_bytes(tflite_model(GRAPH, plan))
    return path


def test_onnx_packs_all_or_nothing(tmp_path: Path) -> None:
    assert weight_storage(onnx_file(tmp_path, TARGETS["x86"])) == (TOTAL, 0)
    assert weight_storage(onnx_file(tmp_path, TARGETS["jetson"])) == (0, TOTAL)


def test_tflite_packs_dense_and_pointwise_layers(tmp_path: Path) -> None:
    assert 0 < PACKED < TOTAL
    assert weight_storage(tflite_file(tmp_path)) == WeightStorage(PACKED, TOTAL - PACKED)


def test_8_bits_are_8_bits(tmp_path: Path) -> None:
    plan = replace(PLAN, weight_bits=8)
    assert weight_storage(tflite_file(tmp_path, plan)) == (0, TOTAL)
    assert weight_storage(onnx_file(tmp_path, TARGETS["x86"], plan)) == (0, TOTAL)


def test_float_weights_do_not_count(tmp_path: Path) -> None:
    assert weight_storage(tflite_file(tmp_path, None)) == weight_storage(onnx_file(tmp_path, TARGETS["x86"], None))
    assert weight_storage(tflite_file(tmp_path, None)) == (0, 0)
    kept = replace(min_max_plan(GRAPH, IMAGES, keep_float=["predictions", "conv2d"]), weight_bits=4)
    left = TOTAL - WEIGHTS["predictions"] - WEIGHTS["conv2d"]
    assert sum(weight_storage(tflite_file(tmp_path, kept))) == left
    assert weight_storage(onnx_file(tmp_path, TARGETS["x86"], kept)) == (left, 0)


def test_what_people_are_told(tmp_path: Path) -> None:
    x86, jetson = TARGETS["x86"], TARGETS["jetson"]
    assert unpacked_warning(onnx_file(tmp_path, x86), x86) is None
    assert unpacked_warning(onnx_file(tmp_path, jetson), jetson) == (
        "m.int8.onnx stores the 4-bit weights in 8 bits each: TensorRT takes INT4 weights with float activations only."
    )
    limited = x86.model_copy(update={"onnx": x86.onnx.model_copy(update={"opset_limit": 17})})
    assert unpacked_warning(onnx_file(tmp_path, limited), limited) == (
        "m.int8.onnx stores the 4-bit weights in 8 bits each: cpu reads opset 17, which has no INT4."
    )
    sentence = unpacked_warning(tflite_file(tmp_path), x86)
    assert re.match(rf"m\.int8\.tflite stores {(TOTAL - PACKED) / TOTAL:.0%} of the 4-bit weights", sentence or "")


@pytest.mark.parametrize("name", ["m.onnx", "m.tflite"])
def test_what_is_no_model_is_refused(name: str, tmp_path: Path) -> None:
    (tmp_path / name).write_bytes(b"no model at all")
    with pytest.raises(ModelError, match=re.escape(name)):
        weight_storage(tmp_path / name)
