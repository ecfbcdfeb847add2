"""Of two pixels as near, TensorFlow, TFLite and the ONNX file take the same one."""

import os

import numpy as np
import onnx_support
import pytest
import tflite_support

from edgex.graph.ir import Graph, Input, Node, Resize
from edgex.graph.nearest import nearest_pixels
from edgex.write.onnx import onnx_model
from edgex.write.tflite import tflite_model

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
SIZES = [(24, 20), (36, 30), (96, 80), (56, 1), (60, 10), (17, 13), (7, 21), (10, 29), (64, 48)]


def resize(before: int, after: int) -> Graph:
    nodes = Node("image", Input((before, 3, 1))), Node("node", Resize((after, 3), "nearest"), ("image",))
    return Graph("resize", nodes, ("node",))


@pytest.mark.parametrize(("before", "after"), SIZES)
def test_the_same_pixel_is_taken(before: int, after: int) -> None:
    import tensorflow as tf

    image = np.arange(before * 3, dtype=np.float32).reshape(1, before, 3, 1)
    expected = tf.image.resize(image, (after, 3), "nearest").numpy()
    np.testing.assert_array_equal(image[:, nearest_pixels(before, after)], expected)
    graph = resize(before, after)
    np.testing.assert_array_equal(onnx_support.run(onnx_model(graph), image)["node"], expected)
    np.testing.assert_array_equal(tflite_support.run(tflite_model(graph), image)["node"], expected)
