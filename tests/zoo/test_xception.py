"""Xception of the zoo against ``keras.applications``, and what each of its options changes."""

import os
from collections import Counter
from pathlib import Path
from typing import Any

os.environ.setdefault("KERAS_BACKEND", "tensorflow")
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import keras
import numpy as np
import pytest
from reference import relative_error

from edgex.errors import UsageError
from edgex.execute import tensor_values
from edgex.graph.ir import (
    Add,
    Conv2D,
    DepthwiseConv2D,
    Elu,
    Graph,
    Node,
    Relu,
    SeparableConv2D,
)
from edgex.graph.passes import prepare
from edgex.graph.read import read_model
from edgex.inspection import inspect_graph
from edgex.zoo import build, with_weights

SMALL = 71
"""Of the images; the least that ``keras.applications`` takes."""

TINY: dict[str, Any] = {"width": 0.1, "depth": 0.1, "input_size": 32, "classes": 5}


@pytest.fixture(scope="module")
def published(tmp_path_factory: pytest.TempPathFactory) -> tuple[Any, Path]:
    """``keras.applications.Xception`` with random weights and statistics, and its file."""
    path = tmp_path_factory.mktemp("published") / "xception.keras"
    keras.utils.clear_session()
    keras.utils.set_random_seed(0)
    model = keras.applications.Xception(weights=None, input_shape=(SMALL, SMALL, 3))
    random = np.random.default_rng(0)
    for layer in model.layers:
        if isinstance(layer, keras.layers.BatchNormalization):
            layer.set_weights([random.uniform(0.7, 1.4, variable.shape) for variable in layer.weights])
    model.save(path)
    return model, path


def shapes(node: Node) -> dict[str, tuple[int, ...]]:
    return {key: array.shape for key, array in node.params.items()}


def spatial(graph: Graph) -> list[Node]:
    """The convolutions that look at more than a pixel."""
    kernels = {Conv2D: "kernel", DepthwiseConv2D: "kernel", SeparableConv2D: "depthwise"}
    return [
        node
        for node in graph.nodes
        if type(node.op) in kernels and node.params[kernels[type(node.op)]].shape[:2] == (3, 3)
    ]


# As published


def test_layers_are_those_of_keras_applications(published: tuple[Any, Path]) -> None:
    ours, theirs = build("xception"), read_model(published[1], input_size=299)
    assert (ours.name, ours.outputs) == (theirs.name, theirs.outputs)
    assert [node.name for node in ours.nodes] == [node.name for node in theirs.nodes]
    for node in ours.nodes:
        same = theirs[node.name]
        assert (node.op, node.inputs, shapes(node)) == (same.op, same.inputs, shapes(same))
    assert ours.shapes == theirs.shapes


def test_it_counts_what_keras_counts(published: tuple[Any, Path]) -> None:
    ours, theirs = inspect_graph(build("xception")), inspect_graph(read_model(published[1], input_size=299))
    assert (ours.parameters, ours.trainable_parameters) == (22_910_480, 22_855_952)
    assert published[0].count_params() == ours.parameters
    assert ours.macs == theirs.macs


def test_with_weights_of_keras_it_answers_the_same(published: tuple[Any, Path]) -> None:
    model, path = published
    transfer = with_weights(build("xception", input_size=SMALL), read_model(path))
    assert (transfer.fresh, transfer.unused) == ((), ())
    images = np.random.default_rng(1).uniform(-1.0, 1.0, (2, SMALL, SMALL, 3)).astype(np.float32)
    network = prepare(transfer.graph)
    (answers,) = tensor_values(network, network.outputs)(images)
    assert relative_error(answers, np.asarray(model(images, training=False))) < 1e-4
    (answers,) = tensor_values(prepare(build("xception", input_size=SMALL)), network.outputs)(images)
    assert relative_error(answers, np.asarray(model(images, training=False))) > 1e-4


def test_a_head_for_other_classes_stays_fresh(published: tuple[Any, Path]) -> None:
    source = read_model(published[1])
    fresh = build("xception", classes=7, input_size=SMALL)
    transfer = with_weights(fresh, source)
    assert (transfer.fresh, transfer.unused) == (("predictions",), ("predictions",))
    assert len(transfer.taken) == len([node for node in source.nodes if node.params]) - 1
    np.testing.assert_array_equal(transfer.graph["predictions"].params["kernel"], fresh["predictions"].params["kernel"])
    for name in ("block1_conv1", "block14_sepconv2_bn", "conv2d_3"):
        for key, array in source[name].params.items():
            np.testing.assert_array_equal(transfer.graph[name].params[key], array)


def test_layers_of_other_widths_stay_fresh(published: tuple[Any, Path]) -> None:
    transfer = with_weights(build("xception", **{**TINY, "width": 0.5}), read_model(published[1]))
    assert transfer.taken == ()


# Convolutional layers


def test_36_convolutional_layers_in_14_modules() -> None:
    plain = build("xception", residual=False)
    convolutions = [node for node in plain.nodes if isinstance(node.op, Conv2D | SeparableConv2D)]
    assert len(convolutions) == 36
    assert len({node.name.split("_")[0] for node in convolutions}) == 14


