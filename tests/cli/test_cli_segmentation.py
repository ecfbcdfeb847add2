"""A network that labels pixels, from quantization to the gate, as a user takes it there."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from command import Outcome, edgex, refused
from PIL import Image
from segmenters import colour_segmenter
from shapes import CLASSES, shapes

from edgex.write.onnx import onnx_model

SIZE = 24
FAST = ("--seconds", "0.1", "--threads", "2")


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """``out`` with the artifacts of a network for ``val.zip``, of a report, too. Not to be changed."""
    folder = tmp_path_factory.mktemp("project")
    (folder / ".git").mkdir()
    (folder / "net.onnx").write_bytes(onnx_model(colour_segmenter(SIZE)).SerializeToString())
    shapes(40, SIZE, seed=1).write_folder(folder / "calib")
    shapes(48, SIZE, seed=2).write_zip(folder / "val.zip")
    done = edgex("quantize", "net.onnx", "--target", "cpu", "--calib", "calib", "-o", "out", cwd=folder)
    assert done.code == 0, done.err
    return folder


@pytest.fixture(scope="module")
def validated(project: Path) -> Outcome:
    return edgex("validate", "out", "--data", "val.zip", "--json", *FAST, cwd=project)


def test_validate_and_gate(project: Path, validated: Outcome) -> None:
    assert validated.code == 0, validated.err
    report = json.loads((project / "out" / "report.json").read_text())
    assert report["schema"] == "edgex.segmentation-report/1"
    assert report["data"]["class_names"] == list(CLASSES)
    assert report["baseline"]["miou"] > 0.8
    int8 = {each["name"]: each for each in report["artifacts"] if each["precision"] == "int8"}
    assert len(int8) == 2
    for each in int8.values():
        assert abs(each["comparison"]["drop"]["points"]) < 1.0
        assert each["comparison"]["agreement"] > 0.98
        assert each["snr_db"] > 15
    assert "Images that changed most" in (project / "out" / "report.html").read_text()
    limits = ("--max-drop", 2, "--max-pixel-drop", 1, "--min-agreement", 98)
    gated = edgex("gate", "out", *limits, "--junit", "gate.xml", "--markdown", "gate.md", "--json", cwd=project)
    assert gated.code == 0, gated.out
    assert (project / "gate.xml").read_text().count('name="max-pixel-drop"') == 2
    assert (project / "gate.md").read_text().count("| max-pixel-drop 1 |") == 2
    for result in gated.document["results"]:
        assert result["drop"]["images"] == 48
        assert 0 < result["drop"]["discordant"] <= 48
        assert "mean IoU" in result["checks"][0]["message"]
        assert "pixel accuracy" in result["checks"][1]["message"]
    again = edgex("gate", "out", "--max-drop", 2, "--baseline", "out", cwd=project)
    assert again.code == 0, again.err


def test_eval_says_what_the_report_says(project: Path, validated: Outcome) -> None:
    assert validated.code == 0
    done = edgex("eval", "out", "--data", "val.zip", "--json", cwd=project)
    report = json.loads((project / "out" / "report.json").read_text())
    known = {each["name"]: each["miou"] for each in (report["baseline"], *report["artifacts"])}
    found = {Path(each["path"]).name: each["miou"] for each in done.document["results"]}
    assert found == pytest.approx(known)
    shown = edgex("eval", "out", "--data", "val.zip", cwd=project)
    assert "mean IoU %" in shown.out
    assert "triangle" in shown.out


def test_an_artifact_that_was_spoilt_fails(project: Path, tmp_path: Path) -> None:
    """One whose scores of a class are wrong, put in the place of the one that was quantized."""
    shutil.copytree(project, tmp_path / "project")
    folder = tmp_path / "project"
    import onnx
    from onnx import numpy_helper

    (file,) = (folder / "out").glob("*.int8.onnx")
    model = onnx.load(file)
    bias = next(each for each in model.graph.initializer if "scores.bias" in each.name)
    values = numpy_helper.to_array(bias).copy()
    values[3] -= np.abs(values).max().astype(values.dtype)
    bias.CopyFrom(numpy_helper.from_array(values, bias.name))
    onnx.save(model, file)
    done = edgex("validate", "out", "--data", "val.zip", "--no-latency", cwd=folder)
    assert done.code == 0, done.err
    gated = edgex("gate", "out", cwd=folder)
    assert gated.code == 4, gated.out
    assert "fail" in gated.out


def test_calibration_images_are_refused(project: Path) -> None:
    outcome = edgex("eval", "out", "--data", "calib", cwd=project)
    refused(outcome, 2, "40 of 40 images", "calibrated with")


def test_masks_in_colour(project: Path, tmp_path: Path) -> None:
    folder = shapes(4, SIZE).write_folder(tmp_path / "rgb")
    for file in (folder / "masks").rglob("*.png"):
        Image.open(file).convert("RGB").save(file)
    outcome = edgex("eval", project / "out", "--data", folder, cwd=tmp_path)
    refused(outcome, 7, "4 of 4 images", "palette or in gray")


def test_a_method_is_searched_for(project: Path, tmp_path: Path) -> None:
    command = ("quantize", project / "net.onnx", "--target", "cpu", "--calib", project / "calib", "--method", "auto")
    outcome = edgex(*command, "--budget", "50", "--json", cwd=tmp_path)
    assert outcome.code == 0, outcome.err
    (rung,) = outcome.document["rungs"]
    assert (rung["images"], rung["labelled"]) == (40, False)
    assert rung["points"] == pytest.approx(100 * rung["changed"] / (40 * SIZE * SIZE))
    assert 0 < rung["points"] < 20
    assert "at most" in edgex(*command, "--budget", "50", "-o", "again", cwd=tmp_path).out


def test_layers_are_ranked_by_their_noise(project: Path, tmp_path: Path) -> None:
    command = ("sensitivity", project / "net.onnx", "--target", "cpu", "--calib", project / "calib", "--no-profile")
    outcome = edgex(*command, "--data", project / "val.zip", "--json", cwd=tmp_path)
    assert outcome.code == 0, outcome.err
    found = outcome.document
    assert {layer["layer"] for layer in found["layers"]} == {"blur", "scores"}
    assert all(layer["snr_db"] > found["whole"]["snr_db"] > 10 for layer in found["layers"])
    assert found["layers"][0]["lost"] is None
    assert any("val.zip was not read" in warning for warning in found["warnings"])
