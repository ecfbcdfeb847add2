"""Fake quantization: on the plan's grids, with straight gradients; ranges are calibrated, and followed with care."""

import re
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import tensorflow as tf
from graphs import tiny_xception
from numpy.typing import NDArray
from training_support import calibrated

from edgex.graph.ir import (
    Add,
    Array,
    AveragePool2D,
    Concat,
    Conv2D,
    Graph,
    Input,
    MaxPool2D,
    Node,
    Relu,
)
from edgex.plan import QuantizationPlan, Range, Scheme, WeightBits, quantization_parameters, quantize_kernel
from edgex.train.fake_quant import (
    AVERAGE_OF,
    ActivationQuantizer,
    KernelQuantizer,
    NodeQuantization,
    learned_plan,
    node_quantizations,
    quantize_network,
    read_weights,
)
from edgex.train.network import keras_model

RANDOM = np.random.default_rng(0)
SCHEMES: tuple[Scheme, ...] = ("asymmetric", "symmetric")
SPANS = (Range(-1.3, 2.7), Range(0.0, 6.0), Range(-0.5, 0.0), Range(-1e-3, 1e3), Range(-4e-6, 3e-6))


# Weights


def fake_quantized(kernel: Array, quantizer: KernelQuantizer) -> tuple[Array, Array]:
    """Quantized, and the gradient of the sum of that, which is what ones become."""
    variable = tf.Variable(kernel)
    with tf.GradientTape() as tape:
        quantized = quantizer(variable, True)
        total = tf.reduce_sum(quantized)
    return quantized.numpy(), tape.gradient(total, variable).numpy()


@pytest.mark.parametrize("bits", [8, 4])
@pytest.mark.parametrize(
    ("shape", "axes"),
    [((3, 3, 16, 24), (3,)), ((3, 3, 12, 2), (2, 3)), ((3, 3, 24, 1), (2, 3)), ((32, 10), (1,))],
    ids=["conv", "depthwise of multiplier 2", "depthwise", "dense"],
)
def test_weights_lie_on_the_grid_of_the_plan(shape: tuple[int, ...], axes: tuple[int, ...], bits: WeightBits) -> None:
    kernel = RANDOM.normal(0.0, 0.3, shape).astype(np.float32)
    # Output channels of all sizes, so that another's scale shows; one is dead
    channels = [shape[axis] if axis in axes else 1 for axis in range(len(shape))]
    kernel *= np.geomspace(1e-3, 1e2, np.prod(channels), dtype=np.float32).reshape(channels)
    kernel[(..., *[0] * len(axes))] = 0.0
    found, gradient = fake_quantized(kernel, KernelQuantizer(bits, depthwise=len(axes) == 2))
    expected = quantize_kernel(kernel, axes, None, np.float32(1), bits)
    scales = expected.scales.reshape(channels)
    np.testing.assert_allclose(found / scales, expected.values, atol=1e-4)
    assert (gradient == 1).all(), "no weight is clipped, the largest of its channel neither"
    assert np.abs(fake_quantized(found, KernelQuantizer(bits, depthwise=len(axes) == 2))[0] - found).max() < 1e-4


# Activations


def called(quantizer: ActivationQuantizer, values: NDArray[Any], training: bool = False) -> Array:
    """The quantizer's answer; it is built first, unless it is."""
    if not hasattr(quantizer, "ends"):
        import tf_keras

        quantizer.build(values.shape, "output", tf_keras.layers.Layer())
    answer: Array = quantizer(tf.constant(values, tf.float32), training, {"ends": quantizer.ends}).numpy()
    return answer


@pytest.mark.parametrize("scheme", SCHEMES)
@pytest.mark.parametrize("span", SPANS)
def test_activations_lie_on_the_grid_of_the_plan(span: Range, scheme: Scheme) -> None:
    scale, zero_point = quantization_parameters(span, scheme)
    reach = max(-span.low, span.high)
    values = RANDOM.uniform(-1.5 * reach, 1.5 * reach, 20_000).astype(np.float32)
    values[0] = 0.0
    lowest = -127 if scheme == "symmetric" else -128
    expected = np.clip(np.rint(values / scale) + zero_point, lowest, 127) - zero_point
    found = called(ActivationQuantizer(span, scheme, follows=True), values)
    np.testing.assert_allclose(found / scale, expected, atol=1e-3)
    assert found[0] == 0
    assert len(np.unique(np.rint(found / scale))) == 128 - lowest


