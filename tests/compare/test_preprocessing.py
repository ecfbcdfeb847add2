"""Each model is calibrated and evaluated on images as it was trained to read them."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from graphs import tiny_xception
from origins import DOCUMENTS

from edgex.compare import ComparedModel, CompareOptions, compare_models
from edgex.graph.ir import Affine, Graph, Node
from edgex.graph.passes import prepare
from edgex.graph.read import read_model
from edgex.preprocess import CAFFE_MEAN_BGR
from edgex.resources import demo_model
from edgex.write.keras import keras_file
from edgex.write.onnx import onnx_model

MEASURED = CompareOptions(latency=False, calib="digits", data="digits", threads=1)


def reading_caffe(graph: Graph) -> Graph:
    """A network that reads -1…1, turned into one that reads blue, green, red about the means of ImageNet."""
    (first,) = graph.consumers[graph.inputs[0].name]
    kernel = np.asarray(first.params["kernel"])[:, :, ::-1] / 127.5
    bias = first.params["bias"] + (kernel * (CAFFE_MEAN_BGR - 127.5)[:, np.newaxis]).sum(axis=(0, 1, 2))
    params = {"kernel": kernel.astype(np.float32), "bias": bias.astype(np.float32)}
    changed = replace(first, params={**first.params, **params})
    return replace(graph, nodes=tuple(changed if node is first else node for node in graph.nodes))


def reading_pixels(graph: Graph) -> Graph:
    """A network that reads -1…1, behind a layer that scales."""
    image = graph.inputs[0].name
    scale = {"scale": np.full(3, 1 / 127.5, np.float32), "offset": np.full(3, -1, np.float32)}
    nodes = [
        replace(node, inputs=tuple("scaled" if each == image else each for each in node.inputs)) for node in graph.nodes
    ]
    return replace(graph, nodes=(nodes[0], Node("scaled", Affine(), (image,), scale), *nodes[1:]))


@pytest.fixture(scope="module")
def caffe(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("caffe") / "caffe.onnx"
    path.write_bytes(onnx_model(reading_caffe(prepare(read_model(demo_model())))).SerializeToString())
    return path


@pytest.fixture(scope="module")
def pixels(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("pixels") / "pixels.keras"
    path.write_bytes(keras_file(reading_pixels(read_model(demo_model()))))
    return path


def hits(model: ComparedModel) -> list[int]:
    """Of the float model, and of the INT8 files."""
    costs = [artifact.cost for artifact in model.int8]
    assert all(cost is not None for cost in costs)
    return [costs[0].baseline_hits, *(cost.baseline_hits - cost.lost + cost.gained for cost in costs)]


def test_what_is_given_is_for_files_that_do_not_tell(caffe: Path, pixels: Path) -> None:
    report = compare_models([caffe, pixels], replace(MEASURED, preprocess="caffe"))
    scales = [model.preprocessing.scale for model in report.models if model.preprocessing is not None]
    assert scales == ["caffe", "none"]
    for model in report.models:
        assert min(hits(model)) > 0.97 * report.images
    assert not any("commonest class" in warning for warning in report.warnings)


def test_a_wrong_scale_is_not_passed_over(caffe: Path) -> None:
    report = compare_models([caffe], MEASURED)
    (warning,) = (warning for warning in report.warnings if "commonest class" in warning)
    count = hits(report.models[0])[0]
    assert count < 0.2 * report.images
    assert warning.startswith(
        f"{caffe}: The float model is right on {count / 5:.1f} % of 500 images, which is not surely"
    )
    assert warning.endswith("labels or preprocessing that do not fit the model.")


@pytest.mark.parametrize(("recorded", "expected"), [(True, ("imagenet", "crop")), (False, ("caffe", "pad"))])
def test_the_record_in_a_file_holds(recorded: bool, expected: tuple[str, str], tmp_path: Path) -> None:
    model, images = tmp_path / "model.keras", tmp_path / "few.npz"
    model.write_bytes(keras_file(tiny_xception(), DOCUMENTS["trained"] if recorded else None))
    np.savez(images, x=np.random.default_rng(0).integers(0, 256, (3, 20, 20, 3), np.uint8))
    options = CompareOptions(latency=False, calib=images, threads=1, preprocess="caffe", resize="pad")
    (found,) = compare_models([model], options).models
    assert found.preprocessing is not None
    assert (found.preprocessing.scale, found.preprocessing.resize) == expected
    (counted,) = compare_models([model], CompareOptions(latency=False, preprocess="caffe")).models
    assert counted.preprocessing is None, "nothing was quantized"
