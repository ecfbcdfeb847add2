"""Rows 16, 17, 32, 33 and 36 of the faults to survive, and signals: targets, disks and other processes."""

import contextlib
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import onnx
import pytest
from command import edgex, refused, start
from disks import mounted

from edgex.errors import ExitCode
from edgex.resources import calib_data_dir, targets_dir

QUANTIZE = ("quantize", "demo", "--target", "cpu", "--calib", "digits")
INT8 = "out/xception-digits.int8.onnx"


def names(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


def content(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_16_opset_above_the_target(folder: Path, project: Path) -> None:
    """A profile cannot ask for one that edgex doesn't write; a file cannot have one that the board doesn't read."""
    profile = (targets_dir() / "cpu.toml").read_text()
    assert "opset = 17\n" in profile
    (folder / "new.toml").write_text(profile.replace("opset = 17\n", "opset = 99\n"))
    outcome = edgex("quantize", "demo", "--target", "new.toml", "--calib", "digits", cwd=folder)
    refused(outcome, ExitCode.USAGE, "new.toml", "opset", "99")
    assert "calibrate" not in outcome.err
    (folder / "old.toml").write_text(profile.replace("opset = 17\n", "opset = 17\nopset_limit = 13\n"))
    outcome = edgex("export", "demo", "--target", "old.toml", "-o", "out", cwd=folder)
    assert outcome.code == 0, outcome.err
    model = onnx.load(folder / "out" / "xception-digits.fp32.onnx")
    assert [entry.version for entry in model.opset_import] == [13]
    red = edgex("lint", INT8, "--target", folder / "old.toml", cwd=project)
    assert red.code == ExitCode.MODEL_REFUSED
    assert "its opset is 17" in red.out


def test_17_zero_points_for_tensorrt(project: Path) -> None:
    red = edgex("lint", INT8, "--target", "jetson", "--json", cwd=project)
    assert red.code == ExitCode.MODEL_REFUSED
    graph = onnx.load(project / INT8).graph
    constants = {tensor.name: onnx.numpy_helper.to_array(tensor) for tensor in graph.initializer}
    expected = {
        node.name
        for node in graph.node
        if node.op_type in ("QuantizeLinear", "DequantizeLinear") and constants[node.input[2]].any()
    }
    found = {finding["where"] for finding in red.document["findings"] if finding["rule"] == "zero-points-zero"}
    assert found == expected
    assert len(found) > 10


def test_32_no_place_to_write(folder: Path) -> None:
    missing = edgex(*QUANTIZE, "-o", "missing/out", cwd=folder)
    refused(missing, ExitCode.INPUT_OUTPUT, "missing/out cannot be written", "missing does not exist")
    (folder / "file").write_text("text")
    for place in ("file", "file/out"):
        outcome = edgex(*QUANTIZE, "-o", place, cwd=folder)
        refused(outcome, ExitCode.INPUT_OUTPUT, place)
        assert "calibrate" not in outcome.err
    (folder / "foreign").mkdir()
    (folder / "foreign" / "letter.txt").write_text("mine")
    outcome = edgex(*QUANTIZE, "-o", "foreign", cwd=folder)
    refused(outcome, ExitCode.INPUT_OUTPUT, "foreign exists", "manifest.json")
    assert names(folder / "foreign") == {"letter.txt"}
    assert names(folder) == {".git", "file", "foreign"}
    assert "calibrate" not in missing.err + outcome.err


def test_32_unwritable(folder: Path) -> None:
    with mounted(folder / "disk", "ro") as disk:
        outcome = edgex(*QUANTIZE, "-o", disk / "out", cwd=folder)
        refused(outcome, ExitCode.INPUT_OUTPUT, "disk/out cannot be written", "Read-only file system")
        assert "calibrate" not in outcome.err


def test_33_full_disk(folder: Path) -> None:
    """There is room for one output directory, but not for two."""
    with mounted(folder / "disk", "size=2200k") as disk:
        assert edgex(*QUANTIZE, "--calib-count", 8, "-o", disk / "out", cwd=folder).code == 0
        before = content(disk / "out")
        for _ in range(2):
            outcome = edgex(*QUANTIZE, "--calib-count", 9, "-o", disk / "out", cwd=folder)
            refused(outcome, ExitCode.INPUT_OUTPUT, "out cannot be written", "No space left on device")
            assert names(disk) == {"out"}
            assert content(disk / "out") == before
        assert edgex("verify", disk / "out", cwd=folder).code == 0


@contextlib.contextmanager
def working(folder: Path) -> Iterator["subprocess.Popen[str]"]:
    """A run into ``out`` that has begun to calibrate, on so many images that it goes on for a while."""
    many = folder.parent / "many"
    for copy in range(20):
        for file in calib_data_dir().rglob("*.png"):
            (many / file.parent.name).mkdir(parents=True, exist_ok=True)
            shutil.copy(file, many / file.parent.name / f"{copy}-{file.name}")
    command = (
        "quantize",
        "demo",
        "--target",
        "cpu",
        "--calib",
        many,
        "--calib-count",
        2000,
        "--threads",
        1,
        "-o",
        "out",
    )
    with start(*command, cwd=folder) as process:
        try:
            assert process.stderr is not None
            assert "calibrate (2000)" in process.stderr.readline()
            time.sleep(0.2)
            assert process.poll() is None
            yield process
        finally:
            process.kill()


@pytest.mark.parametrize("again", [False, True])
@pytest.mark.parametrize(
    ("number", "code"), [(signal.SIGINT, ExitCode.INTERRUPTED), (signal.SIGTERM, ExitCode.TERMINATED)]
)
def test_signals_leave_nothing_half_written(tmp_path: Path, number: int, code: ExitCode, again: bool) -> None:
    folder = tmp_path / "project"
    folder.mkdir()
    before = {}
    if again:
        assert edgex(*QUANTIZE, "--calib-count", 8, "-o", "out", cwd=folder).code == 0
        before = content(folder / "out")
    with working(folder) as process:
        assert any(name.endswith(".partial") for name in names(folder))
        process.send_signal(number)
        out, err = process.communicate(timeout=60)
    assert process.returncode == code
    assert out == ""
    assert "Traceback" not in err
    assert names(folder) == ({"out"} if again else set())
    if again:
        assert content(folder / "out") == before


def test_36_two_runs_into_one_directory(tmp_path: Path) -> None:
    folder = tmp_path / "project"
    folder.mkdir()
    with working(folder) as process:
        refused(
            edgex(*QUANTIZE, "-o", "out", cwd=folder), ExitCode.INPUT_OUTPUT, "out is being written", str(process.pid)
        )
        assert edgex(*QUANTIZE, "--calib-count", 8, "-o", "other", cwd=folder).code == 0
        assert process.poll() is None
        _, err = process.communicate(timeout=240)
        assert process.returncode == 0, err
    assert names(folder) == {"out", "other"}
    assert edgex("verify", "out", cwd=folder).code == 0
