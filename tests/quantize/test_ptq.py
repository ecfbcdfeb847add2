"""Calibration: from images to a plan, and what odd images, dead channels and infinities do to it."""

import re
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Literal

import numpy as np
import pytest
from graphs import tiny_xception
from onnx_support import named, run
from reference import reference, relative_error, sqnr

from edgex.errors import ModelError
from edgex.execute import tensor_values
from edgex.graph.ir import Array, Conv2D, Graph, Input, Node, Relu
from edgex.graph.passes.equalize import equalizable
from edgex.plan import SMALLEST_SCALE, Range
from edgex.quantize.observers import Method
from edgex.quantize.ptq import EQUALIZATION_IMAGES, NAMED_ODD_IMAGES, PtqOptions, PtqResult, quantize_ptq
from edgex.write.onnx import onnx_model

GRAPH = tiny_xception(seed=1)
LOGITS = replace(GRAPH, nodes=GRAPH.nodes[:-1], outputs=("predictions",))
IMAGES = np.random.default_rng(0).uniform(-1, 1, (24, 32, 32, 3)).astype(np.float32)
METHODS: tuple[Method, ...] = ("average", "minmax", "percentile", "mse", "entropy")
HISTOGRAM_METHODS: tuple[Method, ...] = ("percentile", "mse", "entropy")


def with_odd_image(factor: float, place: int = 20) -> Array:
    images = IMAGES.copy()
    images[place] *= factor
    return images


def planned(images: Array = IMAGES, method: Method = "average", graph: Graph = GRAPH) -> PtqResult:
    return quantize_ptq(graph, named(images), PtqOptions("asymmetric", method))


def logits_sqnr(result: PtqResult) -> float:
    """Of INT8 logits on the usual images, in dB."""
    logits = replace(result.graph, nodes=result.graph.nodes[:-1], outputs=("predictions",))
    found = run(onnx_model(logits, result.plan), IMAGES)["predictions"]
    return sqnr(found, reference(LOGITS, IMAGES)["predictions"])


# Odd images


@pytest.mark.parametrize("method", METHODS)
def test_an_odd_image_is_named(method: Method) -> None:
    assert planned(method=method).odd_images == ()
    result = planned(with_odd_image(200.0), method)
    (odd,) = result.odd_images
    assert odd.image == "image 20"
    assert odd.tensors == len(result.plan.ranges)
    assert 150 < odd.factor < 400
    assert odd.worst in result.plan.ranges
    record = result.plan.calibration
    assert record["odd_image_count"] == 1
    assert record["odd_images"] == [
        {"image": "image 20", "tensors": odd.tensors, "factor": odd.factor, "worst": odd.worst}
    ]
    assert record["odd_images_were"].startswith("used" if method == "minmax" else "left out")


@pytest.mark.parametrize("place", [0, 20])
@pytest.mark.parametrize("method", ["average", *HISTOGRAM_METHODS])
def test_an_odd_image_does_not_move_robust_ranges(method: Method, place: int) -> None:
    without = planned(np.delete(IMAGES, place, 0), method)
    odd = planned(with_odd_image(200.0, place), method)
    assert len(odd.odd_images) == 1
    # Equalization that leaves the odd image out has one fewer, and gives these tensors other factors
    rescaled = equalizable(GRAPH) if place < EQUALIZATION_IMAGES else {}
    for name, (low, high) in without.plan.ranges.items():
        if name not in rescaled:
            assert odd.plan.ranges[name] == pytest.approx((low, high), abs=0.05 * (high - low)), name
    assert logits_sqnr(odd) > logits_sqnr(without) - 2
    assert logits_sqnr(odd) > 20


def test_an_odd_image_destroys_minmax() -> None:
    """Which is what the others are for, and shows that the test above can fail."""
    without, odd = planned(method="minmax"), planned(with_odd_image(200.0), "minmax")
    factors = [odd.plan.ranges[name].high / max(span.high, 1e-9) for name, span in without.plan.ranges.items()]
    assert min(factors) > 20
    assert logits_sqnr(without) > 20
    assert logits_sqnr(odd) < 0


