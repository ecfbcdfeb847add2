"""A graph as a ``tf_keras`` model: it computes what the float artifact does, and it trains."""

import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest
import tensorflow as tf
from graphs import tiny_xception
from operation_cases import CASES as ALL_CASES
from operation_cases import IMAGES, PADS, chain, over, single, weights
from reference import relative_error
from segmenters import colour_segmenter
from training_support import MINI_SIZE, normalized, of_onnx

from edgex.errors import ModelError
from edgex.graph.ir import (
    Array,
    BatchNorm,
    Conv2D,
    GlobalAveragePool,
    Graph,
    Identity,
    MaxPool2D,
    Node,
    Op,
    Resize,
    Softmax,
)
from edgex.graph.passes import prepare
from edgex.train.fake_quant import read_weights
from edgex.train.head import head
from edgex.train.network import MOMENTUM, keras_model, layer_name, logits_graph, trained_graph

TOLERANCE = 1e-5
"""Relative, of float32 sums of some hundred terms, in whatever order a processor takes them."""


REFUSED = {"max pool padded explicitly", "identity"}
"""What cannot be trained, and what no prepared graph has."""

CASES = {name: graph for name, graph in ALL_CASES.items() if name not in REFUSED}
TRAINED = {name: graph for name, graph in CASES.items() if "kernel" in graph.nodes[-1].params}


def computed(graph: Graph, images: Array = IMAGES) -> Array:
    found: Array = keras_model(graph)(images, training=False).numpy()
    return found


@pytest.mark.parametrize("case", CASES)
def test_the_model_computes_what_the_float_artifact_does(case: str) -> None:
    expected = of_onnx(CASES[case], None, IMAGES)
    assert relative_error(computed(CASES[case]), expected) < TOLERANCE
    assert relative_error(computed(CASES[case], IMAGES * np.float32(1.001)), expected) > TOLERANCE


@pytest.mark.parametrize("case", TRAINED)
def test_every_weight_has_a_gradient(case: str) -> None:
    model = keras_model(TRAINED[case])
    with tf.GradientTape() as tape:
        loss = tf.reduce_sum(tf.square(model(IMAGES, training=True)))
    gradients = tape.gradient(loss, model.trainable_variables)
    assert len(gradients) == 2
    assert all(np.abs(gradient).min() > 0 for gradient in gradients)


def test_every_operation_of_a_prepared_graph_is_here() -> None:
    """BatchNorm, SeparableConv2D and Identity are gone by then."""
    gone = {"BatchNorm", "SeparableConv2D", "Identity"}
    known = {operation.__name__ for operation in Op.__subclasses__()} - gone
    assert {type(node.op).__name__ for graph in CASES.values() for node in graph.nodes} == known


def test_what_cannot_be_trained_is_named() -> None:
    graph = single(MaxPool2D((3, 3), (2, 2), PADS))
    with pytest.raises(ModelError, match="node: MaxPool2D") as refusal:
        keras_model(graph)
    assert refusal.value.fix == "Give a model without it, or quantize without training."


def test_names_that_tensorflow_does_not_take() -> None:
    names = ("my conv", "_conv", "a:b-c", "größe", "a-3a-b", "node.conv")
    nodes = [
        Node(name, Conv2D(), (read,), {"kernel": weights(1, 1, 6, 6)})
        for name, read in zip(names, ("image", *names), strict=False)
    ]
    graph = chain(*nodes)
    assert len({layer_name(node.name) for node in graph.nodes}) == len(graph.nodes)
    assert relative_error(computed(graph), of_onnx(graph, None, IMAGES)) < TOLERANCE


@pytest.mark.parametrize("graph", [logits_graph(tiny_xception()), normalized()], ids=["folded", "normalized"])
def test_weights_come_back_as_they_went(graph: Graph) -> None:
    read = read_weights(keras_model(graph), graph)
    assert set(read) == {node.name for node in graph.nodes if node.params}
    for name, params in read.items():
        for param, array in params.items():
            np.testing.assert_array_equal(array, graph[name].params.get(param, np.zeros_like(array)))


def test_layers_gain_a_bias_or_not() -> None:
    graph = normalized()
    own = {node.name: set(node.params) for node in graph.nodes if node.params}
    gained = {name: params | ({"bias"} if "kernel" in params else set()) for name, params in own.items()}
    assert own != gained
    for biases, expected in ((True, gained), (False, own)):
        read = read_weights(keras_model(graph, biases=biases), graph)
        assert {name: set(params) for name, params in read.items()} == expected


