"""Options do what they say, and edgex.toml says what the command line leaves out."""

import json
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from command import Outcome, edgex
from PIL import Image

from edgex import __version__
from edgex.resources import demo_model, digits_file
from edgex.runtime import open_runner

FEW = ("--calib", "digits", "--calib-count", 8)


def quantized(folder: Path, *options: object) -> dict[str, Path]:
    """Quantize the demo model; its artifacts by the end of their name, such as ``int8.onnx``."""
    outcome = edgex("-q", "quantize", "demo", *FEW, "-o", "out", "--json", *options, cwd=folder)
    assert outcome.code == 0, outcome.err
    assert outcome.err == ""
    artifacts = outcome.document["artifacts"]
    return {f"{entry['precision']}.{entry['format']}": folder / entry["path"] for entry in artifacts}


def manifest(folder: Path) -> Any:
    return json.loads((folder / "out" / "manifest.json").read_text())


def activation_types(path: Path) -> set[str]:
    """Of the zero points of QuantizeLinear."""
    graph = onnx.load(path).graph
    types = {tensor.name: onnx.TensorProto.DataType.Name(tensor.data_type) for tensor in graph.initializer}
    return {types[node.input[2]] for node in graph.node if node.op_type == "QuantizeLinear"}


# Options of quantize


def test_arch(folder: Path) -> None:
    assert activation_types(quantized(folder, "--target", "cpu")["int8.onnx"]) == {"UINT8"}
    assert manifest(folder)["target"] == {"name": "cpu", "arch": "x86"}
    assert activation_types(quantized(folder, "--target", "cpu", "--arch", "arm")["int8.onnx"]) == {"INT8"}
    assert manifest(folder)["target"] == {"name": "cpu", "arch": "arm"}


@pytest.mark.parametrize(("jetpack", "opset"), [("4.6.1", 13), ("6.2", 17)])
def test_jetpack(folder: Path, jetpack: str, opset: int) -> None:
    artifacts = quantized(folder, "--target", "jetson", "--jetpack", jetpack)
    assert list(artifacts) == ["int8.onnx", "fp16.onnx", "int8.tflite", "fp32.onnx"]
    for kind in ("int8.onnx", "fp16.onnx", "fp32.onnx"):
        model = onnx.load(artifacts[kind])
        onnx.checker.check_model(model, full_check=True)
        assert {(entry.domain, entry.version) for entry in model.opset_import} == {("", opset)}
        lint = edgex("lint", artifacts[kind], "--target", "jetson", "--jetpack", jetpack, cwd=folder)
        assert lint.code == 0, lint.out
    assert manifest(folder)["target"] == {"name": "jetson", "jetpack": jetpack}


def test_keep_float(folder: Path) -> None:
    artifacts = quantized(folder, "--target", "cpu", "--keep-float", "^block2_")
    assert list(artifacts) == ["mixed.onnx", "mixed.tflite", "fp32.onnx", "fp32.tflite"]
    graph = onnx.load(artifacts["mixed.onnx"]).graph
    makers = {name: node.op_type for node in graph.node for name in node.output}
    kept = {node.name for node in graph.node if node.op_type == "Conv" and node.input[1] not in makers}
    convolutions = {node.name for node in graph.node if node.op_type == "Conv"}
    assert kept == {name for name in convolutions if name.startswith("block2_")}
    assert len(kept) == 4  # two separable convolutions, split
    lint = ("lint", artifacts["mixed.onnx"], "--target", "cpu")
    assert edgex(*lint, cwd=folder).code == 3
    assert edgex(*lint, "--keep-float", "^block2_", cwd=folder).code == 0


def test_integer_ends(folder: Path) -> None:
    artifacts = quantized(folder, "--target", "cpu", "--io", "int8")
    with open_runner(artifacts["int8.tflite"], threads=1) as runner:
        assert runner.input_dtype == np.int8
    assert onnx.load(artifacts["int8.onnx"]).graph.input[0].type.tensor_type.elem_type == onnx.TensorProto.UINT8
    files = [artifacts["int8.onnx"], artifacts["int8.tflite"], artifacts["fp32.onnx"]]
    results = edgex("eval", *files, "--data", "digits", "--json", cwd=folder).document["results"]
    assert all(result["top1"] > 0.97 for result in results)


