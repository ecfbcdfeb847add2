"""``edgex validate`` as a user runs it, on the model that ships with edgex."""

import hashlib
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import onnx
import pytest
from command import Outcome, edgex, environment, refused, start
from onnx import numpy_helper
from PIL import Image

from edgex.predictions import load_predictions
from edgex.resources import demo_model, digits_file

FILES = ("report.json", "report.html", "predictions.npz")
FAST = ("--seconds", "0.2")


@pytest.fixture(scope="module")
def validated(project: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Outcome]:
    """A copy of the demo's artifacts, validated, and what that said. Not to be changed."""
    folder = tmp_path_factory.mktemp("validated")
    shutil.copytree(project / "out", folder / "out")
    return folder, edgex("validate", "out", "--data", "digits", "--json", *FAST, cwd=folder)


@pytest.fixture
def copied(project: Path, folder: Path) -> Path:
    """A fresh copy of the demo's artifacts in ``out``."""
    shutil.copytree(project / "out", folder / "out")
    return folder


def spoil_weights(file: Path) -> None:
    """Turn the signs of half of the largest kernel of an ONNX file."""
    model = onnx.load(file)
    weights = [each for each in model.graph.initializer if len(each.dims) == 4]
    largest = max(weights, key=lambda each: int(np.prod(each.dims)))
    values = numpy_helper.to_array(largest).copy()
    values[: len(values) // 2] *= -1
    largest.CopyFrom(numpy_helper.from_array(values, largest.name))
    onnx.save(model, file)


def test_it_writes_a_report_that_agrees_with_eval(validated: tuple[Path, Outcome]) -> None:
    folder, outcome = validated
    document = outcome.document
    assert outcome.code == 0
    assert document["schema"] == "edgex.validate/1"
    assert document["directory"] == "out"
    report = json.loads((folder / "out" / "report.json").read_text())
    assert {**report, "schema": ""} == {
        **{key: value for key, value in document.items() if key not in ("directory", "page", "verdict")},
        "schema": "",
    }
    evaluated = edgex("eval", "out", "--data", "digits", "--json", cwd=folder).document["results"]
    by_name = {Path(each["path"]).name: each for each in evaluated}
    files = [report["baseline"], *report["artifacts"]]
    assert {each["name"] for each in files} == set(by_name)
    for each in files:
        assert each["top1"] == by_name[each["name"]]["top1"]
        assert each["top5"] == by_name[each["name"]]["top5"]
        assert each["runtime"] == by_name[each["name"]]["runtime"]
        assert each["bytes"] == (folder / "out" / each["name"]).stat().st_size
        assert each["latency"]["low_ms"] <= each["latency"]["median_ms"] <= each["latency"]["high_ms"]
        assert sys.platform != "linux" or 1e5 < each["peak_bytes"] < 1e9
    assert report["baseline"]["name"].endswith(".fp32.onnx")
    for artifact in report["artifacts"]:
        assert (artifact["speedup"] is None) == bool(report["noisy"])
        assert artifact["snr_db"] > 10
    twin = next(each for each in report["artifacts"] if each["precision"] == "fp32")
    assert (twin["comparison"]["agreeing"], twin["comparison"]["lost"]) == (500, 0)
    assert report["layer_errors"]


def test_every_prediction_is_kept(validated: tuple[Path, Outcome]) -> None:
    folder, outcome = validated
    predictions = load_predictions(folder / "out" / "predictions.npz")
    content = (folder / "out" / "predictions.npz").read_bytes()
    assert hashlib.sha256(content).hexdigest() == outcome.document["predictions"]
    assert len(predictions) == 500
    for each in [outcome.document["baseline"], *outcome.document["artifacts"]]:
        assert predictions.hits(each["name"]).mean() == each["top1"]


def test_the_directory_stays_intact_and_has_no_leftovers(validated: tuple[Path, Outcome]) -> None:
    folder, _ = validated
    assert edgex("verify", "out", cwd=folder).code == 0
    assert not [entry.name for entry in (folder / "out").iterdir() if entry.name.startswith(".")]
    assert all((folder / "out" / name).is_file() for name in FILES)
    assert [entry.name for entry in folder.iterdir()] == ["out"]


def test_the_gate_passes_it(validated: tuple[Path, Outcome]) -> None:
    folder, outcome = validated
    assert outcome.document["verdict"] == "pass"
    assert edgex("gate", "out/report.json", "--max-drop", "1.5", cwd=folder).code == 0


def test_the_table_says_what_to_do(validated: tuple[Path, Outcome]) -> None:
    folder, _ = validated
    outcome = edgex("validate", "out", "--data", "digits", "--no-latency", cwd=folder)
    assert outcome.code == 0, outcome.err
    for word in ("int8.onnx", "int8.tflite", "pass:", "500 images", "edgex gate out", "report.html"):
        assert word in outcome.out


def test_a_spoiled_artifact_fails(copied: Path) -> None:
    spoil_weights(copied / "out" / "xception-digits.int8.onnx")
    outcome = edgex("validate", "out", "--data", "digits", "--no-latency", cwd=copied)
    assert outcome.code == 0, outcome.err
    assert "int8.onnx was changed after it was written" in outcome.err
    judged = edgex("gate", "out/report.json", "--json", cwd=copied)
    assert judged.code == 4
    verdicts = {Path(each["path"]).name: each["verdict"] for each in judged.document["results"]}
    assert verdicts == {"xception-digits.int8.onnx": "fail", "xception-digits.int8.tflite": "pass"}


def test_a_killed_run_resumes(copied: Path) -> None:
    """Killed once some predictions are on disk; the second run has the rest, and the same result as one run."""
    kept = copied / "out" / ".validate.npz"
    program = (
        "import edgex.validate.collect as collect; collect.SAVE_SECONDS = 0.0; "
        "from edgex.cli import main; import sys; sys.argv[0] = 'edgex'; main()"
    )
    arguments = ["validate", "out", "--data", "digits", "--no-latency"]
    process = subprocess.Popen([sys.executable, "-c", program, *arguments], cwd=copied, env=environment())
    deadline = time.monotonic() + 120
    while not kept.exists() and time.monotonic() < deadline and process.poll() is None:
        time.sleep(0.002)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    done = len(load_predictions(kept))
    assert 0 < done < 500
    assert not any((copied / "out" / name).exists() for name in FILES)
    assert edgex(*arguments, cwd=copied).code == 0
    resumed = load_predictions(copied / "out" / "predictions.npz")
    assert edgex(*arguments, cwd=copied).code == 0
    whole = load_predictions(copied / "out" / "predictions.npz")
    assert resumed.about == whole.about
    for model in whole.of:
        np.testing.assert_array_equal(resumed.of[model].best, whole.of[model].best)
    assert not kept.exists()


def test_ctrl_c_keeps_what_is_done(copied: Path) -> None:
    process = start("validate", "out", "--data", "digits", "--no-latency", cwd=copied)
    time.sleep(1.5)
    process.send_signal(signal.SIGINT)
    _, said = process.communicate(timeout=60)
    assert process.returncode == 130, said
    assert not any((copied / "out" / name).exists() for name in FILES)
    assert edgex("validate", "out", "--data", "digits", "--no-latency", cwd=copied).code == 0


def test_another_baseline(copied: Path) -> None:
    before = copied / "before"
    shutil.copytree(copied / "out", before)
    spoil_weights(copied / "out" / "xception-digits.int8.onnx")
    arguments = ("--data", "digits", "--no-latency", "--json", "--baseline", "before/xception-digits.int8.onnx")
    document = edgex("validate", "out", *arguments, cwd=copied).document
    assert document["baseline"]["name"] == "before/xception-digits.int8.onnx"
    spoiled = next(each for each in document["artifacts"] if each["name"] == "xception-digits.int8.onnx")
    assert spoiled["comparison"]["drop"]["points"] > 5


def test_a_keras_file_as_baseline(copied: Path) -> None:
    shutil.copy(demo_model(), copied / "original.keras")
    arguments = ("--data", "digits", "--no-latency", "--json", "--baseline", "original.keras")
    document = edgex("validate", "out", *arguments, cwd=copied).document
    assert document["baseline"]["name"].endswith("/original.keras")
    assert document["baseline"]["top1"] > 0.95


@pytest.mark.skipif(sys.platform != "linux", reason="other systems refuse such names")
def test_names_that_are_no_text(copied: Path) -> None:
    """A folder whose name is no UTF-8 is a class like any other."""
    source = np.load(digits_file())
    images, labels = source["x"], source["y"]
    for number in range(40):
        odd = os.fsdecode(b"-\xff") if labels[number] == 3 else ""
        folder = copied / "images" / f"{labels[number]}{odd}"
        folder.mkdir(parents=True, exist_ok=True)
        Image.fromarray(images[number, ..., 0]).save(folder / f"{number}.png")
    outcome = edgex("validate", "out", "--data", "images", "--no-latency", "--json", cwd=copied)
    assert outcome.code == 0, outcome.err
    assert "3-?" in outcome.document["data"]["class_names"]


def test_refusals(copied: Path, project: Path) -> None:
    calibrated = edgex("validate", "out", "--data", project / "nowhere", cwd=copied)
    refused(calibrated, 2, "nowhere")
    refused(edgex("validate", "missing", "--data", "digits", cwd=copied), 8, "missing")
    (copied / "images").mkdir()
    refused(edgex("validate", "out", "--data", "images", cwd=copied), 7, "holds no images")
    refused(edgex("validate", "out", "--data", "digits", "--max-drop", "nan", cwd=copied), 2, "max-drop")
    (copied / "edgex.toml").write_text("max_pixel_drop = 1\n")
    of_pixels = edgex("validate", "out", "--data", "digits", cwd=copied)
    refused(of_pixels, 2, "--max-pixel-drop 1", "has no masks", "max_drop")
    assert "evaluate" not in of_pixels.err, "before it has cost anything"
    (copied / "edgex.toml").unlink()
    (copied / "out" / "xception-digits.int8.onnx").unlink()
    refused(edgex("validate", "out", "--data", "digits", cwd=copied), 8, "xception-digits.int8.onnx")


def test_a_float_directory_has_nothing_to_judge(folder: Path) -> None:
    assert edgex("export", "demo", "--target", "cpu", "-o", "float", cwd=folder).code == 0
    refused(edgex("validate", "float", "--data", "digits", cwd=folder), 2, "no INT8 artifact")


def test_it_explains_where_the_models_look(project: Path, folder: Path) -> None:
    """Maps of INT8 are those of float, those of spoiled weights are not; and they survive a page made anew."""
    shutil.copytree(project / "out", folder / "out")
    spoil_weights(folder / "out" / "xception-digits.int8.onnx")
    outcome = edgex("validate", "out", "--data", "digits", "--no-latency", "--explain", cwd=folder)
    assert "explain (" in outcome.err
    explanation = json.loads((folder / "out" / "report.json").read_text())["explanation"]
    ill, well = explanation["artifacts"]
    assert (ill["name"], ill["method"]) == ("xception-digits.int8.onnx", "occlusion")
    assert (well["name"], well["method"]) == ("xception-digits.int8.tflite", "occlusion")
    assert well["mean"] > 0.9
    assert ill["mean"] < 0.7
    assert "2×2 positions" in ill["reason"]
    for each in (ill, well):
        flipped = sum(image["flipped"] for image in each["images"])
        assert len(each["images"]) - flipped == 16
        assert flipped == min(each["changed"], 16)
    assert f"{well['mean']:.3f}" in outcome.out
    assert f"{ill['worst']:.3f}" in outcome.out
    page = (folder / "out" / "report.html").read_text()
    assert 'id="explanation"' in page
