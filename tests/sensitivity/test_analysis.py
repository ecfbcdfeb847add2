"""From a Keras file to what its layers cost: what is measured is the artifact, and a suggestion is proven on one."""

import zipfile
from dataclasses import replace
from io import BytesIO
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from segmenters import colour_segmenter, in_rows

from edgex.errors import ModelError, UsageError
from edgex.manifest import file_record, read_manifest
from edgex.pipeline import QuantizeOptions, calibration_images, quantize
from edgex.preprocess import Preprocessing
from edgex.resources import demo_model
from edgex.runtime import open_runner
from edgex.sensitivity import Sensitivity, SensitivityOptions, measure_sensitivity
from edgex.sensitivity.speed import explain_speed
from edgex.sensitivity.subject import quantized
from edgex.target import load_target
from edgex.write.onnx import onnx_model

CPU = load_target("cpu")
FEW = QuantizeOptions(calib_count=24, equalize=False)
SPOILED = "block13_sepconv2"
TOLERANCE_DB = 0.1


def silent(*_: Any) -> None:
    pass


@pytest.fixture(scope="module")
def spoiled(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The demo model, computing the same, with one channel between a layer's halves a thousandth of its own."""
    path = tmp_path_factory.mktemp("spoiled") / "spoiled.keras"
    with zipfile.ZipFile(demo_model()) as archive, zipfile.ZipFile(path, "w") as other:
        for name in archive.namelist():
            content = archive.read(name)
            if name.endswith(".h5"):
                buffer = BytesIO(content)
                with h5py.File(buffer, "r+") as file:
                    # 34 of them in the order of the network; blocks 2 to 4 have two, 5 to 12 three, 13 and 14 two
                    variables = file["layers/separable_conv2d_31/vars"]
                    variables["0"][:, :, 3] /= 1000
                    variables["1"][:, :, 3] *= 1000
                content = buffer.getvalue()
            other.writestr(name, content)
    return path


@pytest.fixture(scope="module")
def found(spoiled: Path) -> Sensitivity:
    options = SensitivityOptions(FEW, images=16, count=50, profile=False)
    return measure_sensitivity(spoiled, CPU, "digits", "digits", options)


@pytest.mark.parametrize(
    ("target", "options"),
    [
        ("cpu", {}),
        ("jetson", {}),
        ("cpu", {"equalize": False}),
        ("cpu", {"keep_float": "^block5_"}),
        ("cpu", {"method": "percentile"}),
    ],
)
def test_what_is_taken_apart_is_the_artifact(target: str, options: dict[str, Any], tmp_path: Path) -> None:
    recipe = QuantizeOptions(calib_count=20, **options)
    subject = quantized(demo_model(), load_target(target), "digits", tmp_path / "out", recipe, silent)
    (artifact,) = [each for each in subject.written.artifacts if str(each.path).endswith(("int8.onnx", "mixed.onnx"))]
    assert onnx_model(subject.graph, subject.plan, subject.form).SerializeToString() == artifact.path.read_bytes()


def test_the_first_calibration_images_are_the_probe() -> None:
    all_of_them = calibration_images("digits", FEW)
    some = calibration_images("digits", FEW, 16)
    assert (len(all_of_them), len(some)) == (24, 16)
    assert some.names == all_of_them.names[:16]
    assert len(calibration_images("digits", FEW, 100)) == 24


def artifact_snr_db(model: Path, recipe: QuantizeOptions, output: Path) -> float:
    """Of the logits of the INT8 file, by its softmax, on the images of the fixture."""
    files = {each.precision: each.path for each in quantize(model, CPU, "digits", output, recipe).artifacts[::2]}
    preprocessing = Preprocessing.from_json(read_manifest(output).preprocessing)
    images = np.concatenate([batch for _, batch in calibration_images("digits", FEW, 16).batches(preprocessing)])
    logits = {}
    for precision, path in files.items():
        with open_runner(path, threads=1) as runner:
            logarithms = np.log(np.maximum(runner.run(images), 1e-38, dtype=np.float64))
        logits[precision] = logarithms - logarithms.mean(axis=1, keepdims=True)
    fp32, int8 = logits.pop("fp32"), *logits.values()
    return float(10 * np.log10(np.square(fp32).sum(axis=1) / np.square(int8 - fp32).sum(axis=1)).mean())


def test_the_network_costs_what_its_file_costs(found: Sensitivity, spoiled: Path, tmp_path: Path) -> None:
    assert found.whole.snr_db == pytest.approx(artifact_snr_db(spoiled, FEW, tmp_path / "out"), abs=TOLERANCE_DB)


def test_the_layer_spoiled_is_worst_and_what_to_keep(found: Sensitivity, spoiled: Path) -> None:
    assert found.layers[0].layer == f"{SPOILED}.pointwise"
    assert found.suggestion is not None
    assert found.suggestion.layers[0] == SPOILED
    assert found.whole.snr_db is not None
    assert found.suggestion.after.snr_db is not None
    assert found.suggestion.after.snr_db > found.whole.snr_db + 3
    assert (found.model, found.model_sha256) == ("spoiled.keras", file_record(spoiled).sha256)
    assert found.whole.images == found.suggestion.after.images == found.layers[0].images == 50
    assert found.speed == ()


def test_the_suggestion_holds_for_the_file_quantized_with_it(found: Sensitivity, spoiled: Path, tmp_path: Path) -> None:
    assert found.suggestion is not None
    recipe = replace(FEW, keep_float=found.suggestion.keep_float)
    promised = found.suggestion.after.snr_db
    assert promised == pytest.approx(artifact_snr_db(spoiled, recipe, tmp_path / "out"), abs=TOLERANCE_DB)


def test_images_that_calibration_saw_are_refused(tmp_path: Path) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (10, 48, 48, 3), np.uint8)
    np.savez(tmp_path / "seen.npz", x=noise, y=np.arange(10))
    with pytest.raises(UsageError, match="calibrated with"):
        measure_sensitivity(demo_model(), CPU, tmp_path / "seen.npz", tmp_path / "seen.npz")


