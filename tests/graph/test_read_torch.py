"""What PyTorch computes, the graph computes that is read from its exports, in both formats that edgex writes."""

from pathlib import Path

import numpy as np
import onnx
import onnx_support
import pytest
import tflite_support
from torch_environment import needs_torch, run_torch

from edgex.errors import UsageError
from edgex.graph.ir import DepthwiseConv2D, Graph, Input, MaxPool2D, Node
from edgex.graph.passes import prepare
from edgex.graph.read_onnx import read_onnx
from edgex.pipeline.onnx_parity import compare_with_file
from edgex.write.onnx import onnx_model
from edgex.write.tflite import tflite_model

MODELS = (
    "bent activations",
    "channels last",
    "densenet",
    "efficientnet",
    "flattened",
    "global max",
    "grouped",
    "inception",
    "mobilenet v2",
    "mobilenet v3",
    "normalized",
    "resnet d",
    "segmenter",
    "smooth activations",
    "u-net",
    "xception",
)
EXPORTERS = ("torchscript", "dynamo")
OF_ANY_SIZE = ("segmenter", "u-net")
FIXED = (*OF_ANY_SIZE, "channels last", "flattened", "global max", "xception")
SHAPES = {"one": FIXED, "any": MODELS, "open": OF_ANY_SIZE}
FILES = tuple(
    f"{model}.{exporter}.{shape}" for shape, models in SHAPES.items() for model in models for exporter in EXPORTERS
)
CLOSE = 1e-4
"""Relative error; usually it is 1e-6."""
NOT_RUN = "normalized.torchscript.any"
"""ONNX Runtime merges its padding with a dilated convolution, which it then cannot run."""

pytestmark = [needs_torch, pytest.mark.timeout(1800)]  # half a minute of computing, on a machine of its own


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder with all models and PyTorch's answers."""
    folder = tmp_path_factory.mktemp("torch")
    run_torch("torch_models.py", folder)
    return folder


def images_and_answers(folder: Path, model: str) -> tuple[np.ndarray, np.ndarray]:
    """Both with channels last."""
    with np.load(folder / f"{model}.npz") as arrays:
        images, answers = arrays["images"], arrays["answers"]
    images = np.ascontiguousarray(images.transpose(0, 2, 3, 1))
    return images, answers.transpose(0, 2, 3, 1) if answers.ndim == 4 else answers


def test_the_image_shows(exported: Path) -> None:
    """In the answers of every model; else the comparisons would say nothing of what reads it."""
    for model in MODELS:
        _, answers = images_and_answers(exported, model)
        spread = np.abs(answers - answers.mean(axis=0)).max() / np.abs(answers).max()
        assert spread > 0.05, f"{model}: {spread:.3f}"


def errors(graph: Graph, images: np.ndarray, answers: np.ndarray) -> list[float]:
    """Of the ONNX and of the TFLite that is written of a graph."""
    prepared = prepare(graph)
    (of_onnx,) = onnx_support.run(onnx_model(prepared), images).values()
    (of_tflite,) = tflite_support.run(tflite_model(prepared), images).values()
    return [tflite_support.error(found, answers) for found in (of_onnx, of_tflite)]


@pytest.mark.parametrize("file", FILES)
def test_computes_what_pytorch_does(exported: Path, file: str) -> None:
    model, _, shape = file.split(".")
    images, answers = images_and_answers(exported, model)
    size = images.shape[1] if shape == "open" else None
    path = exported / f"{file}.onnx"
    graph = read_onnx(path, input_size=size)
    assert max(errors(graph, images, answers)) <= CLOSE
    compared = not compare_with_file(path, prepare(graph))
    assert compared == (file != NOT_RUN)


def test_nothing_exported_is_left_out(exported: Path) -> None:
    assert {path.stem for path in exported.glob("*.onnx")} == set(FILES)


@pytest.mark.parametrize("exporter", EXPORTERS)
def test_can_fail(exported: Path, exporter: str) -> None:
    """The comparison sees it if a max-pool is padded as in Keras, at the end first."""
    images, answers = images_and_answers(exported, "xception")
    graph = read_onnx(exported / f"xception.{exporter}.one.onnx")
    pools = [node for node in graph.nodes if isinstance(node.op, MaxPool2D)]
    assert {node.op.padding for node in pools} == {((1, 1), (1, 1))}
    padded = {each.name: [Node(each.name, MaxPool2D((3, 3), (2, 2), "same"), each.inputs)] for each in pools}
    assert min(errors(graph.rewrite(padded), images, answers)) > 100 * CLOSE


@pytest.mark.parametrize(
    ("exporter", "stem", "depthwise", "pointwise"),
    [
        ("torchscript", "conv1/Conv", "entry/entry.1/rep/rep.1/conv1/Conv", "entry/entry.1/rep/rep.1/pointwise/Conv"),
        ("dynamo", "conv1", "entry.1.rep.1.conv1", "entry.1.rep.1.pointwise"),
    ],
)
def test_layers_have_the_names_of_their_modules(
    exported: Path, exporter: str, stem: str, depthwise: str, pointwise: str
) -> None:
    graph = read_onnx(exported / f"xception.{exporter}.any.onnx")
    assert graph[stem].inputs == ("image",)
    assert isinstance(graph[depthwise].op, DepthwiseConv2D)
    assert graph[pointwise].inputs == (depthwise,)
    assert graph.outputs == ("result",)


@pytest.mark.parametrize("exporter", EXPORTERS)
def test_a_size_left_open(exported: Path, exporter: str) -> None:
    """Another size than the one that it was exported at."""
    path = exported / f"segmenter.{exporter}.open.onnx"
    with pytest.raises(UsageError, match="--input-size"):
        read_onnx(path)
    graph = read_onnx(path, input_size=40)
    assert [node.op for node in graph.inputs] == [Input((40, 40, 3))]
    images = np.random.default_rng(0).normal(size=(2, 40, 40, 3)).astype(np.float32)
    (answers,) = onnx_support.run(onnx.load(path), np.ascontiguousarray(images.transpose(0, 3, 1, 2))).values()
    assert answers.shape == (2, 4, 40, 40)
    assert max(errors(graph, images, answers.transpose(0, 2, 3, 1))) <= CLOSE