def test_input_size(folder: Path) -> None:
    for path in quantized(folder, "--target", "cpu", "--input-size", 64).values():
        with open_runner(path, threads=1) as runner:
            assert runner.input_shape == (64, 64, 3)
    assert manifest(folder)["preprocessing"]["size"] == [64, 64]
    outcome = edgex("eval", "out/xception-digits.int8.onnx", "--data", "digits", "--json", cwd=folder)
    assert outcome.document["results"][0]["images"] == 500


def test_preprocessing_is_recorded_and_used_by_eval(folder: Path) -> None:
    artifacts = quantized(folder, "--target", "cpu", "--preprocess", "none", "--resize", "pad")
    assert manifest(folder)["preprocessing"] == {"size": [48, 48], "channels": 3, "scale": "none", "resize": "pad"}
    wrong, right = (
        edgex("eval", artifacts["fp32.onnx"], "--data", "digits", "--json", *options, cwd=folder).document
        for options in ((), ("--preprocess", "xception"))
    )
    assert right["results"][0]["top1"] > 0.98
    assert wrong["results"][0]["top1"] < 0.9


def test_calibration_options_are_recorded(folder: Path) -> None:
    quantized(folder, "--target", "cpu", "--calib-seed", 5, "--method", "percentile", "--no-equalize")
    recipe = manifest(folder)["recipe"]
    assert (recipe["calib_seed"], recipe["method"], recipe["equalize"]) == (5, "percentile", False)
    plan = json.loads((folder / "out" / "plan.json").read_text())["calibration"]
    assert (plan["seed"], plan["method"], plan["equalized"]) == (5, "percentile", [])
    images = plan["sources"]
    assert len(images) == 8
    quantized(folder, "--target", "cpu")
    assert json.loads((folder / "out" / "plan.json").read_text())["calibration"]["sources"] != images


def test_labels_for_a_flat_folder(folder: Path) -> None:
    (folder / "flat").mkdir()
    with np.load(digits_file()) as digits:
        chosen = np.flatnonzero(digits["split"] == "test")[:30]
        for index in chosen:
            Image.fromarray(digits["x"][index, ..., 0]).save(folder / "flat" / f"{index}.png")
        rows = "\n".join(f"{index}.png,{digits['y'][index]}" for index in chosen)
    (folder / "labels.csv").write_text(f"path,label\n{rows}\n")
    quantized(folder, "--target", "cpu")
    arguments = ("--data", "flat", "--labels", "labels.csv", "--json")
    outcome = edgex("eval", "out/xception-digits.int8.onnx", *arguments, cwd=folder)
    assert outcome.code == 0, outcome.err
    assert outcome.document["results"][0]["images"] == 30
    assert outcome.document["results"][0]["top1"] > 0.9


# What stands where


def test_quiet_says_only_results(project: Path, folder: Path) -> None:
    loud = edgex("export", "demo", "--target", "cpu", "-o", "a", cwd=folder)
    quiet = edgex("-q", "export", "demo", "--target", "cpu", "-o", "a", cwd=folder)
    assert quiet.out == loud.out
    assert "write" in loud.err
    assert quiet.err == ""
    arguments = ("out/xception-digits.int8.tflite", "--data", "digits")
    assert edgex("-q", "eval", *arguments, cwd=project).out == edgex("eval", *arguments, cwd=project).out
    missing = edgex("-q", "export", "missing.keras", "--target", "cpu", cwd=folder)
    assert "missing.keras" in missing.err


def test_names_are_shown_as_they_are(folder: Path) -> None:
    """Brackets are markup to rich, and words between colons emoji."""
    name = "a [bold]b :smile: [x]"
    model = folder / f"{name}.keras"
    model.write_bytes(demo_model().read_bytes())
    outcome = edgex("export", model.name, "--target", "cpu", cwd=folder)
    assert f"{name}.fp32.onnx" in outcome.out
    assert f"{name}-cpu" in outcome.out
    missing = edgex("export", f"{name}.h5", "--target", "cpu", cwd=folder)
    assert f"{name}.h5" in missing.err