def test_the_plan_lists_the_worst_odd_images_and_counts_all() -> None:
    images = np.concatenate([IMAGES] * 3)
    images[30:60] *= np.linspace(50, 100, 30, dtype=np.float32)[:, None, None, None]
    result = planned(images)
    assert result.plan.calibration["odd_image_count"] == len(result.odd_images) == 30
    listed = result.plan.calibration["odd_images"]
    assert len(listed) == NAMED_ODD_IMAGES
    factors = [image["factor"] for image in listed if image["tensors"] == listed[0]["tensors"]]
    assert factors == sorted(factors, reverse=True)


# Ranges


def test_minmax_ranges_hold_all_values() -> None:
    result = planned(method="minmax")
    values = reference(result.graph, IMAGES)
    tied = {name for group in result.plan.ties for name in group}
    for name, span in result.plan.ranges.items():
        if name not in tied:
            expected = (min(values[name].min(), 0), max(values[name].max(), 0))
            assert span == pytest.approx(expected, rel=1e-5, abs=1e-5), name


def test_tied_tensors_have_the_range_that_holds_both() -> None:
    plan = planned(method="minmax").plan
    ((before, pool),) = plan.ties
    assert plan.ranges[before] == plan.ranges[pool]
    values = reference(planned(method="minmax").graph, IMAGES)
    assert plan.ranges[pool].low == pytest.approx(values[before].min(), rel=1e-5)
    assert values[pool].min() > values[before].min(), "by itself the pool's range would be smaller"


def test_percentiles_are_those_of_all_values() -> None:
    options = PtqOptions("asymmetric", "percentile", percentile=99.0, equalize=False)
    plan = quantize_ptq(GRAPH, named(IMAGES), options).plan
    assert plan.calibration["percentile"] == 99.0
    values = reference(GRAPH, IMAGES)
    for name in ("input", "block2_sepconv1.depthwise", "add_1"):
        low, high = np.percentile(values[name], [0.5, 99.5])
        step = 0.004 * (high - low)
        assert plan.ranges[name] == pytest.approx((min(low, 0), max(high, 0)), abs=step), name
        assert abs(values[name].max() - high) > step, "the outermost would show"


@pytest.mark.parametrize("method", METHODS)
def test_good_enough_for_the_logits(method: Method) -> None:
    assert logits_sqnr(planned(method=method)) > 20


@pytest.mark.parametrize("method", METHODS)
def test_the_plan_does_not_depend_on_the_workers(method: Method) -> None:
    one, two = (quantize_ptq(GRAPH, named(IMAGES), PtqOptions("symmetric", method, workers=count)) for count in (1, 2))
    assert one.plan.to_json() == two.plan.to_json()
    assert one.plan.scheme == "symmetric"
    assert planned(IMAGES[::-1], "minmax").plan.to_json() != one.plan.to_json()


class Watched(list[tuple[str, Array]]):
    """Images that know how many were taken."""

    taken = 0

    def __iter__(self) -> Iterator[tuple[str, Array]]:
        for image in super().__iter__():
            self.taken += 1
            yield image


@pytest.mark.parametrize("method", ["average", "mse"])
def test_images_are_taken_one_by_one(method: Method) -> None:
    images = Watched(named(np.concatenate([IMAGES] * 2)))
    calls: list[tuple[str, int, int]] = []

    def progress(what: str, done: int, total: int) -> None:
        calls.append((what, done, total))
        before = 48 if what == "histograms" else 0
        assert images.taken <= before + max(EQUALIZATION_IMAGES, done + 2), "no further ahead than the workers"

    result = quantize_ptq(GRAPH, images, PtqOptions("asymmetric", method, workers=1), progress)
    stages = ["calibrate"] if method == "average" else ["calibrate", "histograms"]
    assert calls == [(stage, done, 48) for stage in stages for done in range(1, 49)]
    assert result.plan.calibration["images"] == 48


MEMORY = """
import sys
sys.path.insert(0, {tests!r})
import numpy as np
import psutil
from graphs import tiny_xception
from edgex.quantize.ptq import PtqOptions, quantize_ptq
kept = []
sizes = []
class Images:
    def __len__(self):
        return {count}
    def __iter__(self):
        random = np.random.default_rng(0)
        for number in range({count}):
            image = random.uniform(-1, 1, (1, 96, 96, 3)).astype(np.float32)
            if {hoard}:
                kept.append(image)
            yield str(number), image
def progress(*_):
    sizes.append(psutil.Process().memory_info().rss)
quantize_ptq(tiny_xception(96), Images(), PtqOptions("asymmetric", {method!r}, workers=2), progress)
print(max(sizes))
"""
MIB = 2**20


