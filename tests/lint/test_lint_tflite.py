"""The TFLite linter: good files are clean, and each corruption breaks exactly the rule it should."""

import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from ai_edge_litert import schema_py_generated as schema
from graphs import tiny_xception
from tflite_support import min_max_plan, pack, parse

from edgex.errors import EdgexError, ModelError, OutputError
from edgex.lint.tflite import RULES, lint_tflite
from edgex.plan import Scheme
from edgex.write.tflite import tflite_model

PICTURES = np.random.default_rng(0).uniform(-1.0, 1.0, (2, 32, 32, 3)).astype(np.float32)
GRAPH = tiny_xception()
PLAN = min_max_plan(GRAPH, PICTURES)
INT8 = tflite_model(GRAPH, PLAN)
INT4 = tflite_model(GRAPH, replace(PLAN, weight_bits=4))


class Corruption:
    """A good file's tensors and operators, by name, to be spoiled and written."""

    def __init__(self, content: bytes = INT8) -> None:
        self.model = parse(content)
        self.graph = self.model.subgraphs[0]
        self.tensors: dict[str, Any] = {tensor.name.decode(): tensor for tensor in self.graph.tensors}

    def operator(self, name: str) -> Any:
        """The operator that makes the tensor of that name."""
        return next(op for op in self.graph.operators if self.graph.tensors[op.outputs[0]].name.decode() == name)

    def set_type(self, name: str, kind: str) -> None:
        self.tensors[name].type = getattr(schema.TensorType, kind)

    def set_axis(self, name: str, axis: int) -> None:
        self.tensors[name].quantization.quantizedDimension = axis

    def drop_bias(self, name: str) -> None:
        operator = self.operator(name)
        operator.inputs = operator.inputs[:2]

    def scale(self, name: str, factor: float, count: int | None = None) -> None:
        """Multiply a tensor's scales, and keep only the first ``count``."""
        quantization = self.tensors[name].quantization
        quantization.scale = quantization.scale[:count] * np.float32(factor)
        quantization.zeroPoint = quantization.zeroPoint[:count]

    def shift(self, name: str, zero_point: int) -> None:
        """Move the first zero point."""
        quantization = self.tensors[name].quantization
        quantization.zeroPoint = np.array([zero_point, *quantization.zeroPoint[1:]], np.int64)


def lint(tmp_path: Path, content: bytes, allow_float: str | None = None) -> list[Any]:
    path = tmp_path / "model.tflite"
    path.write_bytes(content)
    return lint_tflite(path, allow_float=re.compile(allow_float) if allow_float else None)


@pytest.mark.parametrize("integer_io", [False, True])
@pytest.mark.parametrize("scheme", ["asymmetric", "symmetric"])
def test_what_edgex_writes_is_clean(tmp_path: Path, scheme: Scheme, integer_io: bool) -> None:
    plan = min_max_plan(GRAPH, PICTURES, scheme)
    assert lint(tmp_path, tflite_model(GRAPH, plan, integer_io=integer_io)) == []


def test_packed_weights_are_clean(tmp_path: Path) -> None:
    assert lint(tmp_path, INT4) == []


def test_a_float_file_is_clean(tmp_path: Path) -> None:
    assert lint(tmp_path, tflite_model(GRAPH)) == []


def test_what_tensorflow_converts_is_clean(tmp_path: Path) -> None:
    import tensorflow as tf

    layers = tf.keras.layers
    image = layers.Input((16, 16, 4))
    x = layers.SeparableConv2D(8, 3, activation="relu")(image)
    x = layers.Add()([layers.MaxPooling2D(2)(x), layers.AveragePooling2D(2)(x)])
    model = tf.keras.Model(image, layers.Dense(3, activation="softmax")(layers.GlobalAveragePooling2D()(x)))
    converter = tf.lite.TFLiteConverter.from_keras_model(model)
    converter.optimizations = [tf.lite.Optimize.DEFAULT]
    converter.representative_dataset = lambda: [[np.ones((1, 16, 16, 4), np.float32)]]
    assert lint(tmp_path, converter.convert()) == []