def test_a_tensor_that_is_always_zero() -> None:
    assert (called(ActivationQuantizer(Range(0.0, 0.0), "asymmetric", follows=True), np.ones((2, 3))) == 0).all()


@pytest.mark.parametrize("scheme", SCHEMES)
def test_gradients_stop_where_a_value_is_clipped(scheme: Scheme) -> None:
    quantizer = ActivationQuantizer(Range(-1.0, 2.0), scheme, follows=False)
    values = tf.Variable([-5.0, -1.5, -0.5, 0.0, 1.9, 2.5])
    called(quantizer, values.numpy())
    with tf.GradientTape() as tape:
        total = tf.reduce_sum(quantizer(values, True, {"ends": quantizer.ends}))
    inside = [0, 1, 1, 1, 1, 0] if scheme == "symmetric" else [0, 0, 1, 1, 1, 0]
    assert tape.gradient(total, values).numpy().tolist() == inside


# Ranges


def images_reaching(*reaches: tuple[float, float]) -> Array:
    """An image for each pair of extremes."""
    return np.stack([np.linspace(low, high, 12, dtype=np.float32).reshape(2, 2, 3) for low, high in reaches])


def after(images: Array, *, follows: bool = True, training: bool = True, batches: int = 1) -> Range:
    """The range, from -1…2 on, after some batches."""
    quantizer = ActivationQuantizer(Range(-1.0, 2.0), "asymmetric", follows=follows)
    called(quantizer, images)
    for _ in range(batches):
        called(quantizer, images, training)
    return quantizer.learned


USUAL = images_reaching((-2.0, 3.0), (-4.0, 5.0))


def test_a_range_starts_where_calibration_put_it_and_stays_there_without_training() -> None:
    assert after(USUAL, batches=0) == Range(-1.0, 2.0)
    assert after(USUAL, training=False) == Range(-1.0, 2.0)


def test_a_range_follows_the_mean_of_the_extremes() -> None:
    assert after(USUAL) == pytest.approx((-1.0 - 2.0 / AVERAGE_OF, 2.0 + 2.0 / AVERAGE_OF))
    left = (1 - 1 / AVERAGE_OF) ** 20
    assert after(USUAL, batches=20) == pytest.approx((-3.0 + 2.0 * left, 4.0 - 2.0 * left))


def test_a_range_stays_where_it_does_not_follow() -> None:
    assert after(USUAL, follows=False) == Range(-1.0, 2.0)


@pytest.mark.parametrize("odd", [(-100.0, 500.0), (-200.0, 0.0), (0.0, np.inf), (np.nan, np.nan)])
def test_an_odd_image_is_left_out(odd: tuple[float, float]) -> None:
    assert after(images_reaching(odd)) == Range(-1.0, 2.0)
    of_three = after(np.concatenate([USUAL, images_reaching(odd)]))
    assert of_three == pytest.approx((-1.0 - 2.0 * 2 / 3 / AVERAGE_OF, 2.0 + 2.0 * 2 / 3 / AVERAGE_OF))


def test_a_range_spans_zero() -> None:
    assert after(images_reaching((1.0, 3.0))) == pytest.approx((-1.0 + 1.0 / AVERAGE_OF, 2.0 + 1.0 / AVERAGE_OF))


def test_no_image_moves_nothing() -> None:
    assert after(np.empty((0, 2, 2, 3), np.float32)) == Range(-1.0, 2.0)


# Networks


def conv(name: str, read: str, inputs: int = 4) -> Node:
    kernel = np.random.default_rng(len(name)).normal(0.0, 0.4, (1, 1, inputs, 4)).astype(np.float32)
    return Node(name, Conv2D(), (read,), {"kernel": kernel})


def pool(name: str, read: str) -> Node:
    return Node(name, MaxPool2D((2, 2), (2, 2)), (read,))


