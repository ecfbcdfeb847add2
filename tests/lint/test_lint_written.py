"""The ONNX linter on files as they are written: by our writer, and by ONNX Runtime's quantizer."""

import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest
from graphs import tiny_xception
from onnxruntime.quantization import CalibrationDataReader, QuantType, quantize_static
from qdq import TARGETS, lint

from edgex.graph.ir import Add, Graph
from edgex.lint.onnx import lint_onnx
from edgex.plan import QuantizationPlan, Range
from edgex.quantize.layout import quantization_layout
from edgex.target import TargetProfile
from edgex.write.onnx import OnnxForm, onnx_model
from edgex.write.onnx_form import int8_form


def _plan(graph: Graph, target: TargetProfile, *, keep_float: str = "", integer_io: bool = False) -> QuantizationPlan:
    """A plan whose ranges don't matter here."""
    layout = quantization_layout(graph, re.compile(keep_float) if keep_float else None, integer_io=integer_io)
    ranges = dict.fromkeys(layout.tensors, Range(-1.0, 3.0))
    return QuantizationPlan(target.activations, ranges, layout.precisions, layout.ties)


def _form(target: TargetProfile, *, integer_io: bool = False) -> OnnxForm:
    return OnnxForm(target.opset, target.onnx.activation_type, target.onnx.bias, integer_io=integer_io)


@pytest.mark.parametrize("integer_io", [False, True])
@pytest.mark.parametrize("name", TARGETS)
def test_our_writer_keeps_every_rule(name: str, integer_io: bool, tmp_path: Path) -> None:
    graph, target = tiny_xception(), TARGETS[name]
    plan = _plan(graph, target, integer_io=integer_io)
    assert lint(onnx_model(graph, plan, _form(target, integer_io=integer_io)), target, tmp_path) == {}


@pytest.mark.parametrize("name", TARGETS)
def test_our_writer_keeps_every_rule_with_weights_of_4_bits(name: str, tmp_path: Path) -> None:
    graph, target = tiny_xception(), TARGETS[name]
    plan = replace(_plan(graph, target), weight_bits=4)
    assert lint(onnx_model(graph, plan, int8_form(target, 4)), target, tmp_path) == {}


@pytest.mark.parametrize(
    ("keep_float", "float_products"),
    [
        ("^block3_sepconv1", {"block3_sepconv1.depthwise", "block3_sepconv1.pointwise"}),
        ("^block1_conv2_act$", {"block1_conv2"}),
        ("^add", set()),
        ("^predictions$", set()),
    ],
)
def test_our_writer_keeps_every_rule_but_where_the_user_says(
    keep_float: str, float_products: set[str], tmp_path: Path
) -> None:
    graph, target = tiny_xception(), TARGETS["jetson"]
    model = onnx_model(graph, _plan(graph, target, keep_float=keep_float), _form(target))
    found = lint(model, target, tmp_path).get("product-inputs-quantized", set())
    assert {where.removesuffix(".raw") for where in found} == float_products
    assert lint(model, target, tmp_path, allow_float=keep_float) == {}


def test_our_writer_without_a_residual_is_found_out(tmp_path: Path) -> None:
    graph, target = tiny_xception(), TARGETS["jetson"]
    add = next(node for node in graph.nodes if isinstance(node.op, Add))
    plan = _plan(graph, target)
    plan = replace(plan, ranges={name: span for name, span in plan.ranges.items() if name != add.inputs[1]})
    assert set(lint(onnx_model(graph, plan, _form(target)), target, tmp_path)) == {"residuals-quantized"}


def test_float_files_need_only_the_right_operators(tmp_path: Path) -> None:
    graph = tiny_xception()
    for float_type in ("float32", "float16"):
        model = onnx_model(graph, form=OnnxForm(float_type=float_type))  # literals by name
        assert lint(model, TARGETS["jetson"], tmp_path) == {}
        model.graph.node[3].op_type = "Mish"
        assert set(lint(model, TARGETS["jetson"], tmp_path)) == {"operators-supported"}


TENSORRT_FORM = {
    "per_channel": True,
    "activation_type": QuantType.QInt8,
    "extra_options": {"ActivationSymmetric": True, "QuantizeBias": False},
}


@pytest.mark.parametrize(
    ("form", "broken"),
    [({}, {"zero-points-zero", "weights-per-channel", "bias-float"}), (TENSORRT_FORM, set())],
    ids=["default", "as TensorRT wants it"],
)
def test_files_of_another_quantizer(form: dict[str, object], broken: set[str], tmp_path: Path) -> None:
    onnx.save(onnx_model(tiny_xception()), tmp_path / "float.onnx")
    quantize_static(tmp_path / "float.onnx", tmp_path / "int8.onnx", Noise(), **form)
    assert {finding.rule for finding in lint_onnx(tmp_path / "int8.onnx", TARGETS["jetson"])} == broken


class Noise(CalibrationDataReader):  # type: ignore[misc]  # onnxruntime ships no types
    """Eight random images."""

    def __init__(self) -> None:
        random = np.random.default_rng(0)
        self.images = iter(random.uniform(-1, 1, (8, 1, 32, 32, 3)).astype(np.float32))

    def get_next(self) -> dict[str, np.ndarray] | None:
        image = next(self.images, None)
        return None if image is None else {"input": image}
