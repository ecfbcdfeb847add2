"""What the quantization of one layer costs, against fake quantization in numpy, and how costs are counted."""

import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from graphs import tiny_xception
from numpy.typing import NDArray
from PIL import Image
from reference import Values, reference, sqnr
from subjects import IMAGES, probe_of, subject_of, with_spoiled_tensor

from edgex.dataset import open_dataset
from edgex.errors import DataError
from edgex.execute import open_network
from edgex.graph.ir import (
    Conv2D,
    Dense,
    DepthwiseConv2D,
    GlobalAveragePool,
    Graph,
    Input,
    Node,
    Relu,
    Softmax,
)
from edgex.plan import Range, Scheme
from edgex.preprocess import Preprocessing
from edgex.sensitivity.simulation import Probe, cost, decoded, plan_of_one, plan_without
from edgex.write.onnx import onnx_model

TOLERANCE_DB = 0.2
RANDOM = np.random.default_rng(7)
SMALL = RANDOM.uniform(-1, 1, (8, 10, 10, 3)).astype(np.float32)


def weights(*shape: int, bias: int | None = None) -> dict[str, NDArray[np.float32]]:
    params = {"kernel": RANDOM.normal(0, 0.4, shape).astype(np.float32)}
    return params if bias is None else {**params, "bias": RANDOM.normal(0, 0.2, bias).astype(np.float32)}


CHAIN = Graph(
    "chain",
    (
        Node("image", Input((10, 10, 3))),
        Node("conv", Conv2D(padding="same"), ("image",), weights(3, 3, 3, 6, bias=6)),
        Node("conv_act", Relu(), ("conv",)),
        Node("sep.depthwise", DepthwiseConv2D(padding="same"), ("conv_act",), weights(3, 3, 6, 1)),
        Node("sep.pointwise", Conv2D(), ("sep.depthwise",), weights(1, 1, 6, 8, bias=8)),
        Node("sep_act", Relu(), ("sep.pointwise",)),
        Node("pool", GlobalAveragePool(), ("sep_act",)),
        Node("scores", Dense(), ("pool",), weights(8, 5, bias=5)),
        Node("softmax", Softmax(), ("scores",)),
    ),
    ("softmax",),
)
KERNELS = {
    "conv": ("image", "conv_act", (0, 1, 2)),
    "sep.depthwise": ("conv_act", "sep.depthwise", (0, 1)),
    "sep.pointwise": ("sep.depthwise", "sep_act", (0, 1, 2)),
    "scores": ("pool", "scores", (0,)),
}
"""Each with the tensors that it reads and makes, and the axes of its kernel that are not output channels."""


def rounded(values: Values, span: Range, scheme: Scheme) -> Values:
    """Through 8 bits and back."""
    if scheme == "symmetric":
        scale = max(-span.low, span.high) / 127
        return np.clip(np.round(values / scale), -127, 127) * scale
    scale = (span.high - span.low) / 255
    zero = np.round(-span.low / scale)
    return (np.clip(np.round(values / scale) + zero, 0, 255) - zero) * scale


def rounded_kernel(kernel: NDArray[Any], axes: tuple[int, ...]) -> NDArray[Any]:
    scale = np.abs(kernel).max(axes, keepdims=True) / 127
    return np.round(kernel / scale) * scale


def part(first: str, last: str, graph: Graph = CHAIN) -> Graph:
    """The nodes behind the tensor ``first``, which becomes the input, up to ``last``."""
    names = [node.name for node in graph.nodes]
    behind = graph.nodes[names.index(first) + 1 : names.index(last) + 1]
    return Graph("part", (Node(first, Input(graph.shapes[first])), *behind), (last,))


def oracle(layer: str, scheme: Scheme) -> float:
    """Signal-to-noise ratio in decibels of the logits, less their mean, averaged over the images."""
    plan = subject_of(CHAIN, SMALL, scheme).plan
    read, made, axes = KERNELS[layer]
    exact = reference(CHAIN, SMALL)
    values = rounded(exact[read], plan.ranges[read], scheme)
    node = CHAIN[layer].with_params(kernel=rounded_kernel(CHAIN[layer].params["kernel"], axes))
    values = reference(part(read, made, CHAIN.rewrite({layer: [node]})), values)[made]
    values = rounded(values, plan.ranges[made], scheme)
    found = values if made == "scores" else reference(part(made, "scores"), values)["scores"]
    signal, noise = (each.var(-1) for each in (exact["scores"], found - exact["scores"]))
    return float(10 * np.log10(signal / noise).mean())


