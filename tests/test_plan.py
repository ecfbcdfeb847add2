"""The arithmetic of quantization, and the plan as JSON."""

import json
import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from edgex.errors import ModelError, UsageError
from edgex.plan import (
    BIAS_LIMIT,
    SMALLEST_SCALE,
    QuantizationPlan,
    QuantizedKernel,
    Range,
    Scheme,
    WeightBits,
    quantization_parameters,
    quantize_kernel,
    read_plan,
    weight_levels,
)

RANDOM = np.random.default_rng(0)
RANGES = [
    Range(0.0, 6.0),
    Range(-1.0, 1.0),
    Range(-0.1, 23.7),
    Range(-300.0, 0.0),
    Range(-1e-6, 2e-6),
    Range(0.0, 3e38),
    *(Range(-float(low), float(high)) for low, high in RANDOM.uniform(0, 10, (50, 2))),
]


# Activations


@pytest.mark.parametrize("span", RANGES)
def test_asymmetric_uses_all_256_levels(span: Range) -> None:
    scale, zero_point = quantization_parameters(span, "asymmetric")
    assert scale.dtype == np.float32
    assert -128 <= zero_point <= 127
    assert scale == np.float32((span.high - span.low) / 255)
    lowest, highest = (float(scale) * (level - zero_point) for level in (-128, 127))
    assert lowest == pytest.approx(span.low, abs=0.5001 * float(scale))
    assert highest == pytest.approx(span.high, abs=0.5001 * float(scale))


@pytest.mark.parametrize("span", RANGES)
def test_symmetric_has_no_zero_point_and_127_levels_on_each_side(span: Range) -> None:
    scale, zero_point = quantization_parameters(span, "symmetric")
    assert zero_point == 0
    assert 127 * float(scale) == pytest.approx(max(-span.low, span.high), rel=1e-6)


def test_after_a_relu_asymmetric_steps_are_half_as_large() -> None:
    scales = {scheme: quantization_parameters(Range(0.0, 1.0), scheme).scale for scheme in ("asymmetric", "symmetric")}
    assert scales["symmetric"] / scales["asymmetric"] == pytest.approx(255 / 127)
    assert quantization_parameters(Range(0.0, 1.0), "asymmetric").zero_point == -128


@pytest.mark.parametrize("scheme", ["asymmetric", "symmetric"])
@pytest.mark.parametrize("span", [Range(0.0, 0.0), Range(0.0, 1e-30), Range(-1e-42, 0.0)])
def test_a_constant_tensor_has_a_scale_that_can_be_inverted(span: Range, scheme: Scheme) -> None:
    scale, zero_point = quantization_parameters(span, scheme)
    assert scale == SMALLEST_SCALE
    assert np.isfinite(np.float32(1) / scale)
    assert -128 <= zero_point <= 127


def test_ranges_join() -> None:
    assert Range(-1.0, 2.0).union(Range(-3.0, 1.0)) == Range(-3.0, 2.0)


# Weights


def dequantized(kernel: QuantizedKernel, axes: tuple[int, ...]) -> NDArray[np.float64]:
    shape = [size if axis in axes else 1 for axis, size in enumerate(kernel.values.shape)]
    return kernel.values * kernel.scales.astype(np.float64).reshape(shape)


@pytest.mark.parametrize(("bits", "levels"), [(4, 7), (8, 127)])
@pytest.mark.parametrize(
    ("shape", "axes"),
    [((3, 3, 4, 5), (3,)), ((3, 2, 6, 2), (2, 3)), ((7, 3), (1,)), ((5, 3, 3, 4), (0,)), ((1, 3, 3, 8), (3,))],
    ids=["conv", "depthwise", "dense", "conv in TFLite", "depthwise in TFLite"],
)
def test_each_output_channel_has_its_own_scale(
    shape: tuple[int, ...], axes: tuple[int, ...], bits: WeightBits, levels: int
) -> None:
    channels = math.prod(shape[axis] for axis in axes)
    spread = np.geomspace(1e-3, 1e3, channels).reshape(
        [shape[axis] if axis in axes else 1 for axis in range(len(shape))]
    )
    kernel = (RANDOM.normal(0, 1, shape) * spread).astype(np.float32)
    bias = RANDOM.normal(0, 1, channels).astype(np.float32)
    quantized = quantize_kernel(kernel, axes, bias, np.float32(0.02), bits)
    assert (quantized.values.dtype, quantized.scales.dtype, quantized.bias.dtype) == (np.int8, np.float32, np.int32)
    assert (quantized.values.shape, quantized.scales.shape, quantized.bias.shape) == (shape, (channels,), (channels,))
    reduced = tuple(axis for axis in range(len(shape)) if axis not in axes)
    assert (
        np.abs(quantized.values.astype(int)).max(axis=reduced).tolist()
        == np.full([shape[a] for a in axes], levels).tolist()
    )
    error = np.abs(dequantized(quantized, axes) - kernel)
    steps = quantized.scales.reshape(spread.shape)
    assert (error <= 0.5001 * steps).all()
    assert np.abs(quantized.bias * quantized.scales.astype(float) * 0.02 - bias).max() <= 0.51 * (steps * 0.02).max()


