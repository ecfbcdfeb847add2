"""From a model file to a directory of artifacts, as the Python functions do it."""

import json
import os
import zipfile
from collections.abc import Callable
from io import BytesIO
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import onnx
import pytest

from edgex.errors import DataError, UsageError
from edgex.graph.passes import prepare
from edgex.graph.read import read_model
from edgex.lint import lint_file
from edgex.manifest import file_record, read_manifest, verify
from edgex.measure import evaluate_artifacts
from edgex.pipeline import QuantizeOptions, WrittenDirectory, export, quantize
from edgex.plan import QuantizationPlan
from edgex.resources import demo_model
from edgex.runtime import open_runner
from edgex.target import load_target
from edgex.write.onnx import onnx_model

FEW = QuantizeOptions(calib_count=40)


def written(folder: Path, target: str = "cpu", calib: str | Path = "digits", **options: Any) -> WrittenDirectory:
    chosen = QuantizeOptions(**{"calib_count": 40, **options})
    return quantize(demo_model(), load_target(target), calib, folder / "out", chosen)


def hashes(directory: WrittenDirectory) -> dict[str, str]:
    """Of everything in it."""
    return {path.name: file_record(path).sha256 for path in directory.directory.iterdir()}


def plan_of(directory: WrittenDirectory) -> QuantizationPlan:
    return QuantizationPlan.from_json((directory.directory / "plan.json").read_text())


def spoilt(path: Path, spoil: Callable[[Any], None]) -> Path:
    """The demo model with changed weights."""
    with zipfile.ZipFile(demo_model()) as archive, zipfile.ZipFile(path, "w") as other:
        for name in archive.namelist():
            content = archive.read(name)
            if name.endswith(".h5"):
                buffer = BytesIO(content)
                with h5py.File(buffer, "r+") as file:
                    spoil(file)
                content = buffer.getvalue()
            other.writestr(name, content)
    return path


@pytest.mark.parametrize("target", ["cpu", "gpu-desktop", "jetson"])
def test_every_target_keeps_its_rules_and_the_accuracy(target: str, tmp_path: Path) -> None:
    directory = written(tmp_path, target)
    profile = load_target(target)
    assert tuple((a.precision, a.format) for a in directory.artifacts) == profile.artifacts
    assert verify(directory.directory) == []
    assert read_manifest(directory.directory).artifacts == directory.artifacts
    for artifact in directory.artifacts:
        assert artifact.path.name == f"xception-digits.{artifact.precision}.{artifact.format}"
        assert lint_file(artifact.path, profile) == []
    evaluation = evaluate_artifacts([artifact.path for artifact in directory.artifacts], "digits")
    assert all(result.top1 > 0.98 for result in evaluation.results)
    assert evaluation.warnings == ()
    assert plan_of(directory).scheme == profile.activations


def test_the_same_work_gives_the_same_bytes(tmp_path: Path) -> None:
    """Whatever the threads, and wherever the directory lies."""
    runs = [
        hashes(written(_made(tmp_path / name), threads=threads)) for name, threads in (("a", 1), ("b", 2), ("c", 2))
    ]
    assert runs[0] == runs[1] == runs[2]
    assert len(runs[0]) == 6
    other = hashes(written(_made(tmp_path / "d"), calib_seed=1))
    changed = {name for name in other if other[name] != runs[0][name]}
    assert changed == {"manifest.json", "plan.json", "xception-digits.int8.onnx", "xception-digits.int8.tflite"}


def _made(folder: Path) -> Path:
    folder.mkdir()
    return folder


def test_the_baseline_is_the_model_as_given(tmp_path: Path) -> None:
    """Not its equalized or otherwise quantized successor."""
    directory = written(tmp_path)
    plain = written(_made(tmp_path / "plain"), equalize=False)
    floats = export(demo_model(), load_target("cpu"), tmp_path / "floats")
    assert [(a.precision, a.format) for a in floats.artifacts] == [("fp32", "onnx"), ("fp32", "tflite")]
    expected = onnx_model(prepare(read_model(demo_model())), None).SerializeToString()
    for where in (directory, plain, floats):
        assert (where.directory / "xception-digits.fp32.onnx").read_bytes() == expected
    name = "xception-digits.int8.onnx"
    assert hashes(directory)[name] != hashes(plain)[name]


