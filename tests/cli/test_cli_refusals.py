"""What users get wrong ends with the right exit code, and says file, cause and fix."""

import sys
from pathlib import Path

import onnx
import pytest
from command import EDGEX, edgex, refused

from edgex.errors import ExitCode

DEMO = ("quantize", "demo", "--target", "cpu", "--calib", "digits")
INT8 = "out/xception-digits.int8.onnx"


def test_without_a_setting_it_says_how_to_make_one(folder: Path) -> None:
    outcome = edgex("quantize", "--target", "jetson", cwd=folder)
    refused(outcome, ExitCode.USAGE, "MODEL is missing", "no edgex.toml", "edgex init")
    refused(edgex("quantize", "demo", cwd=folder), ExitCode.USAGE, "--target is missing", "edgex init")
    refused(edgex("quantize", "demo", "--target", "cpu", cwd=folder), ExitCode.USAGE, "--calib is missing")
    (folder / "edgex.toml").write_text('target = "cpu"\n')
    refused(
        edgex("quantize", cwd=folder), ExitCode.USAGE, "MODEL is missing", "edgex.toml has none either", "set model"
    )


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (("--method", "best"), ("'best'", "average, minmax, percentile, mse, entropy, auto")),
        (("--weight-bits", "3"), ("--weight-bits 3", "4, 8")),
        (("--rounding", "up"), ("'up'", "nearest, learned")),
        (("--mode", "train"), ("'train'", "ptq, qat")),
        (("--mode", "qat", "--augment", "mixup"), ("'mixup'", "shift, flip, none")),
        (("--mode", "qat"), ("--train is missing",)),
        (("--train", "digits"), ("--train digits is for training", "--mode qat")),
        (("--io", "int4"), ("'int4'", "float, int8")),
        (("--preprocess", "yolo"), ("'yolo'", "xception, none, imagenet, caffe")),
        (("--resize", "tile"), ("'tile'", "stretch, crop, pad")),
        (("--arch", "mips"), ("cpu", "'mips'", "x86, arm")),
        (("--jetpack", "6.2"), ("cpu", "'6.2'")),
        (("--keep-float", "("), ("--keep-float '('", "regular expression")),
        (("--keep-float", "nothing"), ("'nothing'", "edgex inspect")),
        (("--calib", "nowhere"), ("nowhere does not exist", "digits")),
        (("--input-size", "2"), ("xception-digits.keras", "2×2", "--input-size")),
    ],
)
def test_options_that_cannot_be(folder: Path, options: tuple[str, str], words: tuple[str, ...]) -> None:
    refused(edgex(*DEMO, *options, cwd=folder), ExitCode.USAGE, *words)
    assert [path.name for path in folder.iterdir()] == [".git"]


@pytest.mark.parametrize(
    "option",
    [("--threads", "0"), ("--calib-count", "0"), ("--calib-seed", "-1"), ("--max-bad", "-1"), ("--input-size", "0")],
)
def test_counts_that_cannot_be(folder: Path, option: tuple[str, str]) -> None:
    outcome = edgex(*DEMO, *option, cwd=folder)
    assert outcome.code == ExitCode.USAGE
    assert option[0] in outcome.err
    assert "Traceback" not in outcome.err


def test_faults_in_the_file(folder: Path) -> None:
    (folder / "edgex.toml").write_text('modle = "a.keras"\n')
    refused(edgex("quantize", cwd=folder), ExitCode.USAGE, "edgex.toml", "modle", "model")
    (folder / "edgex.toml").write_text("model =\n")
    refused(edgex("quantize", cwd=folder), ExitCode.USAGE, "edgex.toml is not TOML")
    (folder / "edgex.toml").write_text('model = "demo"\ntarget = "cpu"\ncalib = "digits"\nmethod = "best"\n')
    refused(edgex("quantize", cwd=folder), ExitCode.USAGE, "'best'", "average, minmax, percentile")


def test_unknown_commands_and_options(folder: Path) -> None:
    for arguments in (("quantise",), ("quantize", "--tarket", "cpu"), ("eval",), ("bench",), ("lint",)):
        outcome = edgex(*arguments, cwd=folder)
        assert outcome.code == ExitCode.USAGE
        assert outcome.out == ""
        assert "Traceback" not in outcome.err


def test_models_that_are_none(folder: Path) -> None:
    (folder / "model.onnx").write_bytes(b"\x08\x01")
    refused(edgex("inspect", "model.onnx", cwd=folder), ExitCode.MODEL_REFUSED, "model.onnx", "opset")
    refused(edgex("inspect", "missing.keras", cwd=folder), ExitCode.USAGE, "missing.keras")