SPOILED: list[tuple[str, str, Callable[[Corruption], None]]] = [
    ("io-types", "input", lambda c: c.set_type("input", "INT32")),
    ("scales-positive", "add", lambda c: c.scale("add", 0.0)),
    ("scales-positive", "add", lambda c: c.scale("add", -1.0)),
    ("scales-positive", "add", lambda c: c.scale("add", np.nan)),
    ("scales-positive", "add", lambda c: c.scale("add", np.inf)),
    ("scales-positive", "add", lambda c: c.scale("add", 1e-40)),
    ("activations-int8", "add", lambda c: c.set_type("add", "UINT8")),
    ("activations-int8", "add", lambda c: c.shift("add", 200)),
    ("activations-int8", "add", lambda c: c.scale("add", 1.0, count=0)),
    ("weights-int8", "conv2d", lambda c: c.set_type("conv2d.kernel", "UINT8")),
    ("weights-int8", "conv2d", lambda c: c.set_type("conv2d.kernel", "INT4")),
    (
        "weights-per-channel",
        "conv2d",
        lambda c: setattr(c.tensors["conv2d.kernel"].quantization, "quantizedDimension", 3),
    ),
    (
        "weights-per-channel",
        "block2_sepconv1.depthwise",
        lambda c: [c.scale(f"block2_sepconv1.depthwise.{name}", 1.0, count=1) for name in ("kernel", "bias")],
    ),
    ("weights-symmetric", "conv2d", lambda c: c.shift("conv2d.kernel", 1)),
    ("bias-scale", "conv2d", lambda c: c.scale("conv2d.bias", 1.00001)),
    ("bias-scale", "conv2d", lambda c: c.shift("conv2d.bias", 1)),
    ("bias-scale", "conv2d", lambda c: c.set_type("conv2d.bias", "INT16")),
    ("bias-scale", "conv2d", lambda c: c.drop_bias("conv2d")),
    ("ties-kept", "block2_pool", lambda c: c.scale("block2_pool", 1.001)),
    ("ties-kept", "block2_pool", lambda c: c.shift("block2_pool", 5)),
]


@pytest.mark.parametrize(("rule", "where", "spoil"), SPOILED)
def test_each_corruption_breaks_its_rule(
    tmp_path: Path, rule: str, where: str, spoil: Callable[[Corruption], None]
) -> None:
    corruption = Corruption()
    spoil(corruption)
    assert {(finding.rule, finding.where) for finding in lint(tmp_path, pack(corruption.model))} == {(rule, where)}


DENSE = "block2_sepconv1.pointwise"
SPOILED_INT4: list[tuple[str, Callable[[Corruption], None]]] = [
    ("weights-int8", lambda c: setattr(c.tensors[f"{DENSE}.kernel"], "shape", np.array([24, 15], np.int32))),
    ("weights-per-channel", lambda c: [c.scale(f"{DENSE}.{name}", 1.0, count=1) for name in ("kernel", "bias")]),
    ("weights-per-channel", lambda c: c.set_axis(f"{DENSE}.kernel", 1)),
    ("weights-symmetric", lambda c: c.shift(f"{DENSE}.kernel", 1)),
    ("bias-scale", lambda c: c.scale(f"{DENSE}.bias", 1.00001)),
]


@pytest.mark.parametrize(("rule", "spoil"), SPOILED_INT4)
def test_each_corruption_of_packed_weights_breaks_its_rule(
    tmp_path: Path, rule: str, spoil: Callable[[Corruption], None]
) -> None:
    corruption = Corruption(INT4)
    (made,) = (name for name in ("block2_sepconv2_act", DENSE) if name in corruption.tensors)
    spoil(corruption)
    assert {(finding.rule, finding.where) for finding in lint(tmp_path, pack(corruption.model))} == {(rule, made)}


@pytest.mark.parametrize("kept", ["add", "block3_sepconv1.depthwise", "predictions", "block1_conv1"])
def test_float_inside_breaks_a_rule_unless_allowed(tmp_path: Path, kept: str) -> None:
    content = tflite_model(GRAPH, min_max_plan(GRAPH, PICTURES, keep_float=[kept]))
    (finding,) = lint(tmp_path, content)
    assert finding.rule == "body-integer"
    assert lint(tmp_path, content, allow_float=f"^{re.escape(kept)}$") == []
    assert lint(tmp_path, content, allow_float="another") == [finding]


@pytest.mark.parametrize("value", [np.nan, -np.inf])
def test_weights_that_are_not_finite(tmp_path: Path, value: float) -> None:
    corruption = Corruption(tflite_model(GRAPH))
    buffer = corruption.model.buffers[corruption.tensors["conv2d.kernel"].buffer]
    weights = np.frombuffer(bytes(buffer.data), np.float32).copy()
    weights[3] = value
    buffer.data = weights.view(np.uint8)
    (finding,) = lint(tmp_path, pack(corruption.model))
    assert (finding.rule, finding.where) == ("constants-finite", "conv2d.kernel")