def test_the_manifest_says_from_what_and_for_what(tmp_path: Path) -> None:
    directory = written(tmp_path, "jetson", resize="pad", threads=1)
    manifest = read_manifest(directory.directory)
    assert manifest.source == file_record(demo_model())
    assert manifest.target == {"name": "jetson", "jetpack": "6.2"}
    assert manifest.preprocessing == {"size": [48, 48], "channels": 3, "scale": "xception", "resize": "pad"}
    assert {key: manifest.data[key] for key in ("name", "images", "unreadable")} == {
        "name": "digits",
        "images": 40,
        "unreadable": 0,
    }
    assert manifest.recipe["resize"] == "pad"
    assert "threads" not in manifest.recipe
    assert [file.name for file in manifest.files] == ["plan.json"]
    assert str(tmp_path) not in (directory.directory / "manifest.json").read_text()
    assert str(tmp_path) not in (directory.directory / "plan.json").read_text()


def test_the_plan_says_where_its_ranges_come_from(tmp_path: Path) -> None:
    calibration = plan_of(written(tmp_path, method="minmax", calib_seed=3)).calibration
    assert (calibration["method"], calibration["seed"]) == ("minmax", 3)
    assert len(calibration["sources"]) == 40
    assert all(len(content) == 64 for _, content in calibration["sources"])
    assert calibration["preprocessing"]["scale"] == "xception"
    assert len(calibration["equalized"]) == 34


@pytest.mark.parametrize("method", ["average", "minmax", "percentile", "mse", "entropy"])
def test_every_method_keeps_the_accuracy(method: str, tmp_path: Path) -> None:
    directory = written(tmp_path, method=method)
    (result,) = evaluate_artifacts([directory.artifacts[0].path], "digits").results
    assert result.top1 > 0.98
    widest = plan_of(written(_made(tmp_path / "widest"), method="minmax")).ranges
    shares = [span.high / (widest[name].high or 1) for name, span in plan_of(directory).ranges.items()]
    assert max(shares) < 1 + 1e-5  # sums are rounded in another order where tensors are fetched whole
    least, most = {"average": (0.5, 0.9), "minmax": (1.0, 1.0)}.get(method, (0.7, 0.995))
    assert least <= np.mean(shares) <= most


def test_auto_climbs_as_far_as_it_must(tmp_path: Path) -> None:
    content = written(tmp_path, method="auto")
    assert [rung.name for rung in content.rungs] == ["minmax"]
    never = written(_made(tmp_path / "never"), method="auto", budget=-100.0, weight_bits=4)
    names = ["minmax", "average", "mse", "percentile", "equalize and correct", "learned rounding"]
    assert [rung.name for rung in never.rungs] == names
    assert never.rungs[-1].snr_db is not None
    assert never.rungs[0].snr_db is not None
    assert never.rungs[-1].snr_db > never.rungs[0].snr_db + 1
    record = plan_of(never).calibration
    assert record["rung"] == "learned rounding"
    assert len(record["rungs"]) == 6
    assert record["biases_corrected"]


@pytest.mark.parametrize(
    ("target", "opset", "warnings"), [("cpu", 21, ["int8.tflite"]), ("jetson", 17, ["int8.onnx", "int8.tflite"])]
)
def test_weights_of_four_bits(target: str, opset: int, warnings: list[str], tmp_path: Path) -> None:
    directory = written(tmp_path, target, weight_bits=4, rounding="learned")
    plan = plan_of(directory)
    assert plan.weight_bits == 4
    assert len(plan.calibration["rounded"]) == 75
    said = [warning for warning in directory.warnings if "4-bit" in warning]
    assert [warning.split()[0].removeprefix("xception-digits.") for warning in said] == warnings
    artifacts = {f"{artifact.precision}.{artifact.format}": artifact.path for artifact in directory.artifacts}
    assert onnx.load(artifacts["int8.onnx"]).opset_import[0].version == opset
    for result in evaluate_artifacts([artifacts["int8.onnx"], artifacts["int8.tflite"]], "digits").results:
        assert result.top1 > 0.97


def test_layers_kept_in_float(tmp_path: Path) -> None:
    directory = written(tmp_path, keep_float="^block1_")
    assert [(a.precision, a.format) for a in directory.artifacts[:2]] == [("mixed", "onnx"), ("mixed", "tflite")]
    assert {"block1_conv1", "block1_conv2"} <= set(plan_of(directory).kept_float)
    with pytest.raises(UsageError, match=r"--keep-float '\(' is not a regular expression"):
        written(_made(tmp_path / "bad"), keep_float="(")
    with pytest.raises(UsageError, match="nothing to quantize"):
        written(tmp_path / "bad", keep_float=".")
    assert list((tmp_path / "bad").iterdir()) == []


def test_progress_is_told(tmp_path: Path) -> None:
    seen: list[tuple[str, int, int]] = []
    quantize(demo_model(), load_target("cpu"), "digits", tmp_path / "out", FEW, lambda *said: seen.append(said))
    assert seen == [
        *(("calibrate", done, 40) for done in range(1, 41)),
        *(("write", done, 4) for done in (2, 3, 4)),  # the two float files come first
    ]