def test_without_residual_connections_only_those_go() -> None:
    whole, plain = build("xception"), build("xception", residual=False)
    assert Counter(type(node.op).__name__ for node in whole.nodes)["Add"] == 12
    assert not [node for node in plain.nodes if isinstance(node.op, Add)]
    shortcuts = {f"{kind}{number}" for kind in ("conv2d", "batch_normalization") for number in ("", "_1", "_2", "_3")}
    sums = {"add", *(f"add_{number}" for number in range(1, 12))}
    assert {node.name for node in whole.nodes} - {node.name for node in plain.nodes} == shortcuts | sums
    assert all(shapes(node) == shapes(whole[node.name]) for node in plain.nodes)


def expected_parameters(width: float, blocks: int, classes: int) -> int:
    """By hand: kernels, four values a channel of batch norm, and the head."""

    def rounded(channels: int) -> int:
        return max(8, int(channels * width / 8 + 0.5) * 8)

    def separable(read: int, made: int) -> int:
        return 9 * read + read * made + 4 * made

    a, b, c, d, e, f, g, h = (rounded(channels) for channels in (32, 64, 128, 256, 728, 1024, 1536, 2048))
    stem = 9 * 3 * a + 4 * a + 9 * a * b + 4 * b
    entry = sum(
        separable(read, made) + separable(made, made) + read * made + 4 * made
        for read, made in ((b, c), (c, d), (d, e))
    )
    middle = blocks * 3 * separable(e, e)
    exit_flow = separable(e, e) + separable(e, f) + e * f + 4 * f + separable(f, g) + separable(g, h)
    return stem + entry + middle + exit_flow + h * classes + classes


@pytest.mark.parametrize(("width", "depth", "blocks"), [(1.0, 1.0, 8), (1.25, 0.5, 4), (0.01, 0.01, 1), (0.2, 1.5, 12)])
def test_width_and_depth_multiply(width: float, depth: float, blocks: int) -> None:
    graph = build("xception", width=width, depth=depth, classes=11)
    assert inspect_graph(graph).parameters == expected_parameters(width, blocks, 11)
    made = {node.name.split("_")[0] for node in spatial(graph)}
    assert made == {f"block{number}" for number in range(1, 7 + blocks)}


# The paper's variants


@pytest.mark.parametrize(("name", "op"), [("relu", Relu()), ("elu", Elu())])
def test_an_activation_between_depthwise_and_pointwise(name: str, op: Relu | Elu) -> None:
    graph = build("xception", **TINY, intermediate=name)
    depthwise = [node for node in graph.nodes if isinstance(node.op, DepthwiseConv2D)]
    assert len(depthwise) == 13
    for node in depthwise:
        (between,) = graph.consumers[node.name]
        (pointwise,) = graph.consumers[between.name]
        assert between.op == op
        assert isinstance(pointwise.op, Conv2D)
        assert pointwise.params["kernel"].shape[:2] == (1, 1)


def test_pointwise_first() -> None:
    graph = build("xception", **TINY, order="pointwise-first")
    depthwise = [node for node in graph.nodes if isinstance(node.op, DepthwiseConv2D)]
    assert len(depthwise) == 13
    for node in depthwise:
        pointwise = graph[node.inputs[0]]
        assert isinstance(pointwise.op, Conv2D)
        assert pointwise.params["kernel"].shape[:2] == (1, 1)
        (norm,) = graph.consumers[node.name]
        assert norm.name.endswith("_bn")
    activated = build("xception", **TINY, order="pointwise-first", intermediate="relu")
    assert all(
        isinstance(activated[node.inputs[0]].op, Relu)
        for node in activated.nodes
        if isinstance(node.op, DepthwiseConv2D)
    )


@pytest.mark.parametrize(("segments", "width"), [(1, 728), (3, 729), (4, 728), (5, 730)])
def test_segments_are_grouped_kernels(segments: int, width: int) -> None:
    graph = build("xception", segments=segments, depth=0.1, input_size=32)
    stem, grouped = spatial(graph)[:2], spatial(graph)[2:]
    assert [node.params["kernel"].shape for node in stem] == [(3, 3, 3, 32), (3, 3, 32, 64)]
    assert len(grouped) == 13
    for node in grouped:
        channels = node.params["kernel"].shape[3]
        assert isinstance(node.op, Conv2D)
        assert node.op.groups == segments
        assert node.params["kernel"].shape == (3, 3, channels // segments, channels)
        before = graph[node.inputs[0]]
        assert before.params["kernel"].shape[:2] == (1, 1)
    assert graph.shapes["block5_sepconv1.spatial"][-1] == width


def test_between_regular_and_extreme_parameters_fall() -> None:
    counts = [
        inspect_graph(build("xception", **TINY, order="pointwise-first", segments=segments)).parameters
        for segments in (1, 2, 4, 8, "all")
    ]
    assert counts == sorted(counts, reverse=True)
    assert len({*counts}) == 5


def test_more_segments_than_channels_are_refused() -> None:
    assert build("xception", **TINY, segments=16)
    with pytest.raises(UsageError, match="16 channels cannot be cut into 17 segments") as refusal:
        build("xception", **TINY, segments=17)
    assert "all" in refusal.value.fix