def test_a_message_is_not_broken_into_lines(folder: Path) -> None:
    """A path can be copied whole."""
    path = "/".join(["long"] * 60) + "/model.keras"
    assert path in edgex("inspect", path, cwd=folder).err


def test_output_that_lacks_a_sign(project: Path) -> None:
    command = ("bench", "out/xception-digits.int8.onnx", "--runs", 1, "--runtime", "onnxruntime")
    outcome = edgex(*command, cwd=project, PYTHONIOENCODING="ascii")
    assert outcome.code == 0, outcome.err
    assert "median" in outcome.out


def test_version(folder: Path) -> None:
    assert edgex("--version", cwd=folder) == Outcome(0, f"{__version__}\n", "")


# edgex.toml


def test_bare_quantize_takes_everything_from_the_file(folder: Path) -> None:
    (folder / "edgex.toml").write_text(
        'model = "demo"\ntarget = "cpu"\ncalib = "digits"\ncalib_count = 9\noutput = "out-{target}-of-{model}"\n'
        'threads = 1\nio = "int8"\narch = "arm"\n'
    )
    outcome = edgex("quantize", cwd=folder)
    assert outcome.code == 0, outcome.err
    recipe = json.loads((folder / "out-cpu-of-xception-digits" / "manifest.json").read_text())
    assert recipe["target"] == {"name": "cpu", "arch": "arm"}
    assert (recipe["recipe"]["calib_count"], recipe["recipe"]["io"]) == (9, "int8")


def test_the_command_line_wins(folder: Path) -> None:
    (folder / "edgex.toml").write_text('model = "demo"\ntarget = "cpu"\ncalib = "digits"\ncalib_count = 9\n')
    outcome = edgex("quantize", "--target", "jetson", "--calib-count", 7, "--json", cwd=folder)
    assert outcome.code == 0, outcome.err
    assert outcome.document["directory"] == "xception-digits-jetson"
    assert "calibrate (7)" in outcome.err


def test_paths_in_the_file_are_relative_to_it(folder: Path) -> None:
    (folder / "my.keras").write_bytes(demo_model().read_bytes())
    (folder / "edgex.toml").write_text('model = "my.keras"\ntarget = "cpu"\noutput = "out-{target}"\n')
    (folder / "deep" / "er").mkdir(parents=True)
    outcome = edgex("export", "--json", cwd=folder / "deep" / "er")
    assert outcome.document["directory"] == "../../out-cpu"
    assert (folder / "out-cpu" / "my.fp32.onnx").is_file()


def test_this_repository_has_one(folder: Path) -> None:
    root = Path(__file__).resolve().parents[2]
    if not (root / "edgex.toml").is_file():
        pytest.skip("the tests run outside of the repository")
    outcome = edgex("quantize", "--target", "jetson", "-o", folder / "out", "--calib-count", 8, cwd=root)
    assert outcome.code == 0, outcome.err
    assert edgex("eval", folder / "out" / "xception-digits.int8.onnx", cwd=root).code == 0


def test_init_makes_a_file_that_works_once_it_is_edited(folder: Path) -> None:
    assert edgex("init", cwd=folder).code == 0
    file = folder / "edgex.toml"
    text = file.read_text()
    assert 'model = "model.keras"' in text
    assert edgex("quantize", cwd=folder).code == 2
    file.write_text(
        text.replace("model.keras", "demo").replace('"calib"', '"digits"').replace("#: calib_count", "calib_count")
    )
    outcome = edgex("quantize", "--json", cwd=folder)
    assert outcome.code == 0, outcome.err
    assert outcome.document["directory"] == "xception-digits-cpu"


def test_every_setting_of_the_template_can_be_used(folder: Path) -> None:
    """Each commented line, uncommented, is a valid setting."""
    edgex("init", cwd=folder)
    file = folder / "edgex.toml"
    settings = Counter(
        line.split(" = ")[0].removeprefix("#: ") for line in file.read_text().splitlines() if " = " in line
    )
    assert set(settings.values()) == {1}
    file.write_text(file.read_text().replace("#: ", "").replace('"model.keras"', '"demo"'))
    outcome = edgex("inspect", "--json", cwd=folder)
    assert outcome.code == 0, outcome.err
    assert outcome.document["layers"][0]["shape"] == [299, 299, 3]