def test_artifacts_that_are_none(folder: Path) -> None:
    for name in ("broken.onnx", "broken.tflite"):
        (folder / name).write_bytes(b"nothing of the kind")
        data = ("--data", "digits")
        for command in (("eval", name, *data), ("bench", name), ("lint", name, "--target", "cpu")):
            refused(edgex(*command, cwd=folder), ExitCode.MODEL_REFUSED, name)
    for command in (
        ("eval", "missing.onnx", *data),
        ("bench", "missing.onnx"),
        ("lint", "missing.onnx", "--target", "cpu"),
    ):
        refused(edgex(*command, cwd=folder), ExitCode.INPUT_OUTPUT, "missing.onnx")
    (folder / "a.txt").write_text("text")
    for command in (("eval", "a.txt", *data), ("bench", "a.txt"), ("lint", "a.txt", "--target", "cpu")):
        refused(edgex(*command, cwd=folder), ExitCode.USAGE, "a.txt", ".tflite")


@pytest.mark.parametrize("shape", [(3, 32, 32), (100,)])
def test_foreign_files_that_read_no_image(folder: Path, shape: tuple[int, ...]) -> None:
    """Such as an image with its channels first."""
    ends = [onnx.helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, ["n", *shape]) for name in "xy"]
    graph = onnx.helper.make_graph([onnx.helper.make_node("Relu", ["x"], ["y"])], "foreign", ends[:1], ends[1:])
    opset = onnx.helper.make_opsetid("", 17)
    onnx.save(onnx.helper.make_model(graph, opset_imports=[opset], ir_version=9), folder / "foreign.onnx")
    outcome = edgex("eval", "foreign.onnx", "--data", "digits", cwd=folder)
    refused(outcome, ExitCode.MODEL_REFUSED, "foreign.onnx", str(shape), "channels last")


def test_targets_and_runtimes_that_are_missing(project: Path, folder: Path) -> None:
    code = ExitCode.RUNTIME_MISSING
    refused(edgex("targets", "nano", cwd=folder), code, "'nano'", "cpu, gpu-desktop, jetson")
    refused(edgex(*DEMO, "--target", "tpu", cwd=folder), code, "'tpu'", "cpu, gpu-desktop, jetson")
    refused(edgex("lint", INT8, "--target", "tpu", cwd=project), code, "'tpu'")
    (folder / "openvino.py").write_text("raise ImportError('not installed')\n")
    without = {"PYTHONPATH": str(folder)}
    refused(edgex("bench", INT8, "--runtime", "openvino", cwd=project, **without), code, "openvino", "pip install")
    refused(edgex("bench", INT8, "--runtime", "tensorrt", cwd=project), ExitCode.USAGE, "'tensorrt'", "onnxruntime")


def test_data_that_cannot_be_used(project: Path, folder: Path) -> None:
    (folder / "data.zip").write_bytes(b"PK\x03\x04 and no more")
    refused(edgex("eval", INT8, "--data", folder / "data.zip", cwd=project), ExitCode.DATA_REFUSED, "data.zip")
    (folder / "data.txt").write_text("text")
    refused(edgex("eval", INT8, "--data", folder / "data.txt", cwd=project), ExitCode.DATA_REFUSED, "data.txt")
    refused(edgex(*DEMO, "--calib", "data.txt", cwd=folder), ExitCode.DATA_REFUSED, "data.txt")


def test_directories_that_are_none(folder: Path) -> None:
    (folder / "empty").mkdir()
    for name in ("empty", "missing"):
        refused(edgex("verify", name, cwd=folder), ExitCode.INPUT_OUTPUT, f"{name}/manifest.json", "edgex quantize")
    (folder / "empty" / "manifest.json").write_text("{}")
    refused(edgex("verify", "empty", cwd=folder), ExitCode.INPUT_OUTPUT, "empty/manifest.json")
    assert edgex("init", cwd=folder).code == ExitCode.OK
    refused(edgex("init", cwd=folder), ExitCode.INPUT_OUTPUT, "edgex.toml exists already")


def test_a_damaged_plan_beside_an_artifact(folder: Path) -> None:
    assert edgex(*DEMO, "--calib-count", 4, "-o", "out", cwd=folder).code == ExitCode.OK
    (folder / "out" / "plan.json").write_text("{")
    refused(edgex("eval", INT8, "--data", "digits", cwd=folder), ExitCode.INPUT_OUTPUT, "out/plan.json")


def test_a_bug_of_ours_is_called_one(folder: Path) -> None:
    (folder / "psutil.py").write_text("raise ZeroDivisionError('broken on purpose')\n")
    broken = {"PYTHONPATH": str(folder)}
    outcome = edgex(*DEMO, cwd=folder, **broken)
    refused(outcome, ExitCode.INTERNAL, "ZeroDivisionError: broken on purpose", "bug", "--debug")
    assert "Traceback" in edgex("--debug", *DEMO, cwd=folder, **broken).err


def test_debug_shows_where_an_error_comes_from(folder: Path) -> None:
    outcome = edgex("--debug", "inspect", "missing.keras", cwd=folder)
    assert outcome.code == ExitCode.USAGE
    assert "error: missing.keras" in outcome.err
    assert "Traceback" in outcome.err


def test_the_command_is_of_this_environment() -> None:
    assert Path(EDGEX).parent == Path(sys.executable).parent
