"""Rows 16, 39, 40 and 41 of the faults to survive: target files, and model files that edgex did not write."""

import hashlib
import itertools
import json
import os
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest
from command import EDGEX, Outcome, edgex, environment, refused
from foreign import save_endless, save_greedy, save_identity, save_onnx
from onnx import TensorProto, helper

from edgex.errors import ExitCode
from edgex.resources import calib_data_dir, targets_dir

WEIGHTS = np.random.default_rng(0).normal(size=(3, 10)).astype(np.float32)
COMMANDS = {
    "lint": ("--target", "cpu"),
    "eval": ("--data", "digits"),
    "bench": ("--runs", 1),
}
FILES = (("lint", ".onnx"), ("lint", ".tflite"), ("eval", ".onnx"), ("bench", ".tflite"))
ASKED = "--external-data"


def save_outside(folder: Path, **entries: object) -> Path:
    """A small classifier of digits in ``folder/inside`` that keeps its weights where ``entries`` say."""
    tensor = TensorProto(name="weights", data_type=TensorProto.FLOAT, dims=WEIGHTS.shape)
    tensor.data_location = TensorProto.EXTERNAL
    for key, value in entries.items():
        tensor.external_data.add(key=key, value=str(value))
    nodes = [
        helper.make_node("ReduceMean", ["image"], ["mean"], "mean", axes=[1, 2], keepdims=0),
        helper.make_node("MatMul", ["mean", "weights"], ["scores"], "product"),
    ]
    image = helper.make_tensor_value_info("image", TensorProto.FLOAT, ["n", 8, 8, 3])
    scores = helper.make_tensor_value_info("scores", TensorProto.FLOAT, ["n", 10])
    (folder / "inside").mkdir(exist_ok=True)
    for place in (folder / "secret.bin", folder / "inside" / "weights.bin"):
        place.write_bytes(WEIGHTS.tobytes())
    return save_onnx(folder / "inside" / "model.onnx", helper.make_graph(nodes, "outside", [image], [scores], [tensor]))


# 16: the target


@pytest.mark.parametrize(
    ("line", "replacement", "words"),
    [
        ("opset = 17\n", "opset = 17\nopset_limit = 12\n", ("onnx.opset_limit is 12", "13")),
        ('"int8.tflite"', '"fp16.tflite"', ("fp16.tflite", "edgex writes int8.onnx")),
        ('name = "cpu"', 'name = "/../../elsewhere"', ("name is '/../../elsewhere'",)),
    ],
)
def test_16_what_no_target_is(folder: Path, line: str, replacement: str, words: tuple[str, ...]) -> None:
    profile = (targets_dir() / "cpu.toml").read_text()
    assert line in profile
    (folder / "mine.toml").write_text(profile.replace(line, replacement))
    outcome = edgex("export", "demo", "--target", "mine.toml", cwd=folder)
    refused(outcome, ExitCode.USAGE, "mine.toml", *words)
    assert {path.name for path in folder.iterdir()} == {".git", "mine.toml"}


# 40: files that go for the machine. Those that crash or never end are in tests/runtime/test_process.py


def bounded(kibibytes: int, *arguments: object, cwd: Path) -> Outcome:
    """Run ``edgex`` where no process can have more memory, as a shell or a container says."""
    command = ["sh", "-c", f'ulimit -d {kibibytes}; exec "$@"', "sh", EDGEX, *map(str, arguments)]
    done = subprocess.run(command, cwd=cwd, env=environment(), capture_output=True, text=True, timeout=300)
    return Outcome(done.returncode, done.stdout, done.stderr)


@pytest.fixture
def three_classes(folder: Path) -> Path:
    for label in "012":
        (folder / "images" / label).mkdir(parents=True)
        shutil.copy(min((calib_data_dir() / label).iterdir()), folder / "images" / label)
    return folder / "images"


def test_40_a_file_that_wants_too_much_memory(folder: Path, three_classes: Path) -> None:
    path = save_greedy(folder / "greedy.onnx", megabytes=3000)
    for command in (("eval", path, "--data", three_classes), ("bench", path, "--runtime", "onnxruntime", "--runs", 1)):
        outcome = bounded(2 << 20, *command, cwd=folder)
        refused(outcome, ExitCode.MODEL_REFUSED, "onnxruntime", "greedy.onnx")


def test_40_a_file_whose_input_alone_is_too_large(folder: Path) -> None:
    path = save_identity(folder / "vast.onnx", [1, 60_000, 60_000, 3])
    for name in ("eval", "bench"):
        outcome = edgex(name, path, *COMMANDS[name], cwd=folder)
        refused(outcome, ExitCode.MODEL_REFUSED, "vast.onnx takes 41,198 MiB at its input")


def test_40_files_larger_than_a_model_can_be(folder: Path) -> None:
    for command, suffix in FILES:
        name = f"{command}{suffix}"
        with (folder / name).open("wb") as file:
            file.truncate(200 << 30)  # takes no place on the disk
        outcome = edgex(command, name, *COMMANDS[command], cwd=folder)
        refused(outcome, ExitCode.MODEL_REFUSED, f"{name} has 214,748,364,800 bytes")


