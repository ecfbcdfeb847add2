"""What layers read, against a convolution that copies its patches."""

import tracemalloc
from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import pytest
from graphs import tiny_xception
from onnx_support import min_max_plan, named
from reference import reference
from weighted import LAYERS, SHAPE, one_layer, plan_of, weights

from edgex.graph.ir import Array, Conv2D, Dense, DepthwiseConv2D, Op
from edgex.plan import QuantizationPlan, Range
from edgex.quantize.statistics import LARGEST_PATCH, POSITIONS, grouped_kernel, layer_statistics, with_grouped_kernel

RANDOM = np.random.default_rng(0)
IMAGES = RANDOM.uniform(-1, 1.2, (19, *SHAPE)).astype(np.float32)
GRAPH = tiny_xception()
PICTURES = RANDOM.uniform(-1, 1, (10, 32, 32, 3)).astype(np.float32)


def stored(images: Array, plan: QuantizationPlan) -> Array:
    """The images as their bytes give them back."""
    scale, zero_point = plan.parameters("image")
    levels = np.clip(np.rint(images / scale) + zero_point, -128, 127)
    return ((levels - zero_point) * scale).astype(np.float32)


def copied_patches(op: Op, shape: tuple[int, ...], images: Array) -> Array:
    """(groups, images and positions, patch): what kernels of ones and zeros make of the images."""
    if isinstance(op, DepthwiseConv2D):
        groups, size = shape[2], shape[0] * shape[1]
        kernel = np.broadcast_to(np.eye(size).reshape(*shape[:2], 1, size), (*shape[:3], size))
    else:
        groups, size = op.groups if isinstance(op, Conv2D) else 1, int(np.prod(shape[:-1]))
        kernel = np.tile(np.eye(size), groups).reshape(*shape[:-1], groups * size)
    outputs = reference(one_layer(op, kernel.astype(np.float32)), images)["layer"]
    return outputs.reshape(-1, groups, size).swapaxes(0, 1)


@pytest.mark.parametrize("layer", LAYERS)
def test_moments_are_those_of_the_patches(layer: str) -> None:
    op, shape = LAYERS[layer]
    graph = one_layer(op, np.zeros(shape, np.float32))
    plan = plan_of(graph)
    found = layer_statistics(graph, plan, named(IMAGES))["layer"]
    patches = copied_patches(op, shape, stored(IMAGES, plan))
    assert found.mean.dtype == np.float32
    assert found.moment is not None
    assert found.moment.dtype == np.float32
    assert found.mean == pytest.approx(patches.mean(axis=1), abs=1e-5)
    assert found.moment == pytest.approx(patches.swapaxes(1, 2) @ patches / patches.shape[1], abs=1e-5)


def test_values_are_clipped_and_rounded_as_the_plan_stores_them() -> None:
    op, shape = LAYERS["pointwise"]
    graph = one_layer(op, np.zeros(shape, np.float32))
    mean = layer_statistics(graph, plan_of(graph, span=Range(0.0, 0.5)), named(IMAGES))["layer"].mean
    assert mean[0] == pytest.approx(np.clip(IMAGES, 0, 0.5).mean((0, 1, 2)), abs=1e-3)
    assert abs(mean[0] - IMAGES.mean((0, 1, 2))).min() > 0.05, "unclipped values would show"
    coarse = layer_statistics(graph, plan_of(graph, span=Range(0.0, 500.0)), named(IMAGES))["layer"].mean
    assert coarse[0] == pytest.approx(1.9608 * (IMAGES > 0.9804).mean((0, 1, 2)), abs=1e-3)


@pytest.mark.parametrize("layer", LAYERS)
def test_a_kernel_multiplies_the_patches(layer: str) -> None:
    op, shape = LAYERS[layer]
    kernel = weights(*shape)
    graph = one_layer(op, kernel)
    products = copied_patches(op, shape, IMAGES) @ grouped_kernel(graph["layer"])
    expected = reference(graph, IMAGES)["layer"]
    assert products.swapaxes(0, 1).reshape(expected.shape) == pytest.approx(expected, abs=1e-5)
    back = with_grouped_kernel(one_layer(op, np.zeros(shape, np.float32))["layer"], grouped_kernel(graph["layer"]))
    assert (back.params["kernel"] == kernel).all()