def test_images_of_other_classes_are_refused(tmp_path: Path) -> None:
    np.savez(tmp_path / "few.npz", x=np.zeros((4, 48, 48, 3), np.uint8), y=np.arange(4))
    with pytest.raises(UsageError, match=r"knows 10 classes, and .* has labels for 4"):
        measure_sensitivity(
            demo_model(), CPU, "digits", tmp_path / "few.npz", SensitivityOptions(QuantizeOptions(calib_count=4))
        )


def test_the_files_of_a_target_are_profiled_beside_their_twins(tmp_path: Path) -> None:
    recipe = QuantizeOptions(calib_count=4, input_size=96)
    subject = quantized(demo_model(), load_target("jetson"), "digits", tmp_path / "out", recipe, silent)
    done: list[tuple[int, int]] = []
    speeds = explain_speed(subject, 1, lambda *counts: done.append(counts))
    assert [(speed.name, speed.runtime, speed.float_ms is None) for speed in speeds] == [
        ("xception-digits.int8.onnx", "onnxruntime", False),
        ("xception-digits.int8.tflite", "litert", True),
    ]
    assert done == [(1, 2), (2, 2)]
    for speed in speeds:
        assert sum(kind.share for kind in speed.kinds) == pytest.approx(1)
        assert {"Conv2D", "DepthwiseConv2D"} <= {kind.operation for kind in speed.kinds}


def test_what_does_not_score_classes_is_refused_before_the_work(tmp_path: Path) -> None:
    model = tmp_path / "model.onnx"
    model.write_bytes(onnx_model(in_rows(colour_segmenter())).SerializeToString())
    with pytest.raises(ModelError, match=r"\(1024, 5\), not scores of classes"):
        measure_sensitivity(model, CPU, tmp_path / "nothing", options=SensitivityOptions(FEW))
