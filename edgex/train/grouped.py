"""Grouped convolutions that train on CPUs.

TensorFlow has no gradient of them there, and ``tf_keras`` compiles each with XLA instead, whose code takes 20 to 90
times as long as one convolution for each group: on a busy machine 406 ms against 18 ms for a step of three groups over
(32, 12, 12, 66).
"""

from functools import cache
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import tf_keras


@cache
def grouped_layer() -> type["tf_keras.layers.Conv2D"]:
    """The class of layers: a ``Conv2D`` with ``groups``, of the same weights and the same answers.

    Keras knows it by name, so that models with it can be cloned and wrapped.
    """
    import tensorflow as tf
    import tf_keras

    @tf_keras.saving.register_keras_serializable(package="edgex")
    class GroupedConv2D(tf_keras.layers.Conv2D):  # type: ignore[misc]  # TensorFlow has no types
        def call(self, inputs: Any) -> Any:
            images = tf.split(inputs, self.groups, axis=-1)
            kernels = tf.split(self.kernel, self.groups, axis=-1)
            parts = [self.convolution_op(image, kernel) for image, kernel in zip(images, kernels, strict=True)]
            x = tf.concat(parts, axis=-1)
            if self.use_bias:
                x = tf.nn.bias_add(x, self.bias)
            return x if self.activation is None else self.activation(x)

    layer: type[tf_keras.layers.Conv2D] = GroupedConv2D
    return layer