BRANCHES = Graph(
    "branches",
    (
        Node("image", Input((8, 8, 4))),
        conv("one", "image"),
        conv("other", "image"),
        Node("concat", Concat(), ("one", "other")),
        pool("concat.pool", "concat"),
        conv("joined", "concat.pool", 8),
        conv("alone", "image"),
        pool("pool", "alone"),
        conv("unfused", "image"),
        Node("relu", Relu(), ("unfused",)),
        Node("average", AveragePool2D((2, 2), (2, 2)), ("relu",)),
        Node("sum", Add(), ("pool", "joined")),
        Node("output", Add(), ("sum", "average")),
    ),
    ("output",),
)
"""Two tensors that are joined; a max pool, an average pool; a ReLU that runs inside its convolution."""
IMAGES = RANDOM.normal(0.0, 1.0, (8, 8, 8, 4)).astype(np.float32)


@pytest.fixture(scope="module")
def before() -> QuantizationPlan:
    return calibrated(BRANCHES, IMAGES, equalize=False).plan


@pytest.fixture(scope="module")
def learned(before: QuantizationPlan) -> QuantizationPlan:
    """The plan after some training on images with twice the contrast."""
    model = quantize_network(keras_model(BRANCHES), BRANCHES, before)
    for _ in range(20):
        model(2 * IMAGES, training=True)
    return learned_plan(model, BRANCHES, before)


def test_ranges_are_learned(before: QuantizationPlan, learned: QuantizationPlan) -> None:
    assert list(learned.ranges) == list(before.ranges)
    moved = {name for name, span in learned.ranges.items() if span != before.ranges[name]}
    assert moved == {"image", "alone", "pool", "joined", "sum", "output"}
    assert learned.ranges["alone"].high > 1.05 * before.ranges["alone"].high


def test_tied_tensors_stay_tied(before: QuantizationPlan, learned: QuantizationPlan) -> None:
    assert sorted(map(len, before.ties)) == [2, 2, 4]
    for group in learned.ties:
        assert len({learned.ranges[name] for name in group}) == 1, group


def test_all_else_of_a_plan_stays(before: QuantizationPlan, learned: QuantizationPlan) -> None:
    assert replace(learned, ranges={}) == replace(before, ranges={})


def test_the_tensors_of_the_plan_are_quantized_and_no_others() -> None:
    graph = tiny_xception()
    plan = calibrated(graph, RANDOM.uniform(-1.0, 1.0, (4, 32, 32, 3)).astype(np.float32)).plan
    quantizations = node_quantizations(graph, plan)
    rounded = {name for name, quantization in quantizations.items() if quantization.output is not None}
    assert rounded == set(plan.ranges) - {"block2_pool"}, "a max pool's output lies on its input's grid"
    weighted = {name for name, quantization in quantizations.items() if quantization.kernel is not None}
    assert weighted == {node.name for node in graph.nodes if "kernel" in node.params}


def test_a_layer_kept_in_float_is_left_alone() -> None:
    graph = tiny_xception()
    images = RANDOM.uniform(-1.0, 1.0, (4, 32, 32, 3)).astype(np.float32)
    plan = calibrated(graph, images, keep_float=re.compile("block3_sepconv1|add_1")).plan
    quantizations = node_quantizations(graph, plan)
    assert not {name for name in quantizations if name.startswith("block3_sepconv1")}, "float layers read them"
    assert quantizations["block3_sepconv2_act"].output is not None, "an INT8 layer reads it"
    assert quantizations["block3_sepconv2.pointwise"].kernel is not None
    assert quantizations["add_1"].kernel is None


def test_weights_of_a_wrapped_network_are_the_float_ones() -> None:
    graph = BRANCHES
    plan = calibrated(graph, IMAGES, weight_bits=4, equalize=False).plan
    model = quantize_network(keras_model(graph), graph, plan)
    model(IMAGES, training=True)
    for name, params in read_weights(model, graph).items():
        np.testing.assert_array_equal(params["kernel"], graph[name].params["kernel"])


def test_a_configuration_survives_its_copy() -> None:
    both = NodeQuantization(
        KernelQuantizer(4, depthwise=True),
        ActivationQuantizer(SPANS[0], "symmetric", follows=False),
        "depthwise_kernel",
    )
    for quantization in (both, NodeQuantization(None, None, "")):
        assert NodeQuantization.from_config(quantization.get_config()).get_config() == quantization.get_config()
