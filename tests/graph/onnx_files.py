"""Small ONNX files as others write them, and whether what is read from them computes the same."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
from onnx import TensorProto, helper, numpy_helper

from edgex.graph.ir import Graph
from edgex.graph.passes import prepare
from edgex.graph.read_onnx import read_onnx
from edgex.write.onnx import onnx_model

RANDOM = np.random.default_rng(0)
CHANNELS, SIDE = 6, 9
IMAGES = RANDOM.normal(0.0, 2.0, (5, CHANNELS, SIDE, SIDE)).astype(np.float32)
Made = tuple[list[onnx.NodeProto], dict[str, np.ndarray]]
"""Nodes from "image" to "result", and constants."""

node = helper.make_node


def weights(*shape: int) -> np.ndarray:
    return RANDOM.normal(0.0, 0.4, shape).astype(np.float32)


def whole(*numbers: int) -> np.ndarray:
    return np.array(numbers, np.int64)


def save(path: Path, made: Made, image: Sequence[int | str] = ("N", CHANNELS, SIDE, SIDE), *, opset: int = 17) -> Path:
    """Write a model of one image and one result."""
    nodes, constants = made
    graph = helper.make_graph(
        nodes,
        "made",
        [helper.make_tensor_value_info("image", TensorProto.FLOAT, image)],
        [helper.make_tensor_value_info("result", TensorProto.FLOAT, None)],
        [numpy_helper.from_array(array, name) for name, array in constants.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=8)
    path.write_bytes(model.SerializeToString())
    return path


def run(model: bytes, images: np.ndarray) -> np.ndarray:
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3  # the optimizer's remarks
    session = onnxruntime.InferenceSession(model, options)
    return session.run(None, {session.get_inputs()[0].name: images})[0]


def agrees(path: Path, images: np.ndarray = IMAGES) -> Graph:
    """Whether the file and the graph read from it compute the same; the graph."""
    graph = read_onnx(path)
    expected = run(path.read_bytes(), images)
    found = run(onnx_model(prepare(graph)).SerializeToString(), images.transpose(0, 2, 3, 1))
    found = found.transpose(0, 3, 1, 2) if found.ndim == 4 else found
    assert found.shape == expected.shape
    np.testing.assert_allclose(found, expected, atol=1e-5 * np.abs(expected).max())
    return graph


STEM = node("Conv", ["image", "w"], ["x"], pads=[1, 1, 1, 1])
KERNEL = {"w": weights(8, CHANNELS, 3, 3)}


def after_stem(*nodes: onnx.NodeProto, **constants: np.ndarray) -> Made:
    """From the stem's "x", of 8 channels, to "result"."""
    return [STEM, *nodes], {**KERNEL, **constants}


def pooled(*nodes: onnx.NodeProto, **constants: np.ndarray) -> Made:
    """From "v", a vector of 8, to "result"."""
    return after_stem(node("GlobalAveragePool", ["x"], ["p"]), node("Flatten", ["p"], ["v"]), *nodes, **constants)


BATCH_NORM = after_stem(
    node("BatchNormalization", ["x", "gamma", "beta", "mean", "variance"], ["result"], epsilon=1e-3),
    gamma=weights(8),
    beta=weights(8),
    mean=weights(8),
    variance=weights(8) ** 2 + 0.1,
)


def computed_size(divisor: int = 2, *, of: int = 2) -> Made:
    """Resized to (size - 1) // 2 + 1 high, of the size of one axis."""
    return after_stem(
        node("Shape", ["x"], ["size"], start=of, end=of + 1),
        node("Add", ["size", "minus"], ["a"]),
        node("Div", ["a", "two"], ["b"]),
        node("Add", ["b", "one"], ["c"]),
        node("Shape", ["x"], ["head"], start=0, end=2),
        node("Concat", ["head", "c", "width"], ["all"], axis=0),
        node("Resize", ["x", "", "", "all"], ["result"], mode="linear", name="odd"),
        minus=whole(-1),
        two=whole(divisor),
        one=whole(1),
        width=whole(SIDE),
    )