def test_40_pipes(folder: Path) -> None:
    for command, suffix in FILES:
        name = f"{command}{suffix}"
        os.mkfifo(folder / name)
        outcome = edgex(command, name, *COMMANDS[command], cwd=folder)
        refused(outcome, ExitCode.INPUT_OUTPUT, f"{name} is not a file")


def test_40_a_value_that_is_made_of_itself(folder: Path) -> None:
    """A linter that looks where it comes from looks forever."""
    path = save_identity(folder / "circle.onnx", [1, 3])
    model = onnx.load(path)
    model.graph.node.append(helper.make_node("Identity", ["output"], ["output"]))
    path.write_bytes(model.SerializeToString())
    refused(edgex("lint", path, *COMMANDS["lint"], cwd=folder), ExitCode.MODEL_REFUSED, "output is made twice")


# 41: weights in other files


@pytest.mark.parametrize("command", COMMANDS)
def test_41_only_on_request(folder: Path, command: str) -> None:
    path = save_outside(folder, location="weights.bin", offset=0, length=WEIGHTS.nbytes)
    outcome = edgex(command, path, *COMMANDS[command], cwd=folder)
    refused(outcome, ExitCode.MODEL_REFUSED, "model.onnx keeps the weights 'weights' in 'weights.bin'", ASKED)


@pytest.mark.parametrize("command", COMMANDS)
def test_41_on_request_beside(folder: Path, command: str) -> None:
    path = save_outside(folder, location="weights.bin", offset=0, length=WEIGHTS.nbytes)
    outcome = edgex(command, path, *COMMANDS[command], ASKED, cwd=folder)
    assert outcome.code == ExitCode.OK, outcome.err


PLACES = {
    "parent": {"location": "../secret.bin"},
    "absolute": {"location": "{folder}/secret.bin"},
    "absolute inside": {"location": "{folder}/inside/weights.bin"},
    "link": {"location": "link.bin"},
    "linked folder": {"location": "linked/secret.bin"},
    "offset": {"location": "weights.bin", "offset": WEIGHTS.nbytes + 1},
    "length": {"location": "weights.bin", "offset": 4, "length": WEIGHTS.nbytes},
    "negative": {"location": "weights.bin", "offset": -4},
}


@pytest.mark.parametrize(("place", "command"), [*zip(PLACES, itertools.cycle(COMMANDS), strict=False)])
def test_41_never_elsewhere(folder: Path, place: str, command: str) -> None:
    path = save_outside(folder, **{key: str(value).format(folder=folder) for key, value in PLACES[place].items()})
    (path.parent / "link.bin").symlink_to(folder / "secret.bin")
    (path.parent / "linked").symlink_to(folder, target_is_directory=True)
    outcome = edgex(command, path, *COMMANDS[command], ASKED, cwd=folder)
    message = refused(outcome, ExitCode.MODEL_REFUSED, "model.onnx keeps the weights 'weights' in")
    assert ASKED not in message


# A directory whose manifest was made to fit


def _newer(model: onnx.ModelProto) -> None:
    model.opset_import[0].version = 25


def _circular(model: onnx.ModelProto) -> None:
    model.graph.node.append(helper.make_node("Identity", ["again"], ["again"]))
    model.graph.node.append(helper.make_node("Identity", [model.graph.input[0].name], ["again"]))


def _reaching_out(model: onnx.ModelProto) -> None:
    tensor = model.graph.initializer.add(name="outside", data_type=TensorProto.FLOAT, dims=[1])
    tensor.data_location = TensorProto.EXTERNAL
    tensor.external_data.add(key="location", value="/etc/hostname")


@pytest.mark.parametrize(
    ("forge", "target", "words"),
    [
        (_newer, "jetson", "has opset 25"),
        (_circular, "jetson", "before it is read"),
        (_reaching_out, "jetson", "another file"),
        (_reaching_out, "cpu", "another file"),
    ],
)
def test_a_forged_directory_is_not_compiled(
    folder: Path, project: Path, forge: Callable[[onnx.ModelProto], None], target: str, words: str
) -> None:
    shutil.copytree(project / "out", folder / "out")
    manifest = json.loads((folder / "out" / "manifest.json").read_text())
    for name in ("xception-digits.int8.onnx", "xception-digits.fp32.onnx"):
        path = folder / "out" / name
        model = onnx.load(path)
        forge(model)
        path.write_bytes(model.SerializeToString())
        entry = next(entry for entry in manifest["artifacts"] if entry["path"] == name)
        entry.update(bytes=path.stat().st_size, sha256=hashlib.sha256(path.read_bytes()).hexdigest())
    (folder / "out" / "manifest.json").write_text(json.dumps(manifest))
    assert edgex("verify", "out", cwd=folder).code == ExitCode.OK
    refused(edgex("compile", "out", "--target", target, cwd=folder), ExitCode.MODEL_REFUSED, ".onnx", words)


@pytest.mark.slow
def test_40_a_file_that_never_ends(folder: Path) -> None:
    """The limit is a minute for each run, and bench asks for two at once."""
    save_endless(folder / "endless.onnx")
    outcome = edgex("bench", "endless.onnx", "--runtime", "onnxruntime", cwd=folder)
    refused(outcome, ExitCode.MODEL_REFUSED, "endless.onnx", "was stopped")
