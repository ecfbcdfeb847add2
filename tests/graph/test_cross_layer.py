"""Equalization across ReLU keeps the function exactly, and evens out what lies between two layers."""

from dataclasses import replace

import numpy as np
import pytest
from graphs import tiny_xception
from pass_cases import SHAPE, graph, layer, weights
from reference import reference, relative_error

from edgex.graph.ir import (
    Array,
    Conv2D,
    Dense,
    DepthwiseConv2D,
    GlobalAveragePool,
    Graph,
    Relu,
)
from edgex.graph.passes import prepare
from edgex.graph.passes.cross_layer import equalize_across_relu, factors_across_relu, neighbours_across_relu
from edgex.graph.passes.equalize import LEAST_FACTOR
from edgex.graph.read import read_model
from edgex.resources import demo_model

TOLERANCE = 1e-5
"""Relative: float32 weights are rounded once more, which costs some 1e-7 each."""

IMAGES = np.random.default_rng(0).normal(0.0, 2.0, (3, *SHAPE)).astype(np.float32)

SPREAD = np.geomspace(0.1, 10, 12).astype(np.float32)
"""Channels of very different reach."""

CONV = layer("before", Conv2D((2, 1), "same"), "image", kernel=weights(3, 3, 6, 12) * SPREAD, bias=weights(12) * SPREAD)
DEPTHWISE = layer("before", DepthwiseConv2D(padding="same"), "image", kernel=weights(3, 3, 6, 2) * SPREAD.reshape(6, 2))
DENSE = layer("before", Dense(), "pool", kernel=weights(6, 12) * SPREAD, bias=SPREAD)
RELU = layer("relu", Relu(), "before")
AFTER = {
    "conv": layer("after", Conv2D(padding="same"), "relu", kernel=weights(3, 3, 12, 5), bias=weights(5)),
    "depthwise": layer("after", DepthwiseConv2D((1, 2)), "relu", kernel=weights(3, 3, 12, 2), bias=weights(24)),
    "dense": layer("after", Dense(), "relu", kernel=weights(12, 4), bias=weights(4)),
}
POOL = layer("pool", GlobalAveragePool(), "image")

CASES = {
    "conv, conv": graph(CONV, RELU, AFTER["conv"]),
    "conv, depthwise": graph(CONV, RELU, AFTER["depthwise"]),
    "depthwise, conv": graph(DEPTHWISE, RELU, AFTER["conv"]),
    "depthwise with bias, depthwise": graph(DEPTHWISE.with_params(bias=weights(12)), RELU, AFTER["depthwise"]),
    "dense, dense": graph(POOL, DENSE, RELU, AFTER["dense"]),
}


def reach(of: Graph, name: str = "relu") -> Array:
    """How far each channel of a tensor goes."""
    values = np.abs(reference(of, IMAGES)[name])
    largest: Array = values.max(tuple(range(values.ndim - 1))).astype(np.float32)
    return largest


def error(after: Graph, before: Graph) -> float:
    (name,) = before.outputs
    return relative_error(reference(after, IMAGES)[name], reference(before, IMAGES)[name])


@pytest.mark.parametrize("case", CASES)
def test_it_is_exact_and_evens_out_the_channels(case: str) -> None:
    before = CASES[case]
    wild = reach(before)
    result = equalize_across_relu(before, {"relu": wild})
    assert (result.changed, result.kept) == (("relu",), {})
    assert error(result.graph, before) < TOLERANCE
    tame = reach(result.graph)
    assert wild.max() / wild.min() > 30
    if case.endswith("depthwise"):
        assert tame.max() / tame.min() < 1.001
    else:
        assert tame.max() / tame.min() < (wild.max() / wild.min()) ** 0.7


@pytest.mark.parametrize("half", ["before", "after"])
@pytest.mark.parametrize("case", CASES)
def test_one_half_alone_shows(case: str, half: str) -> None:
    before = CASES[case]
    after = equalize_across_relu(before, {"relu": reach(before)}).graph
    assert error(before.rewrite({half: [after[half]]}), before) > 100 * TOLERANCE


@pytest.mark.parametrize("case", CASES)
def test_one_wrong_factor_shows(case: str) -> None:
    before = CASES[case]
    after = equalize_across_relu(before, {"relu": reach(before)}).graph
    kernel = after["after"].params["kernel"].copy()
    kernel[..., 5, :] *= 1.01
    assert error(after.rewrite({"after": [after["after"].with_params(kernel=kernel)]}), before) > 10 * TOLERANCE


@pytest.mark.parametrize("case", ["conv, conv", "depthwise, conv", "dense, dense"])
def test_activations_and_weights_share_what_is_uneven(case: str) -> None:
    """A channel's reach beside the farthest equals its row's largest weight beside the largest of that output."""
    after = equalize_across_relu(CASES[case], {"relu": reach(CASES[case])}).graph
    factors = factors_across_relu(CASES[case], {"relu": reach(CASES[case])})["relu"]
    kernel = np.abs(CASES[case]["after"].params["kernel"])
    rows = kernel.reshape(-1, *kernel.shape[-2:]).max(0)
    weight = (rows / rows.max(0)).max(1) * factors
    activation = reach(after)
    assert activation / activation[0] == pytest.approx(weight / weight[0], rel=1e-4)