def peak_memory(method: Method, count: int, *, hoard: bool = False) -> int:
    """Of a process that calibrates, in bytes."""
    tests = str(Path(__file__).parents[1])
    script = MEMORY.format(tests=tests, count=count, method=method, hoard=hoard)
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    return int(done.stdout)


@pytest.mark.parametrize("method", ["average", "mse"])
def test_memory_does_not_grow_with_the_images(method: Method) -> None:
    """240 images more are 25 MiB, and what the network makes of them twenty times that."""
    few, many = peak_memory(method, 20), peak_memory(method, 260)
    assert many - few < 12 * MIB


def test_a_hoard_of_images_would_show() -> None:
    assert peak_memory("average", 260, hoard=True) - peak_memory("average", 20) > 20 * MIB


# Equalization


def test_equalization_is_exact_recorded_and_optional() -> None:
    result = planned()
    pairs = list(equalizable(GRAPH))
    assert len(pairs) == 5
    assert result.plan.calibration["equalized"] == pairs
    before, after = (reference(graph, IMAGES)["predictions"] for graph in (GRAPH, result.graph))
    assert relative_error(after, before) < 1e-5
    plain = quantize_ptq(GRAPH, named(IMAGES), PtqOptions("asymmetric", equalize=False))
    assert plain.plan.calibration["equalized"] == []
    assert plain.graph is GRAPH


@pytest.mark.parametrize("cross_layer", [False, True])
def test_an_odd_image_does_not_move_equalization(cross_layer: bool) -> None:
    """Whatever it shows: here one colour alone."""
    options = PtqOptions("asymmetric", cross_layer=cross_layer)
    images = IMAGES.copy()
    images[3] *= np.array([0, 0, 500], np.float32)
    odd, usual = (quantize_ptq(GRAPH, named(each), options).graph for each in (images, np.delete(IMAGES, 3, 0)))
    for node in usual.nodes:
        if "kernel" in node.params:
            before, after = (graph[node.name].params["kernel"] for graph in (usual, odd))
            assert np.abs(after / before - 1).max() < 0.5, node.name


def test_equalization_evens_out_what_images_show_on_average() -> None:
    def spread(graph: Graph) -> float:
        (values,) = tensor_values(graph, ["block3_sepconv2.depthwise"])(IMAGES[:EQUALIZATION_IMAGES])
        reach = np.abs(values).max((1, 2)).mean(axis=0)
        return float(reach.max() / reach[reach > 0].min())

    assert spread(GRAPH) > 30
    assert spread(planned().graph) < 1.001


RELUS = ["block1_conv1_act", "block2_sepconv2_act", "block3_sepconv2_act"]
"""Those between two layers that nothing else reads."""


@pytest.mark.parametrize("method", ["average", "mse"])
def test_cross_layer_equalization_is_exact_and_recorded(method: Method) -> None:
    plain, result = (
        quantize_ptq(GRAPH, named(IMAGES), PtqOptions("asymmetric", method, cross_layer=chosen))
        for chosen in (False, True)
    )
    assert plain.plan.calibration["equalized_across_relu"] == []
    assert result.plan.calibration["equalized_across_relu"] == RELUS
    assert result.plan.calibration["equalized"] == plain.plan.calibration["equalized"]
    before, after = (reference(graph, IMAGES)["predictions"] for graph in (GRAPH, result.graph))
    assert relative_error(after, before) < 1e-5
    assert logits_sqnr(result) > 20
    for name, span in plain.plan.ranges.items():
        if name not in RELUS:
            assert result.plan.ranges[name] == pytest.approx(span, rel=1e-3, abs=1e-4), name


def test_cross_layer_ranges_are_those_of_the_equalized_graph() -> None:
    """They are seen before it, and divided."""
    options = PtqOptions("asymmetric", "minmax", cross_layer=True)
    result = quantize_ptq(GRAPH, named(IMAGES), options)
    before, after = (reference(graph, IMAGES) for graph in (GRAPH, result.graph))
    found = [result.plan.ranges[name].high for name in RELUS]
    assert found == pytest.approx([after[name].max() for name in RELUS], rel=1e-4)
    assert found != pytest.approx([before[name].max() for name in RELUS], rel=0.05)


def test_equalization_helps_where_ranges_are_wide() -> None:
    """Some channels of this network fire in few images; taken for dead, they would be blown up and cost 15 dB."""
    plain = quantize_ptq(GRAPH, named(IMAGES), PtqOptions("asymmetric", "minmax", equalize=False))
    assert logits_sqnr(planned(method="minmax")) > logits_sqnr(plain) + 2


