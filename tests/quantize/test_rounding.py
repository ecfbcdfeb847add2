"""Learned rounding: what it keeps on the grid, and what it gains over nearest rounding."""

import numpy as np
import pytest
from onnx_support import named
from reference import reference, sqnr
from weighted import (
    AXES,
    LAYERS,
    demo,
    dequantized,
    one_layer,
    plan_of,
    quantized,
    weights,
    with_quantized_weights,
)

from edgex.execute import tensor_values
from edgex.graph.ir import Array, Conv2D, Dense, DepthwiseConv2D, Graph
from edgex.plan import QuantizationPlan, WeightBits, weight_levels
from edgex.quantize.rounding import DAMPING, learn_rounding
from edgex.quantize.statistics import InputStatistics, grouped_kernel, layer_statistics


def related_images(count: int, shape: tuple[int, int, int], seed: int = 1) -> Array:
    """Images whose channels and places say much the same, as those of a network do; the same way for every seed."""
    random = np.random.default_rng(seed)
    causes = random.normal(0, 1, (count, *shape[:2], max(1, shape[2] // 4)))
    smooth = causes + np.roll(causes, 1, axis=1) + np.roll(causes, 1, axis=2)
    mixed = smooth @ np.random.default_rng(0).normal(0, 0.3, (causes.shape[-1], shape[2]))
    return np.maximum(mixed + random.normal(0, 0.1, mixed.shape), 0).astype(np.float32)


def fitted(graph: Graph, images: Array, bits: WeightBits = 4) -> tuple[QuantizationPlan, InputStatistics]:
    plan = plan_of(graph, bits)
    return plan, layer_statistics(graph, plan, named(images))["layer"]


def learned(graph: Graph, plan: QuantizationPlan, statistics: InputStatistics) -> Graph:
    result = learn_rounding(graph, plan, {"layer": statistics})
    assert result.changed == ("layer",)
    assert result.kept == {}
    return result.graph


# The grid


@pytest.mark.parametrize("bits", [4, 8])
@pytest.mark.parametrize("layer", LAYERS)
def test_kernels_are_what_writers_make_of_them(layer: str, bits: WeightBits) -> None:
    op, shape = LAYERS[layer]
    graph = one_layer(op, weights(*shape))
    plan, statistics = fitted(graph, related_images(20, (6, 5, 4)), bits)
    found = learned(graph, plan, statistics)
    kernel = found["layer"].params["kernel"]
    assert dequantized(found, plan, "layer") == pytest.approx(kernel, rel=3e-7, abs=0)
    values = quantized(found, plan, "layer").values
    axes = tuple(axis for axis in range(values.ndim) if axis not in AXES[type(op)])
    assert (np.abs(values).max(axis=axes) == weight_levels(bits)).all()
    step = np.abs(graph["layer"].params["kernel"]).max(axis=axes, keepdims=True) / weight_levels(bits)
    assert (np.abs(kernel - graph["layer"].params["kernel"]) < 4 * step).all(), "it stays a rounding"


def test_a_channel_that_its_bias_dwarfs_is_left_to_the_writer() -> None:
    kernel = weights(1, 1, 4, 3)
    bias = np.array([0.1, 3e6, -0.2], np.float32)
    graph = one_layer(Conv2D(), kernel, bias=bias)
    plan, statistics = fitted(graph, related_images(20, (6, 5, 4)))
    found = learned(graph, plan, statistics)
    plain = quantized(graph, plan, "layer")
    assert np.abs(plain.values[..., 1]).max() < 7, "its scale is that of the bias"
    assert (quantized(found, plan, "layer").values[..., 1] == plain.values[..., 1]).all()
    assert dequantized(found, plan, "layer") == pytest.approx(found["layer"].params["kernel"], rel=3e-7)


@pytest.mark.filterwarnings("error")
def test_channels_of_zeros_and_inputs_of_zeros_stay_finite() -> None:
    kernel = weights(3, 3, 4, 1)
    kernel[:, :, 2] = 0
    images = related_images(8, (6, 5, 4))
    images[..., 1] = 0
    graph = one_layer(DepthwiseConv2D(), kernel)
    plan, statistics = fitted(graph, images)
    found = learned(graph, plan, statistics)["layer"].params["kernel"]
    assert (found[:, :, 2] == 0).all()
    assert (found[:, :, 1] == dequantized(graph, plan, "layer")[:, :, 1]).all(), "nearest where nothing is known"


def test_layers_without_a_moment_are_kept() -> None:
    graph = one_layer(Dense(), weights(5000, 2), (50, 100, 1))
    plan, statistics = fitted(graph, related_images(2, (50, 100, 1)))
    result = learn_rounding(graph, plan, {"layer": statistics})
    assert result.changed == ()
    assert result.kept == {"layer": "an output of it reads 5000 values, too many for their moment"}
    assert result.graph["layer"] is graph["layer"]


def test_the_same_comes_out_each_time_and_progress_is_told() -> None:
    graph = one_layer(Conv2D(), weights(3, 3, 32, 16), (8, 8, 32))
    plan, statistics = fitted(graph, related_images(20, (8, 8, 32)))
    told: list[tuple[str, int, int]] = []
    one, two = (
        learn_rounding(graph, plan, {"layer": statistics}, lambda *what: told.append(what)).graph["layer"]
        for _ in range(2)
    )
    assert one.params["kernel"].tobytes() == two.params["kernel"].tobytes()
    assert told == [("round", 1, 1)] * 2


# What it gains


@pytest.mark.parametrize(
    ("bits", "shape", "least"),
    [(4, (1, 1, 64, 48), 4.0), (4, (3, 3, 32, 24), 5.0), (8, (1, 1, 64, 48), 4.0)],
)
def test_the_error_of_a_layer_falls_on_other_images(
    bits: WeightBits, shape: tuple[int, int, int, int], least: float
) -> None:
    """By at least so many dB, where inputs go together."""
    size = (8, 8, shape[2])
    graph = one_layer(Conv2D(), weights(*shape), size)
    plan, statistics = fitted(graph, related_images(60, size), bits)
    found = learned(graph, plan, statistics)
    others = related_images(30, size, seed=2)
    expected = reference(graph, others)["layer"]
    nearest, better = (reference(with_quantized_weights(made, plan), others)["layer"] for made in (graph, found))
    assert sqnr(better, expected) > sqnr(nearest, expected) + least
    errors = [np.square(made - expected).sum(axis=(0, 1, 2)) for made in (nearest, better)]
    assert (errors[1] < errors[0]).all(), "of every channel"


@pytest.mark.parametrize("bits", [4, 8])
@pytest.mark.parametrize("layer", LAYERS)
def test_no_channel_is_worse_than_nearest(layer: str, bits: WeightBits) -> None:
    """Where inputs go apart, rounding in turn has nothing to win and may lose; then nearest rounding stays."""
    op, shape = LAYERS[layer]
    images = np.random.default_rng(5).uniform(-0.9, 1.1, (8, 6, 5, 4)).astype(np.float32)
    graph = one_layer(op, weights(*shape))
    plan, statistics = fitted(graph, images, bits)
    assert statistics.moment is not None
    patch = statistics.moment.shape[1]
    mean = np.trace(statistics.moment, axis1=1, axis2=2)[:, np.newaxis, np.newaxis] / patch
    damped = statistics.moment + DAMPING * mean * np.eye(patch)

    def error(found: Graph) -> Array:
        wrong = grouped_kernel(with_quantized_weights(found, plan)["layer"]) - grouped_kernel(graph["layer"])
        return np.asarray((wrong * (damped @ wrong)).sum(axis=1))

    assert (error(learned(graph, plan, statistics)) <= error(graph) * 1.0001).all()


@pytest.mark.parametrize("bits", [4, 8])
def test_zeros_stay_and_the_other_weights_make_up_for_them(bits: WeightBits) -> None:
    """Two of every four along the inputs, as 2:4 leaves them: by some dB better than nearest, on other images."""
    size = (8, 8, 32)
    kernel = weights(3, 3, 32, 24)
    fours = kernel.reshape(3, 3, 8, 4, 24)
    np.put_along_axis(fours, np.argsort(np.abs(fours), axis=3)[:, :, :, :2], 0, axis=3)
    graph = one_layer(Conv2D(), kernel, size)
    plan, statistics = fitted(graph, related_images(60, size), bits)
    found = learned(graph, plan, statistics)
    assert (kernel == 0).mean() == 0.5
    assert (quantized(found, plan, "layer").values[kernel == 0] == 0).all()
    others = related_images(30, size, seed=2)
    expected = reference(graph, others)["layer"]
    nearest, better = (reference(with_quantized_weights(made, plan), others)["layer"] for made in (graph, found))
    assert sqnr(better, expected) > sqnr(nearest, expected) + 3


def test_clipping_is_chosen_for_each_channel() -> None:
    """A large weight that reads next to nothing is clipped, but not where the others are as large."""
    kernel = weights(64, 2)
    kernel[0] = 1.0
    kernel[1:, 1] = np.sign(kernel[1:, 0])
    images = np.random.default_rng(3).uniform(-0.9, 1.1, (200, 8, 8, 1)).astype(np.float32)
    images[:, 0, 0] *= 0.1
    graph = one_layer(Dense(), kernel, (8, 8, 1))
    plan, statistics = fitted(graph, images)
    largest = np.abs(learned(graph, plan, statistics)["layer"].params["kernel"]).max(axis=0)
    assert largest[0] < 0.7
    assert largest[1] > 0.9


def test_the_demo_in_4_bits() -> None:
    """The whole network, weights alone, on digits that nothing was learned from: 2 dB of its logits."""
    graph, plan, calibration, images = demo()
    rounded = learn_rounding(graph, plan, layer_statistics(graph, plan, calibration)).graph

    def logits(graph: Graph) -> Array:
        return tensor_values(graph, ["predictions"])(images)[0]

    expected = logits(graph)
    nearest, learned = (sqnr(logits(with_quantized_weights(found, plan)), expected) for found in (graph, rounded))
    assert 10 < nearest < learned - 2
