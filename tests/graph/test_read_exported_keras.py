"""ONNX files of Keras models: by Keras 3's own export, and by tf2onnx from tf_keras. They have channels last."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow as tf
import tf2onnx
from keras_oracle import (
    KERAS,
    keras_outputs,
    onnx_outputs,
    random_images,
    randomize,
    relative_error,
    tflite_outputs,
)

from edgex.graph.ir import Add, Conv2D, DepthwiseConv2D, MaxPool2D, Softmax
from edgex.graph.read_onnx import read_onnx

SIDE = 32
CLOSE = 1e-4


def network(keras: Any) -> Any:
    """Xception's parts, and some of those of its relatives."""
    layers = keras.layers

    def separable(x: Any, channels: int) -> Any:
        x = layers.ReLU()(x)
        return layers.BatchNormalization()(layers.SeparableConv2D(channels, 3, padding="same", use_bias=False)(x))

    image = keras.Input((SIDE, SIDE, 3), name="image")
    x = layers.ReLU()(layers.BatchNormalization()(layers.Conv2D(8, 3, strides=2, use_bias=False)(image)))
    x = layers.ReLU(6.0)(layers.BatchNormalization()(layers.Conv2D(16, 3, padding="same", use_bias=False)(x)))
    shortcut = layers.BatchNormalization()(layers.Conv2D(24, 1, strides=2, padding="same", use_bias=False)(x))
    x = layers.MaxPooling2D(3, strides=2, padding="same")(separable(separable(x, 24), 24))
    x = layers.Add()([x, shortcut])
    x = layers.Add()([x, separable(separable(x, 24), 24)])
    pooled = layers.AveragePooling2D(3, strides=1, padding="same")(x)
    gate = layers.Dense(24, activation="sigmoid")(layers.GlobalAveragePooling2D(keepdims=True)(x))
    x = layers.Concatenate()(
        [layers.Multiply()([x, gate]), pooled, layers.Conv2D(8, 3, padding="same", dilation_rate=2)(x)]
    )
    x = layers.DepthwiseConv2D(3, strides=2, padding="valid")(layers.ZeroPadding2D(((0, 1), (1, 2)))(x))
    x = layers.GlobalAveragePooling2D()(layers.Activation("silu")(x))
    return keras.Model(image, layers.Dense(10, activation="softmax")(x))


def export_by_keras(model: Any, path: Path) -> None:
    model.export(path, format="onnx", verbose=False)


def export_by_tf2onnx(model: Any, path: Path) -> None:
    signature = [tf.TensorSpec((None, SIDE, SIDE, 3), tf.float32, name="image")]
    tf2onnx.convert.from_keras(model, signature, opset=13, output_path=str(path))


@pytest.mark.parametrize(("keras", "export"), [("keras3", export_by_keras), ("tf_keras", export_by_tf2onnx)])
def test_computes_what_keras_does(tmp_path: Path, keras: str, export: Callable[[Any, Path], None]) -> None:
    model, path = network(KERAS[keras]), tmp_path / "model.onnx"
    randomize(model)
    images = random_images(4, SIDE, SIDE, 3)
    (answers,) = keras_outputs(model, images)
    export(model, path)
    assert np.ptp(answers, axis=0).max() > 0.05  # the image shows
    graph = read_onnx(path)
    assert [node.op.shape for node in graph.inputs] == [(SIDE, SIDE, 3)]
    for found in (*onnx_outputs(graph, images), *tflite_outputs(graph, images)):
        assert relative_error(found, answers) <= CLOSE
    found = {type(node.op) for node in graph.nodes}
    assert {Add, Conv2D, DepthwiseConv2D, MaxPool2D, Softmax} <= found