@pytest.mark.parametrize("graph", [tiny_xception(), normalized()], ids=["folded", "normalized"])
def test_trained_weights_take_the_place_of_the_old(graph: Graph) -> None:
    read = read_weights(keras_model(logits_graph(graph)), graph)
    weights = {name: {param: array + 1 for param, array in params.items()} for name, params in read.items()}
    changed = trained_graph(graph, weights)
    assert [node.name for node in changed.nodes] == [node.name for node in graph.nodes]
    for name, params in read.items():
        assert set(changed[name].params) == set(params)
        for param, array in params.items():
            np.testing.assert_array_equal(changed[name].params[param], array + 1)


# Batch norm


def test_batch_norm_computes_what_it_folds_to() -> None:
    graph = normalized()
    images = np.random.default_rng(0).uniform(-1.0, 1.0, (7, MINI_SIZE, MINI_SIZE, 3)).astype(np.float32)
    expected = of_onnx(prepare(graph), None, images)
    assert relative_error(computed(graph, images), expected) < TOLERANCE
    assert relative_error(computed(graph, images * np.float32(1.001)), expected) > TOLERANCE


@pytest.mark.parametrize("rank", [4, 2])
def test_running_statistics_follow_the_batches(rank: int) -> None:
    """Of images and of vectors, whose variances TensorFlow estimates each in its own way."""
    before = {"mean": weights(6), "variance": np.abs(weights(6))}
    norm = Node("norm", BatchNorm(), ("image" if rank == 4 else "before",), before)
    graph = chain(norm) if rank == 4 else chain(Node("before", GlobalAveragePool(), ("image",)), norm)
    values = IMAGES if rank == 4 else IMAGES.mean(axis=(1, 2))
    model = keras_model(graph)
    normalized_by_batch = model(IMAGES, training=True).numpy()
    over = tuple(range(values.ndim - 1))
    of_batch = {"mean": values.mean(axis=over), "variance": values.var(axis=over, ddof=1 if rank == 4 else 0)}
    for param, array in read_weights(model, graph)["norm"].items():
        expected = MOMENTUM * before[param] + (1 - MOMENTUM) * of_batch[param]
        np.testing.assert_allclose(array, expected, rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(normalized_by_batch.mean(axis=over), 0.0, atol=1e-5)


# The end of a network


def test_the_last_softmax_goes() -> None:
    graph = tiny_xception()
    logits = logits_graph(graph)
    assert logits.outputs == ("predictions",)
    assert [node.name for node in logits.nodes] == [node.name for node in graph.nodes[:-1]]
    assert logits_graph(logits) is logits


def test_a_softmax_inside_stays() -> None:
    graph = over(Softmax(), Conv2D(), kernel=weights(1, 1, 6, 3))
    assert logits_graph(graph) is graph
    read_on = replace(graph, outputs=("before",))
    assert logits_graph(read_on) is read_on


@pytest.mark.parametrize("behind", [Resize((64, 64), "bilinear"), Softmax(), GlobalAveragePool()])
def test_behind_a_softmax_are_no_logits(behind: Op) -> None:
    """A loss would take probabilities for them, which it then could hardly tell apart."""
    segmenter = colour_segmenter()
    graph = replace(segmenter, nodes=(*segmenter.nodes, Node("behind", behind, segmenter.outputs)), outputs=("behind",))
    for refusing in (logits_graph, head):
        with pytest.raises(ModelError, match=r"ends in behind, behind the softmax scores\.softmax"):
            refusing(graph)
    same = replace(segmenter, nodes=(*segmenter.nodes, Node("same", Identity(), segmenter.outputs)), outputs=("same",))
    assert head(same).name == "scores"


def test_two_outputs_cannot_be_trained_for() -> None:
    with pytest.raises(ModelError, match="1 inputs and 2 outputs"):
        logits_graph(replace(tiny_xception(), outputs=("predictions", "avg_pool")))


def test_importing_needs_no_tensorflow() -> None:
    files = "import edgex.train.loop, sys; assert not {'tensorflow', 'tf_keras'} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", files], check=True)