def test_a_limit_may_be_infinite(tmp_path: Path) -> None:
    corruption = Corruption(tflite_model(GRAPH))
    tensor = corruption.tensors["conv2d.kernel"]
    tensor.shape = np.array([1, 1, 1, 1], np.int32)
    corruption.model.buffers[tensor.buffer].data = np.full(1, -np.inf, np.float32).view(np.uint8)
    assert lint(tmp_path, pack(corruption.model)) == []


def test_every_rule_has_a_corruption() -> None:
    elsewhere = {"body-integer", "constants-finite"}
    assert {rule.__name__.replace("_", "-") for rule in RULES} == {rule for rule, _, _ in SPOILED} | elsewhere


@pytest.mark.parametrize("content", [b"", b"TFL3", b"\x1c\0\0\0TFL3", b"PK\x03\x04 no flatbuffer at all"])
def test_what_is_no_model_is_refused(tmp_path: Path, content: bytes) -> None:
    with pytest.raises(ModelError, match=r"model\.tflite"):
        lint(tmp_path, content)


@pytest.mark.parametrize("share", [0.1, 0.5, 0.9, 0.99])
def test_a_truncated_file_is_refused(tmp_path: Path, share: float) -> None:
    with pytest.raises(ModelError, match="is damaged"):
        lint(tmp_path, INT8[: int(len(INT8) * share)])


def test_several_subgraphs_are_refused(tmp_path: Path) -> None:
    corruption = Corruption()
    corruption.model.subgraphs *= 2
    with pytest.raises(ModelError, match="2 subgraphs"):
        lint(tmp_path, pack(corruption.model))


@pytest.mark.parametrize("index", [-2, 10_000])
def test_an_operand_that_is_not_there_is_refused(tmp_path: Path, index: int) -> None:
    corruption = Corruption()
    corruption.operator("add").inputs = np.array([0, index], np.int32)
    with pytest.raises(ModelError, match=f"no tensor {index}"):
        lint(tmp_path, pack(corruption.model))


def test_endless_lists_are_refused(tmp_path: Path) -> None:
    corruption = Corruption()
    corruption.operator("add").inputs = np.zeros(5_000, np.int32)
    with pytest.raises(ModelError, match="5000 operands"):
        lint(tmp_path, pack(corruption.model))


def test_too_many_scales_are_refused(tmp_path: Path) -> None:
    corruption = Corruption()
    corruption.tensors["add"].quantization.scale = np.ones(200_000, np.float32)
    with pytest.raises(ModelError, match="200000 scales or zero points"):
        lint(tmp_path, pack(corruption.model))


def test_a_long_name_is_refused(tmp_path: Path) -> None:
    corruption = Corruption()
    corruption.tensors["add"].name = b"a" * 5_000
    with pytest.raises(ModelError, match="a name is 5000 bytes long"):
        lint(tmp_path, pack(corruption.model))


class SharedBuffer:
    """Packs into tables that all have the same bytes."""

    def __init__(self, content: np.ndarray) -> None:
        self.content = content
        self.vector: int | None = None

    def Pack(self, builder: Any) -> Any:  # noqa: N802  the name that flatbuffers call
        if self.vector is None:
            self.vector = builder.CreateNumpyVector(self.content)
        schema.BufferStart(builder)
        schema.BufferAddData(builder, self.vector)
        return schema.BufferEnd(builder)


def test_buffers_that_overlap_are_refused(tmp_path: Path) -> None:
    corruption = Corruption(tflite_model(GRAPH))
    shared = SharedBuffer(np.zeros(1 << 20, np.uint8))
    corruption.model.buffers = [buffer if buffer.data is None else shared for buffer in corruption.model.buffers]
    with pytest.raises(ModelError, match="its buffers overlap"):
        lint(tmp_path, pack(corruption.model))


def test_random_damage_raises_nothing_unexpected(tmp_path: Path) -> None:
    random = np.random.default_rng(0)
    outcomes = set()
    for _ in range(200):
        damaged = bytearray(INT8)
        for position in random.integers(8, len(INT8), 3):
            damaged[position] = random.integers(256)
        try:
            outcomes.add(bool(lint(tmp_path, bytes(damaged))))
        except EdgexError:
            outcomes.add(None)
    assert outcomes == {None, True, False}, "refused, against a rule, and in the weights"


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(OutputError, match="cannot be read"):
        lint_tflite(tmp_path / "absent.tflite")
