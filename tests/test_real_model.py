"""The Xception of ``shared``, trained on photographs: what its quantized files keep of its accuracy.

Six hundred of the held-out images resolve 1.5 points; the figures on all of them are the benchmarks'.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest

from edgex.dataset import Dataset, open_dataset
from edgex.evaluate import EvalResult, agreement, evaluate
from edgex.lint import lint_file
from edgex.manifest import file_record, read_manifest, verify
from edgex.pipeline import QuantizeOptions, WrittenDirectory, quantize
from edgex.preprocess import Preprocessing
from edgex.target import load_target

LARGEST_DROP = 0.015
PREPROCESSING = Preprocessing((71, 71))

Quantized = Callable[[str], WrittenDirectory]


@pytest.fixture(scope="module")
def quantized(shared: Path, tmp_path_factory: pytest.TempPathFactory) -> Quantized:
    """Quantize for a target, once."""
    done: dict[str, WrittenDirectory] = {}

    def once(target: str) -> WrittenDirectory:
        if target not in done:
            done[target] = _quantize(shared, tmp_path_factory.mktemp(target) / "out", target, threads=2)
        return done[target]

    return once


def _quantize(shared: Path, output: Path, target: str, *, threads: int, count: int = 64) -> WrittenDirectory:
    model, calib = shared / "models" / "xception-cifar10-71.keras", shared / "data" / "cifar10-calib.zip"
    return quantize(model, load_target(target), calib, output, QuantizeOptions(calib_count=count, threads=threads))


@pytest.fixture(scope="module")
def images(shared: Path) -> Dataset:
    return open_dataset(shared / "data" / "cifar10-val.zip", role="evaluation").sample(600)


@pytest.fixture(scope="module")
def results(quantized: Quantized, images: Dataset) -> dict[str, EvalResult]:
    """Of the float model and of the INT8 files of two targets."""
    paths = {
        f"{target} {artifact.precision}.{artifact.format}": artifact.path
        for target in ("cpu", "jetson")
        for artifact in quantized(target).artifacts
        if artifact.precision == "int8" or (target, artifact.format, artifact.precision) == ("cpu", "onnx", "fp32")
    }
    return dict(zip(paths, evaluate(list(paths.values()), images, PREPROCESSING), strict=True))


def drop(float_model: EvalResult, quantized_model: EvalResult) -> float:
    return float_model.top1 - quantized_model.top1


@pytest.mark.parametrize("target", ["cpu", "jetson", "gpu-desktop"])
def test_every_file_keeps_the_rules(quantized: Quantized, target: str) -> None:
    directory = quantized(target)
    profile = load_target(target)
    assert tuple((a.precision, a.format) for a in directory.artifacts) == profile.artifacts
    assert verify(directory.directory) == []
    assert [finding for a in directory.artifacts for finding in lint_file(a.path, profile)] == []
    sizes = {f"{a.precision}.{a.format}": a.bytes for a in directory.artifacts}
    assert sizes["int8.onnx"] < 0.27 * sizes["fp32.onnx"]
    assert sizes["int8.tflite"] < 0.27 * sizes["fp32.onnx"]


def test_desktop_and_jetson_read_the_same_int8_files(quantized: Quantized) -> None:
    """So what the next tests show of the one holds for the other."""
    jetson, desktop = (
        {a.format: a.sha256 for a in quantized(target).artifacts if a.precision == "int8"}
        for target in ("jetson", "gpu-desktop")
    )
    assert jetson == desktop
    assert jetson.keys() == {"onnx", "tflite"}


@pytest.mark.parametrize("target", ["cpu", "jetson"])
@pytest.mark.parametrize("form", ["onnx", "tflite"])
def test_the_accuracy_is_kept(results: dict[str, EvalResult], target: str, form: str) -> None:
    float_model = results["cpu fp32.onnx"]
    assert float_model.top1 > 0.82
    assert drop(float_model, results[f"{target} int8.{form}"]) <= LARGEST_DROP


@pytest.mark.parametrize("target", ["cpu", "jetson"])
def test_both_formats_agree(results: dict[str, EvalResult], target: str) -> None:
    """With each other as well as with the float model."""
    float_model = results["cpu fp32.onnx"]
    onnx_file, tflite_file = results[f"{target} int8.onnx"], results[f"{target} int8.tflite"]
    to_float = min(agreement(onnx_file, float_model), agreement(tflite_file, float_model))
    assert agreement(onnx_file, tflite_file) >= to_float - 0.01
    assert to_float > 0.95


def _eightfold_scale(path: Path, copy: Path) -> Path:
    """A copy of an INT8 ONNX file that gives one of its 104 tensors back eight times too large."""
    model = onnx.load(path)
    scales = {tensor.name: tensor for tensor in model.graph.initializer}
    (node,) = [node for node in model.graph.node if node.input[0] == "block1_conv1_act.quantized"]
    assert node.op_type == "DequantizeLinear"
    wrong = np.array(onnx.numpy_helper.to_array(scales[node.input[1]]) * 8)
    model.graph.initializer.append(onnx.numpy_helper.from_array(wrong, "wrong"))
    node.input[1] = "wrong"
    onnx.save(model, copy)
    return copy


def test_a_wrong_scale_is_seen(
    quantized: Quantized, images: Dataset, results: dict[str, EvalResult], tmp_path: Path
) -> None:
    path = next(a.path for a in quantized("cpu").artifacts if (a.precision, a.format) == ("int8", "onnx"))
    (broken,) = evaluate([_eightfold_scale(path, tmp_path / "broken.onnx")], images, PREPROCESSING)
    assert drop(results["cpu fp32.onnx"], broken) > LARGEST_DROP


def test_odd_images_are_named(quantized: Quantized) -> None:
    """Single photographs drive this model's tensors far out of line."""
    assert any("drives the range of" in warning for warning in quantized("cpu").warnings)


def test_the_same_work_gives_the_same_bytes(shared: Path, tmp_path: Path) -> None:
    runs: list[dict[str, Any]] = []
    for name, threads in (("one", 1), ("two", 2), ("again", 2)):
        (tmp_path / name).mkdir()
        directory = _quantize(shared, tmp_path / name / "out", "cpu", threads=threads, count=24).directory
        runs.append({path.name: file_record(path).sha256 for path in directory.iterdir()})
        assert read_manifest(directory).data["images"] == 24
    assert len(runs[0]) == 6
    assert runs[0] == runs[1] == runs[2]
