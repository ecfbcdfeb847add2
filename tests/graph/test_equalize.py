"""Equalization keeps the function exactly, and evens out the channels between depthwise and pointwise."""

from dataclasses import replace

import numpy as np
import pytest
from graphs import tiny_xception
from reference import reference, relative_error

from edgex.graph.ir import Array, Conv2D, DepthwiseConv2D, Graph, Input, Node, Relu
from edgex.graph.passes.equalize import LEAST_FACTOR, equalizable, equalize_depthwise

TOLERANCE = 1e-5
"""Relative: float32 weights are rounded once more, which costs some 1e-7 each."""

IMAGES = np.random.default_rng(0).normal(0.0, 2.0, (3, 9, 8, 6)).astype(np.float32)


def weights(*shape: int) -> Array:
    return np.random.default_rng(sum(shape)).normal(0.0, 0.4, shape).astype(np.float32)


def depthwise(multiplier: int = 1, **params: Array) -> Node:
    """Channels of very different reach."""
    spread = np.geomspace(0.1, 10, 6 * multiplier).astype(np.float32).reshape(6, multiplier)
    kernel = weights(3, 3, 6, multiplier) * spread
    return Node("depthwise", DepthwiseConv2D(padding="same"), ("image",), {"kernel": kernel, **params})


def pointwise(multiplier: int = 1) -> Node:
    params = {"kernel": weights(1, 1, 6 * multiplier, 7), "bias": weights(7)}
    return Node("pointwise", Conv2D((2, 1), ((1, 2), (0, 1))), ("depthwise",), params)


def graph(*nodes: Node, outputs: tuple[str, ...] = ("pointwise",)) -> Graph:
    return Graph("test", (Node("image", Input(IMAGES.shape[1:])), *nodes), outputs)


CASES = {
    "plain": graph(depthwise(), pointwise()),
    "with bias": graph(depthwise(bias=weights(6)), pointwise()),
    "multiplied": graph(depthwise(2, bias=weights(12)), pointwise(2)),
}


def reach(graph: Graph) -> Array:
    """How far each channel between the two halves goes."""
    return np.abs(reference(graph, IMAGES)["depthwise"]).max((0, 1, 2)).astype(np.float32)


def error(after: Graph, before: Graph) -> float:
    found, expected = (reference(graph, IMAGES)["pointwise"] for graph in (after, before))
    return relative_error(found, expected)


@pytest.mark.parametrize("case", CASES)
def test_it_is_exact_and_evens_out_the_channels(case: str) -> None:
    before = CASES[case]
    wild = reach(before)
    assert 30 < wild.max() / wild.min() < 1 / LEAST_FACTOR
    result = equalize_depthwise(before, {"depthwise": wild})
    assert (result.changed, result.kept) == (("depthwise",), {})
    assert error(result.graph, before) < TOLERANCE
    tame = reach(result.graph)
    assert tame.max() / tame.min() < 1.001
    assert tame[0] == pytest.approx(np.exp(np.log(wild).mean()), rel=1e-3), "the usual reach stays what it was"


@pytest.mark.parametrize("half", ["depthwise", "pointwise"])
def test_one_half_alone_shows(half: str) -> None:
    before = CASES["with bias"]
    after = equalize_depthwise(before, {"depthwise": reach(before)}).graph
    assert error(before.rewrite({half: [after[half]]}), before) > 100 * TOLERANCE


def test_a_forgotten_bias_shows() -> None:
    before = CASES["with bias"]
    after = equalize_depthwise(before, {"depthwise": reach(before)}).graph
    faulty = after["depthwise"].with_params(bias=before["depthwise"].params["bias"])
    assert error(after.rewrite({"depthwise": [faulty]}), before) > 100 * TOLERANCE


def test_dead_channels_stay_finite() -> None:
    kernel = depthwise().params["kernel"].copy()
    kernel[:, :, 2] = 0
    before = graph(depthwise().with_params(kernel=kernel), pointwise())
    assert reach(before)[2] == 0
    after = equalize_depthwise(before, {"depthwise": reach(before)}).graph
    assert all(np.isfinite(array).all() for node in after.nodes for array in node.params.values())
    assert error(after, before) < TOLERANCE
    alive = np.delete(reach(after), 2)
    assert alive.max() / alive.min() < 1.001


def test_a_channel_that_hardly_fires_gains_no_more_than_the_limit() -> None:
    before = CASES["plain"]
    magnitudes = np.array([1e-9, 1, 1, 1, 1, 1], np.float32)
    after = equalize_depthwise(before, {"depthwise": magnitudes}).graph
    gain = (after["depthwise"].params["kernel"] / before["depthwise"].params["kernel"])[0, 0, :, 0]
    assert gain[0] / gain[1] == pytest.approx(1 / LEAST_FACTOR, rel=1e-4)


def test_what_carries_nothing_is_kept() -> None:
    before = CASES["plain"]
    result = equalize_depthwise(before, {"depthwise": np.zeros(6, np.float32)})
    assert (result.changed, result.kept) == ((), {"depthwise": "no channel carries anything"})
    assert result.graph.nodes == before.nodes


def test_what_is_not_named_stays() -> None:
    before = CASES["plain"]
    assert equalize_depthwise(before, {}).graph.nodes == before.nodes


RELU = Node("relu", Relu(), ("depthwise",))
GROUPED = Node("pointwise", Conv2D(groups=2), ("depthwise",), {"kernel": weights(1, 1, 3, 4)})
WIDE = Node("pointwise", Conv2D(), ("depthwise",), {"kernel": weights(3, 3, 6, 4)})


@pytest.mark.parametrize(
    "alone",
    [
        graph(depthwise(), pointwise(), RELU),
        graph(depthwise(), pointwise(), outputs=("pointwise", "depthwise")),
        graph(depthwise(), RELU, replace(pointwise(), inputs=("relu",))),
        graph(depthwise(), GROUPED),
        graph(depthwise(), WIDE),
    ],
    ids=["read by two", "an output", "a ReLU between", "grouped", "3x3"],
)
def test_not_a_pair(alone: Graph) -> None:
    assert equalizable(alone) == {}


def test_pairs() -> None:
    assert equalizable(CASES["plain"]) == {"depthwise": "pointwise"}
    pairs = equalizable(tiny_xception())
    assert len(pairs) == 5
    assert all(name.replace("depthwise", "pointwise") == other for name, other in pairs.items())
