"""All of edgex on all of the zoo, small: Keras opens each network, and runtimes run it in float and in INT8."""

import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

os.environ.setdefault("KERAS_BACKEND", "tensorflow")
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import keras
import numpy as np
import pytest
from reference import reference, relative_error

from edgex.execute import tensor_values
from edgex.graph.ir import Array, Graph
from edgex.graph.passes import prepare
from edgex.graph.read import read_model
from edgex.inspection import inspect_graph
from edgex.pipeline import QuantizeOptions, quantize
from edgex.runtime import open_runner
from edgex.target import load_target
from edgex.write.keras import keras_file
from edgex.zoo import build

TOLERANCE = 1e-4
"""Relative, of float outputs."""

CALIBRATED_ON = 32


@dataclass(frozen=True)
class Case:
    name: str
    options: dict[str, Any] = field(default_factory=dict)
    size: int | tuple[int, int] = 32


CASES = {
    "xception": Case("xception"),
    "without residual connections": Case("xception", {"residual": False}),
    "relu between": Case("xception", {"intermediate": "relu"}),
    "elu between": Case("xception", {"intermediate": "elu"}),
    "pointwise first": Case("xception", {"order": "pointwise-first", "intermediate": "relu"}),
    "one segment": Case("xception", {"segments": 1}),
    "three segments": Case("xception", {"segments": 3}),
    "aligned xception": Case("aligned_xception"),
    "aligned xception at 8": Case("aligned_xception", {"output_stride": 8}, (33, 40)),
    "deeplab": Case("deeplab_v3plus"),
    "deeplab at 8": Case("deeplab_v3plus", {"output_stride": 8}, (37, 50)),
}

QUANTIZED = [name for name, case in CASES.items() if isinstance(case.size, int)]
"""``quantize`` takes square images."""


def built(case: Case) -> Graph:
    return build(case.name, width=0.1, depth=0.1, classes=5, input_size=case.size, **case.options)


def pixels(graph: Graph, count: int) -> np.ndarray:
    """Blots of some colours, (count, height, width, 3) uint8."""
    height, width, _ = graph.shapes["input_layer"]
    coarse = np.random.default_rng(0).integers(0, 256, (count, height // 6 + 1, width // 6 + 1, 3), np.uint8)
    return coarse.repeat(6, axis=1).repeat(6, axis=2)[:, :height, :width]


def images_of(graph: Graph, count: int = 2) -> Array:
    """The same as networks take them."""
    return (pixels(graph, count) / np.float32(127.5) - 1).astype(np.float32)


def computed(graph: Graph, images: Array) -> Array:
    prepared = prepare(graph)
    (values,) = tensor_values(prepared, prepared.outputs)(images)
    return values


def assert_opens_in_keras(graph: Graph, folder: Path) -> None:
    """Keras and ONNX Runtime answer the same, of the graph and of what is read from its file."""
    path = folder / "model.keras"
    path.write_bytes(keras_file(graph))
    model = keras.saving.load_model(path, compile=False, safe_mode=True)
    images = images_of(graph)
    expected = np.asarray(model(images, training=False))
    assert expected.shape == (2, *graph.shapes[graph.outputs[0]])
    for same in (graph, read_model(path)):
        assert relative_error(computed(same, images), expected) < TOLERANCE
        assert relative_error(computed(same, images * np.float32(0.9)), expected) > TOLERANCE


@pytest.mark.parametrize("case", CASES)
def test_keras_opens_it_and_answers_the_same(case: str, tmp_path: Path) -> None:
    assert_opens_in_keras(built(CASES[case]), tmp_path)


def with_statistics(graph: Graph) -> Graph:
    """With batch norm's values drawn, so that folding it has something to do."""
    random = np.random.default_rng(0)
    norms = {
        node.name: [node.with_params(**{key: random.uniform(0.7, 1.4, a.shape) for key, a in node.params.items()})]
        for node in graph.nodes
        if "variance" in node.params
    }
    return graph.rewrite(norms)


@pytest.mark.parametrize("case", CASES)
def test_passes_keep_what_it_computes(case: str) -> None:
    graph = with_statistics(built(CASES[case]))
    prepared = prepare(graph)
    assert not {type(node.op).__name__ for node in prepared.nodes} & {"BatchNorm", "SeparableConv2D"}
    images = images_of(graph)
    expected = reference(graph, images)[graph.outputs[0]]
    assert relative_error(computed(prepared, images), expected) < TOLERANCE


def assert_quantizes(graph: Graph, folder: Path) -> None:
    """Both formats run in INT8, near the float answers and near each other."""
    model = folder / "model.keras"
    model.write_bytes(keras_file(graph))
    calib = folder / "calib.npz"
    np.savez(calib, x=pixels(graph, CALIBRATED_ON))
    size = graph.shapes["input_layer"][0]
    options = QuantizeOptions(preprocess="xception", calib_count=CALIBRATED_ON)
    written = quantize(model, load_target("cpu"), calib, folder / "out", options)
    images = images_of(graph, 4)
    assert images.shape[1:] == (size, size, 3)
    expected = computed(graph, images)
    answers = {}
    for artifact in written.artifacts:
        with open_runner(artifact.path, threads=1) as runner:
            answers[artifact.path.name] = np.concatenate([runner.run(image[np.newaxis]) for image in images])
    assert sorted(answers) == sorted(
        f"model.{precision}.{suffix}" for precision in ("fp32", "int8") for suffix in ("onnx", "tflite")
    )
    for name, answer in answers.items():
        assert answer.shape == expected.shape
        np.testing.assert_allclose(answer.sum(axis=-1), 1.0, rtol=1e-4)
        assert np.abs(answer - expected).max() < (TOLERANCE if "fp32" in name else 0.1), name
    assert np.abs(answers["model.int8.onnx"] - answers["model.int8.tflite"]).max() < 0.05


@pytest.mark.parametrize("case", QUANTIZED)
def test_it_quantizes(case: str, tmp_path: Path) -> None:
    assert_quantizes(built(CASES[case]), tmp_path)


# Inception V3, whose width is fixed


@pytest.fixture(scope="module")
def inception() -> Graph:
    return build("inception_v3", classes=5, input_size=75)


def test_inception_v3_has_the_names_of_a_new_session_and_the_weights_of_its_seed(inception: Graph) -> None:
    keras.layers.Conv2D(1, 1)  # which takes the name conv2d
    again = build("inception_v3", classes=5, input_size=75)
    assert [node.name for node in inception.nodes] == [node.name for node in again.nodes]
    assert {"conv2d", "conv2d_93", "mixed10", "predictions"} <= {node.name for node in again.nodes}
    assert inception.outputs == ("predictions.softmax",)
    for node in inception.nodes:
        for key, array in node.params.items():
            np.testing.assert_array_equal(array, again[node.name].params[key])
    # 23,851,784 with 1,000 classes
    assert inspect_graph(inception).parameters == 23_851_784 - 2049 * 995


@pytest.mark.slow
def test_inception_v3_is_known_to_all(inception: Graph, tmp_path: Path) -> None:
    assert_opens_in_keras(inception, tmp_path)
    assert_quantizes(inception, tmp_path)
