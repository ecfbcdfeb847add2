"""Networks of the zoo train: each weight has a gradient, and a few steps bring the loss down."""

from typing import Any

import numpy as np
import pytest
import tensorflow as tf
import tf_keras

from edgex.graph.passes.simplify import split_separable
from edgex.train.network import keras_model, logits_graph
from edgex.zoo import build

CASES: dict[str, tuple[str, dict[str, Any]]] = {
    "xception": ("xception", {}),
    "three segments": ("xception", {"segments": 3}),
    "elu between": ("xception", {"intermediate": "elu", "residual": False}),
    "aligned xception": ("aligned_xception", {"output_stride": 16}),
    "deeplab": ("deeplab_v3plus", {}),
}

STATISTICS = ("mean", "variance")


@pytest.mark.parametrize("case", CASES)
def test_it_trains(case: str) -> None:
    name, options = CASES[case]
    graph = build(name, width=0.1, depth=0.1, classes=4, input_size=64, **options)
    model = keras_model(logits_graph(split_separable(graph).graph), biases=False)
    random = np.random.default_rng(0)
    images = random.normal(0.0, 0.5, (8, 64, 64, 3)).astype(np.float32)
    labels = random.integers(0, 4, (8, *graph.shapes[graph.outputs[0]][:-1]))
    optimizer = tf_keras.optimizers.SGD(0.05)

    @tf.function(autograph=False)
    def step() -> tuple[tf.Tensor, list[tf.Tensor]]:
        with tf.GradientTape() as tape:
            logits = model(images, training=True)
            loss = tf.reduce_mean(tf.nn.sparse_softmax_cross_entropy_with_logits(labels, logits))
        gradients = tape.gradient(loss, model.trainable_variables)
        optimizer.apply_gradients(zip(gradients, model.trainable_variables, strict=True))
        return loss, gradients

    losses = []
    for _ in range(8):
        loss, gradients = step()
        losses.append(float(loss))
        assert all(np.abs(gradient).max() > 0 for gradient in gradients)
    trainable = sum(array.size for node in graph.nodes for key, array in node.params.items() if key not in STATISTICS)
    assert trainable == sum(np.prod(variable.shape) for variable in model.trainable_variables)
    assert min(losses[-2:]) < losses[0]