@pytest.mark.parametrize(("bits", "expected"), [(4, [-7, 4, 7]), (8, [-127, 76, 127])])
def test_weights_reach_as_far_down_as_up(bits: WeightBits, expected: list[int]) -> None:
    kernel = np.array([[-1.0, 0.6, 1.0 - 1e-7]], np.float32).T
    assert quantize_kernel(kernel, (1,), None, np.float32(1), bits).values[:, 0].tolist() == expected


@pytest.mark.parametrize("bits", [4, 8])
def test_a_kernel_on_the_grid_stays_where_it_is(bits: WeightBits) -> None:
    """Whatever the scale: training and learned rounding hand kernels over like this."""
    levels, channels = weight_levels(bits), 50_000
    scales = np.exp(RANDOM.uniform(np.log(1e-9), np.log(1e30), channels)).astype(np.float32)
    values = RANDOM.integers(-levels, levels, (20, channels), endpoint=True)
    values[0] = RANDOM.choice([-levels, levels], channels)
    kernel = (values * scales).astype(np.float32)
    quantized = quantize_kernel(kernel, (1,), None, np.float32(1), bits)
    assert np.array_equal(quantized.values, values)
    assert (np.abs(quantized.scales - scales) <= np.spacing(scales)).all()


def test_no_bias_is_zeros() -> None:
    assert quantize_kernel(np.ones((2, 3), np.float32), (1,), None, np.float32(0.1)).bias.tolist() == [0, 0, 0]


def test_a_channel_of_zeros_keeps_its_bias() -> None:
    kernel = np.array([[1.0, 0.0], [-2.0, 0.0]], np.float32)
    quantized = quantize_kernel(kernel, (1,), np.array([0.5, -0.75], np.float32), np.float32(0.1))
    assert quantized.values[:, 1].tolist() == [0, 0]
    assert quantized.bias * quantized.scales.astype(float) * 0.1 == pytest.approx([0.5, -0.75], rel=2e-3)


def test_a_channel_of_nothing_has_a_scale_that_can_be_inverted() -> None:
    quantized = quantize_kernel(np.array([[1.0, 0.0]], np.float32), (1,), None, np.float32(0.1))
    assert quantized.scales.tolist() == [np.float32(1 / 127), SMALLEST_SCALE]
    assert (quantized.values.tolist(), quantized.bias.tolist()) == ([[127, 0]], [0, 0])


@pytest.mark.parametrize("input_scale", [1e-10, 1e-6, 0.1])
def test_a_huge_bias_fits_into_int32(input_scale: float) -> None:
    kernel = np.full((4, 2), 1e-3, np.float32)
    bias = np.array([1e6, -1e6], np.float32)
    quantized = quantize_kernel(kernel, (1,), bias, np.float32(input_scale))
    assert np.abs(quantized.bias.astype(float)).max() <= 1.001 * BIAS_LIMIT
    assert quantized.bias * quantized.scales.astype(float) * input_scale == pytest.approx(bias, rel=1e-5)


def test_a_bias_that_wants_an_infinite_scale_is_refused() -> None:
    kernel, bias = np.ones((4, 2), np.float32), np.array([1.0, 3e38], np.float32)
    assert np.isfinite(quantize_kernel(kernel, (1,), bias, np.float32(1e-3)).scales).all()
    with pytest.raises(ModelError, match=r"3e\+38 cannot be quantized .* steps of 1e-10") as refusal:
        quantize_kernel(kernel, (1,), bias, SMALLEST_SCALE)
    assert "--keep-float" in refusal.value.fix


# The plan


PLAN = QuantizationPlan(
    "asymmetric",
    {"image": Range(-1.0, 0.1), "conv": Range(0.0, float(np.float32(1 / 3))), "π": Range(-5e-324, 3.4e38)},
    {"conv": "int8", "softmax": "float"},
    (("image", "conv"),),
    {"method": "average", "images": 3, "odd_images": [{"image": "a b.png", "factor": 180.25}]},
    weight_bits=4,
)


def test_json_is_exact() -> None:
    again = QuantizationPlan.from_json(PLAN.to_json())
    assert again == PLAN
    assert again.to_json() == PLAN.to_json()
    assert again.ranges["conv"].high != np.nextafter(PLAN.ranges["conv"].high, 1)