def test_what_is_kept_float_is_not_equalized() -> None:
    options = PtqOptions("asymmetric", keep_float=re.compile("block3_sepconv1.depthwise"))
    result = quantize_ptq(GRAPH, named(IMAGES), options)
    assert "block3_sepconv1.depthwise" not in result.plan.calibration["equalized"]
    assert result.graph["block3_sepconv1.depthwise"] is GRAPH["block3_sepconv1.depthwise"]
    options = PtqOptions("asymmetric", cross_layer=True, keep_float=re.compile("block1_conv1"))
    result = quantize_ptq(GRAPH, named(IMAGES), options)
    assert result.plan.calibration["equalized_across_relu"] == RELUS[1:]
    assert result.graph["block1_conv1"] is GRAPH["block1_conv1"]


# Weights


@pytest.mark.parametrize("rounding", ["nearest", "learned"])
@pytest.mark.parametrize("correct_bias", [False, True])
def test_weights_are_adapted_as_asked_for(rounding: Literal["nearest", "learned"], correct_bias: bool) -> None:
    options = PtqOptions("asymmetric", weight_bits=4, rounding=rounding, correct_bias=correct_bias)
    result = quantize_ptq(GRAPH, named(IMAGES), options)
    assert result.plan.weight_bits == 4
    record = result.plan.calibration
    assert record["rounding"] == rounding
    weighted = [node.name for node in GRAPH.nodes if node.params]
    assert record["rounded"] == (weighted if rounding == "learned" else [])
    assert record["biases_corrected"] == (weighted if correct_bias else [])
    plain = quantize_ptq(GRAPH, named(IMAGES), replace(options, rounding="nearest", correct_bias=False))
    assert result.plan.ranges == plain.plan.ranges
    for name in weighted:
        before, after = plain.graph[name].params, result.graph[name].params
        assert np.array_equal(before["kernel"], after["kernel"]) == (rounding == "nearest")
        assert correct_bias or all(np.array_equal(before[key], after[key]) for key in before if key == "bias")


def test_each_way_of_adapting_weights_helps() -> None:
    """In 4 bits, where rounding costs most."""
    plain = PtqOptions("asymmetric", weight_bits=4)
    found = [
        logits_sqnr(quantize_ptq(GRAPH, named(IMAGES), options))
        for options in (plain, replace(plain, correct_bias=True), replace(plain, rounding="learned", correct_bias=True))
    ]
    assert found[0] + 1 < found[1]
    assert found[1] + 1 < found[2]


# What cannot be calibrated


@pytest.mark.parametrize("equalize", [False, True])
@pytest.mark.parametrize("method", METHODS)
def test_no_images_are_refused(method: Method, equalize: bool) -> None:
    with pytest.raises(ValueError, match="no calibration images"):
        quantize_ptq(GRAPH, [], PtqOptions("asymmetric", method, equalize=equalize))


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("place", [0, 20])
@pytest.mark.parametrize("method", METHODS)
def test_what_is_not_finite_is_named(method: Method, place: int) -> None:
    images = IMAGES.copy()
    images[place] *= np.float32(3e38)  # finite, and too large for the first convolution
    with pytest.raises(ModelError, match=f"image {place}, first block1_conv1_act"):
        planned(images, method)


def test_a_dead_network_still_quantizes() -> None:
    kernel = np.zeros((3, 3, 3, 4), np.float32)
    nodes = (
        Node("image", Input((8, 8, 3))),
        Node("dead", Conv2D(), ("image",), {"kernel": kernel}),
        Node("relu", Relu(), ("dead",)),
        Node("next", Conv2D(), ("relu",), {"kernel": np.ones((1, 1, 4, 2)), "bias": np.array([3.0, -2.0])}),
    )
    graph = Graph("dead", nodes, ("next",))
    images = IMAGES[:8, :8, :8]
    for method in METHODS:
        result = planned(images, method, graph)
        assert result.plan.ranges["relu"] == Range(0.0, 0.0)
        assert result.plan.parameters("relu").scale == SMALLEST_SCALE
        (found,) = run(onnx_model(result.graph, result.plan), images).values()
        assert found == pytest.approx(np.broadcast_to([3.0, -2.0], found.shape), abs=0.02)
