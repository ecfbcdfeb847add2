"""Grouped convolutions train on CPUs as Keras' own would, and can be wrapped."""

import time
from typing import Any

import numpy as np
import pytest
import tensorflow as tf
import tf_keras
from onnx_support import named
from reference import relative_error
from training_support import of_onnx

from edgex.graph.ir import Array, Conv2D, DepthwiseConv2D, Graph
from edgex.graph.passes import prepare
from edgex.quantize.ptq import PtqOptions, quantize_ptq
from edgex.train.fake_quant import quantize_network, read_weights
from edgex.train.grouped import grouped_layer
from edgex.train.network import keras_model, layer_name, logits_graph
from edgex.zoo import build

SETTINGS: tuple[dict[str, Any], ...] = (
    {"groups": 2},
    {"groups": 3, "use_bias": False},
    {"groups": 6, "padding": "same", "strides": 2},
    {"groups": 3, "padding": "same", "dilation_rate": 2, "activation": "relu"},
)


def answers_and_gradients(layer: Any, images: Array) -> list[Array]:
    tensor = tf.constant(images)
    with tf.GradientTape() as tape:
        tape.watch(tensor)
        made = layer(tensor)
        loss = tf.reduce_sum(tf.square(made))
    return [each.numpy() for each in (made, *tape.gradient(loss, [tensor, *layer.trainable_variables]))]


@pytest.mark.parametrize("settings", SETTINGS, ids=str)
def test_answers_and_gradients_are_those_of_keras(settings: dict[str, Any]) -> None:
    images = np.random.default_rng(0).normal(0.0, 1.0, (3, 9, 8, 12)).astype(np.float32)
    stock, own = (kind(18, 3, **settings) for kind in (tf_keras.layers.Conv2D, grouped_layer()))
    for layer in (stock, own):
        layer.build(images.shape)
    own.set_weights([np.random.default_rng(1).normal(0.0, 0.5, weight.shape) for weight in own.get_weights()])
    stock.set_weights(own.get_weights())
    expected, found = (answers_and_gradients(layer, images) for layer in (stock, own))
    assert len(found) == (3 if settings.get("use_bias") is False else 4)
    for mine, theirs in zip(found, expected, strict=True):
        assert relative_error(mine, theirs) < 1e-5


def segmented() -> Graph:
    graph = build("xception", width=0.1, depth=0.1, classes=4, input_size=32, segments=3)
    return logits_graph(prepare(graph))


def test_only_grouped_convolutions_have_layers_of_their_own() -> None:
    graph = segmented()
    model = keras_model(graph)
    for node in graph.nodes:
        if isinstance(node.op, Conv2D | DepthwiseConv2D):
            own = type(model.get_layer(layer_name(node.name))) is grouped_layer()
            assert own == (isinstance(node.op, Conv2D) and node.op.groups > 1)


def test_fake_quantization_wraps_them() -> None:
    graph = segmented()
    images = np.random.default_rng(0).uniform(-1.0, 1.0, (4, 32, 32, 3)).astype(np.float32)
    result = quantize_ptq(graph, named(images), PtqOptions("asymmetric"))
    network = quantize_network(keras_model(result.graph), result.graph, result.plan)
    before = read_weights(network, result.graph)
    simulated = network(images, training=False).numpy()
    assert relative_error(simulated, of_onnx(result.graph, result.plan, images)) < 0.1

    with tf.GradientTape() as tape:
        loss = tf.reduce_sum(tf.square(network(images, training=True)))
    variables = network.trainable_variables
    gradients = tape.gradient(loss, variables)
    tf_keras.optimizers.SGD(1e-3).apply_gradients(zip(gradients, variables, strict=True))
    after = read_weights(network, result.graph)
    grouped = [node.name for node in graph.nodes if isinstance(node.op, Conv2D) and node.op.groups > 1]
    assert len(grouped) == 13
    for name in grouped:
        assert (after[name]["kernel"] != before[name]["kernel"]).any()


def test_they_take_a_fraction_of_the_time_of_keras_own() -> None:
    images = tf.constant(np.random.default_rng(0).normal(0.0, 1.0, (16, 12, 12, 48)).astype(np.float32))

    def best(kind: Any) -> float:
        layer = kind(48, 3, padding="same", groups=3)
        step = tf.function(lambda: answers(layer))

        def answers(layer: Any) -> Any:
            with tf.GradientTape() as tape:
                loss = tf.reduce_sum(tf.square(layer(images)))
            return tape.gradient(loss, layer.trainable_variables)

        layer(images)
        step()
        taken = []
        for _ in range(3):
            start = time.perf_counter()
            step()
            taken.append(time.perf_counter() - start)
        return min(taken)

    assert best(grouped_layer()) < best(tf_keras.layers.Conv2D)