@pytest.mark.parametrize("scheme", ["asymmetric", "symmetric"])
@pytest.mark.parametrize("layer", KERNELS)
def test_one_layer_costs_what_fake_quantization_costs(layer: str, scheme: Scheme) -> None:
    subject = subject_of(CHAIN, SMALL, scheme)
    network = open_network(subject.graph, plan_of_one(subject.graph, subject.plan, layer), subject.form)
    found = probe_of(subject, SMALL).snr_db(network)
    assert found == pytest.approx(oracle(layer, scheme), abs=TOLERANCE_DB)
    assert found is not None
    assert 20 < found < 70


def test_one_layer_is_its_kernel_its_activation_and_their_tensors() -> None:
    subject = subject_of(tiny_xception())
    plan = plan_of_one(subject.graph, subject.plan, "block1_conv2")
    assert set(plan.ranges) == {"block1_conv1_act", "block1_conv2_act"}
    assert [name for name in plan.precisions if plan.is_int8(name)] == ["block1_conv2", "block1_conv2_act"]
    assert set(plan_of_one(subject.graph, subject.plan, "add").ranges) == {"block2_pool", "conv2d", "add"}


@pytest.mark.parametrize("kept", ["^block1_conv2$", r"^block3_sepconv2(\.|$)", "^(add|conv2d)$"])
def test_a_plan_without_some_layers_is_the_one_that_calibration_makes(kept: str) -> None:
    pattern = re.compile(kept)
    subject, calibrated = subject_of(tiny_xception()), subject_of(tiny_xception(), keep_float=pattern).plan
    found = plan_without(subject.graph, subject.plan, pattern)
    assert found.precisions == calibrated.precisions
    assert found.ties == calibrated.ties
    assert found.ranges.keys() == calibrated.ranges.keys()
    assert len(found.precisions) > len([name for name in found.precisions if found.is_int8(name)]) > 0


def test_a_layer_in_float_stays_in_float() -> None:
    """ONNX Runtime's optimizer would quantize its weights, with one scale for all channels."""
    import onnxruntime

    subject = subject_of(with_spoiled_tensor())
    plan = plan_without(subject.graph, subject.plan, re.compile("^block1_conv2$"))
    found = open_network(subject.graph, plan, subject.form)(IMAGES)
    plain = onnxruntime.SessionOptions()
    plain.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    model = onnx_model(replace(subject.graph, outputs=("predictions",)), plan, subject.form)
    (expected,) = onnxruntime.InferenceSession(model.SerializeToString(), plain).run(None, {"input": IMAGES})
    assert sqnr(found, expected) > 25


def scores(*rows: list[float]) -> Probe:
    """Two images, of class 0 and 1, on which the float network says ``rows``."""
    images = np.arange(len(rows), dtype=np.float32).reshape(-1, 1, 1, 1)
    return Probe(images, np.array(rows, np.float32)[:, np.newaxis], np.arange(len(rows)) % 2, workers=1)


def saying(*rows: list[float]) -> Any:
    return lambda image: np.array([rows[int(image.item())]], np.float32)


def test_images_lost_and_gained_are_counted_apart() -> None:
    probe = scores([2, 1], [1, 2], [0, 1], [1, 0], [2, 1])  # right, right, wrong, wrong, right
    changed = cost(saying([1, 2], [1, 2], [1, 0], [1, 0], [1, 2]), probe, probe)
    assert (changed.images, changed.lost, changed.gained) == (5, 2, 1)
    unlabelled = cost(saying([1, 2], [1, 2], [1, 0], [1, 0], [1, 2]), probe, None)
    assert (unlabelled.snr_db, unlabelled.images, unlabelled.lost) == (changed.snr_db, None, None)


def test_the_float_network_costs_nothing() -> None:
    subject = subject_of(tiny_xception())
    probe = probe_of(subject, labels=np.zeros(len(IMAGES), int))
    found = cost(open_network(subject.graph, None, subject.form), probe, probe)
    assert (found.snr_db, found.lost, found.gained) == (None, 0, 0)


def test_images_are_decoded_once_and_bad_ones_left_out(tmp_path: Path) -> None:
    for number in range(3):
        Image.fromarray(np.full((4, 4, 3), 40 * number, np.uint8)).save(tmp_path / f"{number}.png")
    (tmp_path / "1.png").write_bytes(b"no image")
    dataset = open_dataset(tmp_path, role="calibration", max_bad=1)
    indices, images = decoded(dataset, Preprocessing((4, 4), scale="none"), tmp_path / "decoded")
    assert indices.tolist() == [0, 2]
    assert images.shape == (2, 4, 4, 3)
    assert images[:, 0, 0, 0].tolist() == [0, 80]
    assert (tmp_path / "decoded").stat().st_size == 3 * 4 * 4 * 3 * 4


def test_no_readable_image_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "1.png").write_bytes(b"no image")
    dataset = open_dataset(tmp_path, role="calibration", max_bad=1)
    with pytest.raises(DataError, match=re.escape(str(tmp_path))):
        decoded(dataset, Preprocessing((4, 4)), tmp_path / "decoded")
