"""Profiles read: what is not faster, what runs in float, what stays unfused."""

from pathlib import Path

import pytest
from graphs import tiny_xception

from edgex.bench.operations import Operation, OperationProfile
from edgex.sensitivity.record import FileSpeed
from edgex.sensitivity.speed import explain

GRAPH = tiny_xception()
Row = tuple[str, str, str, float]

FLOAT: list[Row] = [
    ("block1_conv1", "Conv", "float", 2.0),
    ("block2_sepconv1.depthwise", "Conv", "float", 1.0),
    ("block2_sepconv2.depthwise", "Conv", "float", 1.0),
    ("add", "Add", "float", 0.5),
    ("block3_sepconv1_act", "Relu", "float", 0.1),
    ("predictions.softmax", "Softmax", "float", 0.4),
]
INT8: list[Row] = [
    ("input_q", "QuantizeLinear", "conversion", 0.1),
    ("block1_conv1", "QLinearConv", "int8", 0.5),
    ("block2_sepconv1.depthwise", "QLinearConv", "int8", 1.2),
    ("block2_sepconv2.depthwise", "QLinearConv", "int8", 0.8),
    ("add", "QLinearAdd", "int8", 0.2),
    ("predictions", "DequantizeLinear", "conversion", 0.1),
    ("predictions.softmax", "Softmax", "float", 0.1),
]
HOP: list[Row] = [
    ("add", "DequantizeLinear", "conversion", 0.2),
    ("block3_sepconv1_act", "QuantizeLinear", "conversion", 0.3),
    ("add_1", "DequantizeLinear", "conversion", 0.1),
]


def profile(name: str, rows: list[Row], total: float | None = None) -> OperationProfile:
    whole = sum(ms for *_, ms in rows)
    operations = tuple(Operation(layer, op, "", precision, ms, ms / whole) for layer, op, precision, ms in rows)
    return OperationProfile(Path(name), "onnxruntime", total or whole, 0.0, operations)


def explained(rows: list[Row], total: float | None = None) -> FileSpeed:
    return explain(profile("m.int8.onnx", rows, total), profile("m.fp32.onnx", FLOAT), GRAPH)


def test_kinds_are_those_of_the_graph_beside_their_time_in_float() -> None:
    found = explained(INT8)
    assert (found.name, found.runtime, found.ms, found.float_ms) == (
        "m.int8.onnx",
        "onnxruntime",
        pytest.approx(3.0),
        pytest.approx(5.0),
    )
    kinds = [(kind.operation, kind.precision, kind.count, kind.float_ms) for kind in found.kinds]
    assert kinds == [
        ("DepthwiseConv2D", "int8", 2, pytest.approx(2.0)),
        ("Conv2D", "int8", 1, pytest.approx(2.0)),
        ("Add", "int8", 1, pytest.approx(0.5)),
        ("QuantizeLinear", "conversion", 1, None),
        ("DequantizeLinear", "conversion", 1, None),
        ("Softmax", "float", 1, pytest.approx(0.4)),
    ]
    assert found.kinds[0].ms == pytest.approx(2.0)
    assert found.kinds[0].share == pytest.approx(2 / 3)


def test_what_gains_nothing_is_said() -> None:
    said = " ".join(explained(INT8).causes)
    assert "1.67× as fast" in said
    assert "2 × DepthwiseConv2D take 66.7 % of the time and gain nothing from INT8: 2 ms, and 2 ms in float." in said
    assert "Conv2D take 16" not in said
    assert "Nothing but the softmax runs in float." in said
    assert "Unfused" not in said
    assert "between the operations" not in said


def test_what_stays_unfused_is_said_and_what_stands_between() -> None:
    found = explained(INT8[:5] + HOP + INT8[5:])
    said = " ".join(found.causes)
    assert "Unfused: 3 quantizations and dequantizations, 16.7 % of the time: add, block3_sepconv1_act, add_1." in said
    assert "Between them stand 1 × Relu." in said
    assert "1 × Add." not in said, "it reads integers"
    assert found.conversions == ("input_q", "add", "block3_sepconv1_act", "add_1", "predictions")


def test_what_runs_in_float_is_said() -> None:
    fallback: list[Row] = [("block3_sepconv1_act", "Relu", "float", 1.0)]
    found = explained(INT8[:5] + HOP[:1] + fallback + HOP[1:] + INT8[5:])
    said = " ".join(found.causes)
    assert "In float: 1 of 11 operations, 21.7 % of the time: block3_sepconv1_act." in said
    assert "Between them" not in said
    assert found.in_float == ("block3_sepconv1_act", "predictions.softmax")


def test_the_layout_and_the_time_between_operations_are_said() -> None:
    reorder: list[Row] = [("reorder_3", "ReorderInput", "conversion", 1.0)]
    said = " ".join(explained(INT8[:1] + reorder + INT8[1:], total=5.0).causes)
    assert "Changes of the layout: 1, 25.0 % of the time." in said
    assert "20.0 % of a run the runtime spends between the operations." in said
    assert "Unfused" not in said


def test_a_file_without_a_twin_is_not_compared() -> None:
    found = explain(profile("m.int8.onnx", INT8), None, GRAPH)
    assert found.float_ms is None
    assert {kind.float_ms for kind in found.kinds} == {None}
    assert found.causes[0] == "It takes 3 ms."
    assert not any("gain nothing" in cause for cause in found.causes)
