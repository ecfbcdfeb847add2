"""Gradients of gates, which tell how much a network's loss depends on each channel of a tensor.

A gate is a factor of one on a channel. To first order, closing it changes the loss by the derivative of the loss with
respect to it: the sum over positions of gradient times activation (Molchanov et al. 2019, arXiv:1906.10771).
"""

from collections.abc import Sequence
from typing import Any

import numpy as np

from edgex.graph.ir import Array, Graph
from edgex.train.batches import Batch, Batches
from edgex.train.loop import Progress
from edgex.train.losses import cross_entropy, divergence
from edgex.train.network import configure_tensorflow, keras_model, layer_name, logits_graph, require_tensorflow

MOST_IMAGES = 16
"""Whose activations are in memory at once."""


def gate_gradients(
    graph: Graph,
    tensors: Sequence[str],
    batches: Batches | Sequence[Batch],
    teacher: Graph,
    *,
    labelled: bool,
    threads: int,
    progress: Progress = lambda _what, _done, _total: None,
) -> dict[str, Array]:
    """The derivative of each image's loss with respect to a gate on each channel of some tensors.

    The loss is the one that training brings down: divergence from the teacher's answer, and cross-entropy. A network
    that still answers as its teacher has no divergence, and so no gradient of it. There the cross-entropy alone says
    what matters, and hence it counts without labels too: the class that the teacher finds most likely stands for them.

    Batch norm normalizes by its running statistics, so that no image has a part in another's loss.

    Args:
        graph: as :func:`edgex.train.network.keras_model` takes it; ends at the logits, or in their softmax, of an image
            or of each of its pixels.
        tensors: names of some of its tensors, with channels on the last axis.
        batches: images.
        teacher: the float network; may be ``graph``.
        labelled: whether labels count.
        threads: of TensorFlow, unless it runs already.
        progress: called with what is being done, batches done, and batches in all.

    Returns:
        Tensor → (images, channels), images in the order of ``batches``.

    Raises:
        RuntimeMissingError: the train extra is not installed.
        ModelError: a node has no layer that trains. DataError: too many images cannot be read.
    """
    require_tensorflow()
    import tensorflow as tf
    import tf_keras

    configure_tensorflow(threads)
    model, adviser = (keras_model(logits_graph(each), biases=False) for each in (graph, teacher))
    made = [model.get_layer(layer_name(name)).output for name in tensors]
    network = tf_keras.Model(model.input, [*made, model.output])

    def of_gates(images: Any, labels: Any) -> list[Any]:
        taught = tf.nn.log_softmax(adviser(images, training=False))
        truth = labels if labelled else tf.argmax(taught, axis=-1)
        with tf.GradientTape(watch_accessed_variables=False) as tape:
            tape.watch(images)
            *activations, logits = network(images, training=False)
            losses = divergence(taught, logits) + cross_entropy(truth, logits)
        gradients = tape.gradient(losses, activations, unconnected_gradients=tf.UnconnectedGradients.ZERO)
        return [
            tf.reduce_sum(gradient * activation, axis=list(range(1, activation.shape.rank - 1)))
            for gradient, activation in zip(gradients, activations, strict=True)
        ]

    pixels = model.output_shape[1:-1] if labelled else ()
    signature = (tf.TensorSpec((None, *model.input_shape[1:])), tf.TensorSpec((None, *pixels), tf.int64))
    compiled = tf.function(of_gates, signature, autograph=False)
    found: list[list[Array]] = [[] for _ in tensors]
    for done, batch in enumerate(batches):
        progress("importance", done, len(batches))
        for start in range(0, len(batch.images), MOST_IMAGES):
            few = slice(start, start + MOST_IMAGES)
            for of_tensor, gradients in zip(found, compiled(batch.images[few], batch.labels[few]), strict=True):
                of_tensor.append(gradients.numpy())
    progress("importance", len(batches), len(batches))
    return {name: np.concatenate(of_tensor) for name, of_tensor in zip(tensors, found, strict=True)}