def test_large_images_are_sampled_evenly() -> None:
    """Half of the images rise to the right and half to the bottom, so a favoured place would show in the mean."""
    size = 40
    ramp = np.broadcast_to(np.linspace(-0.5, 0.5, size, dtype=np.float32), (size, size))
    images = np.stack([ramp, ramp.T], axis=-1)[np.newaxis].repeat(24, axis=0)
    graph = one_layer(Conv2D(), np.zeros((1, 1, 2, 1), np.float32), (size, size, 2))
    found = layer_statistics(graph, plan_of(graph, span=Range(-0.5, 0.5)), named(images))["layer"]
    assert found.moment is not None
    assert size * size > POSITIONS
    assert found.mean == pytest.approx(np.zeros((1, 2)), abs=0.01)
    assert found.moment[0] == pytest.approx(np.cov(images.reshape(-1, 2).T), abs=0.005)
    one = layer_statistics(graph, plan_of(graph, span=Range(-0.5, 0.5)), named(images[:1]))["layer"]
    assert not (one.mean == found.mean).all(), "other images show other positions"


def test_nodes_that_read_the_same_share_what_is_known() -> None:
    statistics = layer_statistics(GRAPH, min_max_plan(GRAPH, PICTURES), named(PICTURES))
    layers = [node.name for node in GRAPH.nodes if isinstance(node.op, Conv2D | DepthwiseConv2D | Dense)]
    assert list(statistics) == layers
    twice = GRAPH.rewrite({"conv2d": [GRAPH["conv2d"], replace(GRAPH["conv2d"], name="again")]})
    plan = min_max_plan(twice, PICTURES)
    shared = layer_statistics(twice, plan, named(PICTURES))
    assert shared["again"] is shared["conv2d"]
    assert shared["conv2d"] is not shared["block2_sepconv1.depthwise"], "it reads the same tensor in other patches"


def test_what_stays_in_float_is_left_out() -> None:
    plan = min_max_plan(GRAPH, PICTURES)
    kept = {**plan.precisions, "conv2d": "float"}
    statistics = layer_statistics(GRAPH, replace(plan, precisions=kept), named(PICTURES))
    assert "conv2d" not in statistics
    assert "predictions" in statistics


def test_the_workers_change_nothing_and_progress_is_told() -> None:
    plan = min_max_plan(GRAPH, PICTURES)
    told: list[tuple[str, int, int]] = []
    one = layer_statistics(GRAPH, plan, named(PICTURES), 1, lambda *what: told.append(what))
    two = layer_statistics(GRAPH, plan, named(PICTURES), 2)
    assert told[-1] == ("observe", 10, 10)
    for name, statistics in one.items():
        assert statistics.mean.tobytes() == two[name].mean.tobytes()
        assert statistics.moment is not None
        assert statistics.moment.tobytes() == two[name].moment.tobytes()


def test_huge_patches_have_no_moment() -> None:
    shape = (50, 100, 1)
    graph = one_layer(Dense(), np.zeros((5000, 2), np.float32), shape)
    images = np.random.default_rng(1).uniform(-0.8, 0.8, (3, *shape)).astype(np.float32)
    found = layer_statistics(graph, plan_of(graph), named(images))["layer"]
    assert LARGEST_PATCH < 5000
    assert found.moment is None
    assert found.mean == pytest.approx(images.reshape(3, -1).mean(axis=0)[np.newaxis], abs=0.01)


def test_no_images_are_refused() -> None:
    with pytest.raises(ValueError, match="no calibration images"):
        layer_statistics(GRAPH, min_max_plan(GRAPH, PICTURES), [])


class Endless:
    """Pictures made when they are asked for."""

    def __init__(self, count: int) -> None:
        self.count = count

    def __len__(self) -> int:
        return self.count

    def __iter__(self) -> Iterator[tuple[str, Array]]:
        for number in range(self.count):
            yield str(number), PICTURES[number % 10, np.newaxis].copy()


def test_memory_does_not_grow_with_the_images() -> None:
    """What the layers read of 100 more images is 70 MB."""
    plan = min_max_plan(GRAPH, PICTURES)

    def peak(count: int) -> int:
        tracemalloc.start()
        layer_statistics(GRAPH, plan, Endless(count), workers=2)
        _, most = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        return most

    peak(20)
    assert peak(120) - peak(20) < 2e6