def test_dead_channels_and_dead_rows_stay_finite() -> None:
    kernel, rows = CONV.params["kernel"].copy(), AFTER["conv"].params["kernel"].copy()
    kernel[..., 3] = 0
    rows[:, :, 7] = 0
    bias = CONV.params["bias"].copy()
    bias[3] = 0
    dead = CONV.with_params(kernel=kernel, bias=bias)
    for following in (AFTER["conv"].with_params(kernel=rows), AFTER["conv"].with_params(kernel=0 * rows)):
        before = graph(dead, RELU, following)
        assert reach(before)[3] == 0
        after = equalize_across_relu(before, {"relu": reach(before)}).graph
        assert all(np.isfinite(array).all() for node in after.nodes for array in node.params.values())
        factors = factors_across_relu(before, {"relu": reach(before)})["relu"]
        assert factors.max() / factors.min() < 1.01 / LEAST_FACTOR
        if following.params["kernel"].any():
            assert error(after, before) < TOLERANCE


def test_what_carries_nothing_is_kept() -> None:
    before = CASES["conv, conv"]
    result = equalize_across_relu(before, {"relu": np.zeros(12, np.float32)})
    assert (result.changed, result.kept) == ((), {"relu": "no channel carries anything"})
    assert result.graph.nodes == before.nodes


def test_a_limited_relu_is_kept() -> None:
    limited = graph(CONV, replace(RELU, op=Relu(6.0)), AFTER["depthwise"])
    result = equalize_across_relu(limited, {"relu": reach(limited)})
    assert (result.changed, result.kept) == ((), {"relu": "its limit of 6 is one for all channels"})
    assert result.graph.nodes == limited.nodes


def test_scaling_across_a_limited_relu_would_show() -> None:
    """Which is why it is kept."""
    before = CASES["conv, depthwise"]
    after = equalize_across_relu(before, {"relu": reach(before)}).graph
    limit = {"relu": [replace(RELU, op=Relu(6.0))]}
    assert error(after.rewrite(limit), before.rewrite(limit)) > 100 * TOLERANCE


GROUPED = layer("after", Conv2D(groups=2), "relu", kernel=weights(1, 1, 6, 4))


@pytest.mark.parametrize(
    "alone",
    [
        graph(CONV, RELU, AFTER["conv"], layer("other", Relu(), "relu")),
        graph(CONV, RELU, AFTER["conv"], layer("other", Relu(), "before")),
        graph(CONV, RELU, AFTER["conv"], outputs=("after", "relu")),
        graph(CONV, RELU, AFTER["conv"], outputs=("after", "before")),
        graph(CONV, replace(AFTER["conv"], inputs=("before",))),
        graph(CONV, RELU, layer("after", GlobalAveragePool(), "relu")),
        graph(layer("relu", Relu(), "image"), layer("after", Conv2D(), "relu", kernel=weights(1, 1, 6, 4))),
        graph(CONV, RELU, GROUPED),
    ],
    ids=["read by two", "also without ReLU", "an output", "no ReLU's output", "no ReLU", "pool", "image", "grouped"],
)
def test_no_neighbours(alone: Graph) -> None:
    assert neighbours_across_relu(alone) == {}


def network() -> Graph:
    """A chain, of which each layer is scaled on both sides."""
    return graph(
        CONV,
        RELU,
        replace(AFTER["depthwise"], name="depthwise"),
        layer("pointwise", Conv2D(), "depthwise", kernel=weights(1, 1, 24, 9), bias=weights(9)),
        layer("relu_1", Relu(), "pointwise"),
        layer("conv", Conv2D(), "relu_1", kernel=weights(2, 2, 9, 7), bias=weights(7)),
        layer("relu_2", Relu(), "conv"),
        layer("last", DepthwiseConv2D(), "relu_2", kernel=weights(2, 2, 7, 1)),
    )


@pytest.mark.parametrize("before", [network(), tiny_xception()], ids=["chain", "tiny Xception"])
def test_a_whole_network_keeps_its_function(before: Graph) -> None:
    images = np.random.default_rng(1).normal(0, 1, (2, *before.shapes[before.inputs[0].name])).astype(np.float32)
    values = reference(before, images)
    names = list(neighbours_across_relu(before))
    magnitudes = {name: values[name].max((0, 1, 2)).astype(np.float32) for name in names}
    result = equalize_across_relu(before, magnitudes)
    assert result.changed == tuple(names)
    (name,) = before.outputs
    assert relative_error(reference(result.graph, images)[name], values[name]) < TOLERANCE
    factors = factors_across_relu(before, magnitudes)
    for each in names:
        found = reference(result.graph, images)[each] * factors[each]
        assert relative_error(found, values[each]) < TOLERANCE, "what was seen, divided, is what will be seen"


def test_names_of_a_chain() -> None:
    found = {name: (before.name, after.name) for name, (before, after) in neighbours_across_relu(network()).items()}
    assert found == {
        "relu": ("before", "depthwise"),
        "relu_1": ("pointwise", "conv"),
        "relu_2": ("conv", "last"),
    }


def test_the_demo_has_neighbours_in_every_block() -> None:
    """Where one activation follows a separable convolution and one convolution reads it."""
    found = neighbours_across_relu(prepare(read_model(demo_model())))
    assert "block1_conv1_act" in found
    assert {f"block{block}_sepconv{number}_act" for block in range(5, 13) for number in (2, 3)} <= found.keys()
    kinds = [type(pair.after.op) for pair in found.values()]
    assert kinds.count(DepthwiseConv2D) == len(kinds) - 1