# Warnings


def test_few_images_are_warned_of(tmp_path: Path) -> None:
    assert written(tmp_path).warnings == ()
    (warning,) = written(_made(tmp_path / "few"), calib_count=5).warnings
    assert warning == "Only 5 calibration images; 32 or more give steadier ranges."


def test_the_demos_images_are_not_for_other_models(tmp_path: Path) -> None:
    def nudge(file: Any) -> None:
        file["layers/dense/vars/1"][0] += 0.001

    other = spoilt(tmp_path / "other.keras", nudge)
    (warning,) = quantize(other, load_target("cpu"), "digits", tmp_path / "out", FEW).warnings
    assert "handwritten digits" in warning


def images(path: Path, pixels: Any) -> Path:
    np.savez(path, x=pixels)
    return path


def test_an_odd_image_is_named_and_left_out(tmp_path: Path) -> None:
    """Images a step or two from mid-gray, and one in black and white."""
    random = np.random.default_rng(0)
    pixels = random.integers(126, 130, (40, 48, 48, 3)).astype(np.uint8)
    calm = written(_made(tmp_path / "calm"), calib=images(tmp_path / "calm.npz", pixels))
    assert not any("Out of line" in warning for warning in calm.warnings)
    pixels[17] = random.choice([0, 255], (48, 48, 3))
    shaken = written(_made(tmp_path / "odd"), calib=images(tmp_path / "odd.npz", pixels))
    (warning,) = [warning for warning in shaken.warnings if "Out of line" in warning]
    assert "image 17 drives the range of" in warning
    assert "They were left out of the averages" in warning
    (odd,) = plan_of(shaken).calibration["odd_images"]
    assert odd["image"] == "17"
    assert odd["factor"] > 50
    source = "input_layer"
    assert plan_of(shaken).ranges[source].high == pytest.approx(plan_of(calm).ranges[source].high, rel=0.1)
    widest = written(_made(tmp_path / "widest"), calib=tmp_path / "odd.npz", method="minmax")
    assert plan_of(widest).ranges[source].high == 1.0


def test_images_of_one_colour(tmp_path: Path) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (40, 8, 8, 3)).astype(np.uint8)
    pixels[[3, 9]] = 5
    warnings = written(tmp_path, calib=images(tmp_path / "two.npz", pixels)).warnings
    assert "2 of 40 calibration images are of one colour, first 03." in warnings
    with pytest.raises(DataError, match=r"all\.npz are of one colour each"):
        written(_made(tmp_path / "all"), calib=images(tmp_path / "all.npz", np.full_like(pixels, 7)))
    assert list((tmp_path / "all").iterdir()) == []


def test_tensors_that_are_always_zero_are_named(tmp_path: Path) -> None:
    """A dead ReLU: its tensor has no range, the artifacts work all the same."""

    def kill(file: Any) -> None:
        file["layers/batch_normalization/vars/0"][:] = 0.0
        file["layers/batch_normalization/vars/1"][:] = -1.0

    dead = spoilt(tmp_path / "dead.keras", kill)
    directory = quantize(dead, load_target("cpu"), "digits", tmp_path / "out", FEW)
    (warning,) = [warning for warning in directory.warnings if "zero on all" in warning]
    assert "first block1_conv1_act" in warning
    image = np.zeros((1, 48, 48, 3), np.float32)
    outputs = []
    for artifact in directory.artifacts:
        with open_runner(artifact.path, threads=1) as runner:
            outputs.append(runner.run(image))
    for output in outputs:
        np.testing.assert_allclose(output, outputs[0], atol=0.1)


# Preprocessing


def test_a_model_that_rescales_reads_plain_pixels(tmp_path: Path) -> None:
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    keras = pytest.importorskip("keras", reason="Keras makes the model of this test")
    image = keras.Input((16, 16, 3))
    for name, tensor, scale in (
        ("own", keras.layers.Rescaling(1 / 127.5, offset=-1)(image), "none"),
        ("none", keras.layers.Conv2D(4, 3)(image), "xception"),
    ):
        tensor = keras.layers.GlobalAveragePooling2D()(keras.layers.Conv2D(8, 3, activation="relu")(tensor))
        keras.Model(image, keras.layers.Dense(10)(tensor)).save(tmp_path / f"{name}.keras")
        for options, expected in ((FEW, scale), (QuantizeOptions(calib_count=40, preprocess="imagenet"), "imagenet")):
            quantize(tmp_path / f"{name}.keras", load_target("cpu"), "digits", tmp_path / "out", options)
            manifest = json.loads((tmp_path / "out" / "manifest.json").read_text())
            assert manifest["preprocessing"]["scale"] == expected