def test_json_keeps_the_order_of_the_graph() -> None:
    turned = replace(PLAN, ranges=dict(reversed(PLAN.ranges.items())))
    assert turned == PLAN
    assert turned.to_json() != PLAN.to_json()


def test_a_plan_that_says_nothing_of_its_weights_has_8_bits() -> None:
    """As those do that were written before there were 4."""
    document = json.loads(PLAN.to_json())
    assert document.pop("weight_bits") == 4
    assert QuantizationPlan.from_json(json.dumps(document)) == replace(PLAN, weight_bits=8)


def test_what_it_says() -> None:
    assert PLAN.is_int8("conv")
    assert not PLAN.is_int8("softmax")
    assert not PLAN.is_int8("image")
    assert PLAN.kept_float == ("softmax",)
    assert PLAN.parameters("conv") == quantization_parameters(PLAN.ranges["conv"], "asymmetric")
    with pytest.raises(KeyError):
        PLAN.parameters("softmax")


def changed(**entries: Any) -> str:
    return json.dumps({**json.loads(PLAN.to_json()), **entries})


REFUSALS = {
    "no JSON": ("{", "is not a quantization plan"),
    "a list": ("[]", "is not a quantization plan"),
    "another schema": (changed(schema="edgex.plan/2"), "schema 'edgex.plan/2'"),
    "nothing else": ('{"schema": "edgex.plan/1"}', "is not a quantization plan"),
    "another scheme": (changed(scheme="logarithmic"), "unknown scheme 'logarithmic'"),
    "a range of three": (changed(ranges={"conv": [0, 1, 2]}), "is not a quantization plan"),
    "a range of words": (changed(ranges={"conv": ["a", "b"]}), "is not a quantization plan"),
    "ranges as a list": (changed(ranges=[1]), "is not a quantization plan"),
    "an infinite range": (changed(ranges={"conv": [0, math.inf]}), "holds Infinity"),
    "a range that is no number": (changed(ranges={"conv": [math.nan, 1]}), "holds NaN"),
    "a range beyond float32": (changed(ranges={"conv": [0, 1e39]}), "do not span zero: conv"),
    "a range of which no float32 has the scale": (changed(ranges={"conv": [-1.7e308, 1.7e308]}), "are too large"),
    "a range of integers without end": (changed(ranges={"conv": [0, 10**400]}), "integer of 401 digits"),
    "nested without end": ("[" * 100_000, "nested too deeply"),
    "a calibration that is none": (changed(calibration=[]), "is not a quantization plan"),
    "layers that are none": (changed(calibration={"equalized": 5}), "equalized tensors are no list"),
    "a range without zero": (changed(ranges={"conv": [1, 2]}), "do not span zero: conv"),
    "another precision": (changed(precisions={"conv": "int4"}), "one of int8, float"),
    "a precision that is none": (changed(precisions={"conv": []}), "is not a quantization plan"),
    "precisions as a list": (changed(precisions=[]), "is not a quantization plan"),
    "weights of 5 bits": (changed(weight_bits=5), "has weights of 5 bits"),
    "weights of a list of bits": (changed(weight_bits=[4]), r"has weights of \[4\] bits"),
    "ties that are none": (changed(ties=5), "is not a quantization plan"),
}


@pytest.mark.parametrize("case", REFUSALS)
def test_what_is_no_plan_is_refused(case: str) -> None:
    text, message = REFUSALS[case]
    with pytest.raises(UsageError, match=message) as refusal:
        QuantizationPlan.from_json(text, "some/plan.json")
    assert refusal.value.message.startswith("some/plan.json")
    assert "edgex quantize" in refusal.value.fix


def test_a_plan_in_a_file(tmp_path: Path) -> None:
    file = tmp_path / "plan.json"
    file.write_text(PLAN.to_json())
    assert read_plan(file) == PLAN
    file.write_bytes(b"\xff")
    with pytest.raises(UsageError, match=r"plan\.json cannot be read") as refusal:
        read_plan(file)
    assert "edgex quantize" in refusal.value.fix


@pytest.mark.parametrize("scheme", ["asymmetric", "symmetric"])
@pytest.mark.parametrize("end", [0.0, 5e-324, 1e-45, 1e-38, 1.0, 3.4e38])
def test_whatever_a_plan_says_its_scales_are_normal(scheme: Scheme, end: float) -> None:
    """Of its tensors, and of the biases that are added to them."""
    plan = replace(PLAN, scheme=scheme, ranges={"conv": Range(-end, end)})
    scale, _ = QuantizationPlan.from_json(plan.to_json()).parameters("conv")
    normal = np.finfo(np.float32)
    assert normal.tiny <= scale <= normal.max
    assert scale * SMALLEST_SCALE >= normal.tiny
