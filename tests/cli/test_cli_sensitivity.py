"""The command sensitivity: what it shows, keeps and refuses."""

import json
import shutil
from pathlib import Path

import pytest
from command import edgex, refused

from edgex.manifest import file_record
from edgex.resources import demo_model
from edgex.sensitivity import SENSITIVITY_NAME, Sensitivity, read_sensitivity

FEW = ("sensitivity", "demo", "--target", "cpu", "--calib", "digits", "--calib-count", 12, "--images", 4)
KEPT = ("--keep-float", "^block([2-9]|10|11|12)_|^add|^conv2d")
"""Fewer layers to try, and so less time."""


@pytest.fixture
def output(demo_project: Path, folder: Path) -> Path:
    """An output directory of the demo model where the command looks for it."""
    return Path(shutil.copytree(demo_project / "out", folder / "xception-digits-cpu"))


def test_json_is_what_is_kept_beside_the_artifacts(output: Path, folder: Path) -> None:
    before = [each.name for each in output.iterdir()]
    outcome = edgex(*FEW, *KEPT, "--data", "digits", "--count", 30, "--no-profile", "--json", cwd=folder)
    assert outcome.code == 0, outcome.err
    document = outcome.document
    assert document["schema"] == "edgex.sensitivity/1"
    assert document["saved"] == f"{output.name}/{SENSITIVITY_NAME}"
    saved = json.loads((output / SENSITIVITY_NAME).read_text())
    assert {key: value for key, value in document.items() if key != "saved"} == saved
    assert Sensitivity.model_validate(saved).document() == saved
    sha256 = file_record(demo_model()).sha256
    assert (saved["model"], saved["model_sha256"], saved["target"]) == (
        "xception-digits.keras",
        sha256,
        {"name": "cpu", "arch": "x86"},
    )
    layers = read_sensitivity(output / SENSITIVITY_NAME, sha256)
    assert {layer.layer for layer in layers} == {
        *("block1_conv1", "block1_conv2", "predictions"),
        *(f"block{b}_sepconv{c}.{half}" for b in (13, 14) for c in (1, 2) for half in ("depthwise", "pointwise")),
    }
    assert all(layer.images == 30 and layer.snr_db is not None for layer in layers)
    assert (saved["images"], saved["whole"]["images"], saved["speed"]) == (4, 30, [])
    assert edgex("verify", output.name, cwd=folder).code == 0
    assert {each.name for each in output.iterdir()} == {*before, SENSITIVITY_NAME}


def test_for_people(folder: Path) -> None:
    outcome = edgex(*FEW, *KEPT, cwd=folder)
    assert outcome.code == 0, outcome.err
    for words in (
        *("xception-digits.mixed.onnx in onnxruntime", "xception-digits.mixed.tflite in litert", "as fast"),
        *("block14_sepconv2.depthwise", "DepthwiseConv2D", "SNR dB", "With all layers quantized:"),
    ):
        assert words in outcome.out
    assert ("--keep-float '" in outcome.out) != ("Nothing is worth keeping in float." in outcome.out)
    assert "lost" not in outcome.out
    assert "Saved" not in outcome.out
    for stage in ("calibrate (12)", "layers (11)", "profile (2)"):
        assert stage in outcome.err


def test_a_place_that_cannot_be_written_is_refused_before_the_work(folder: Path) -> None:
    outcome = edgex(*FEW, "--save", "missing/file.json", cwd=folder)
    refused(outcome, 8, "missing/file.json")
    assert "layers" not in outcome.err


def test_what_keeps_everything_is_refused(folder: Path) -> None:
    refused(edgex(*FEW, "--keep-float", ".", cwd=folder), 2, "nothing to quantize")
    assert [each.name for each in folder.iterdir()] == [".git"]
