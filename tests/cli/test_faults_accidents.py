"""Rows 32, 33, 35 and 36 of the faults to survive, for the commands that write into a directory, or beside it."""

import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
from command import edgex, environment, refused
from disks import mounted
from graphs import tiny_xception
from reports import write_outcome

from edgex.errors import ExitCode
from edgex.output import locked
from edgex.resources import digits_file
from edgex.write.keras import keras_file

INT8 = "xception-digits.int8.onnx"
VALIDATE = ("validate", "out", "--data", "digits", "--no-latency", "--threads", 1)
PRUNE = ("prune", "demo", "--method", "channels", "--train", "digits", "-o", "pruned.keras")
RUN = {"model": "demo", "target": "cpu", "calib": "digits", "data": "digits", "threads": 1, "seconds": 0.1}


def names(folder: Path) -> set[str]:
    return {file.name for file in folder.iterdir()}


def content(folder: Path) -> dict[str, bytes]:
    return {file.name: file.read_bytes() for file in folder.iterdir()}


def say(folder: Path, **keys: object) -> None:
    """Write an ``edgex.toml`` for ``edgex run``."""
    lines = [f"{key} = {json.dumps(value)}\n" for key, value in {**RUN, **keys}.items()]
    (folder / "edgex.toml").write_text("".join(lines))


# 32: no place to write

WRITING = {
    "validate": ("validate", "disk/out", "--data", "digits", "--no-latency"),
    "compile": ("compile", "disk/out"),
    "prune": (*PRUNE[:-1], "disk/pruned.keras"),
    "run": ("run",),
    "bench": ("bench", f"disk/out/{INT8}", "--save", "disk/runs.csv"),
    "sensitivity": ("sensitivity", "demo", "--target", "cpu", "--calib", "digits", "--save", "disk/found.json"),
}


@pytest.fixture
def read_only(folder: Path, project: Path) -> Iterator[None]:
    """A disk that cannot be written, with the demo's artifacts on it."""
    with mounted(folder / "disk", "size=8m") as disk:
        shutil.copytree(project / "out", disk / "out")
        subprocess.run(["mount", "-o", "remount,ro", disk], check=True)
        yield


@pytest.mark.usefixtures("read_only")
@pytest.mark.parametrize("command", WRITING)
def test_32_unwritable(command: str, folder: Path) -> None:
    if command == "run":
        say(folder, output="disk/out")
    outcome = edgex(*WRITING[command], cwd=folder)
    refused(outcome, ExitCode.INPUT_OUTPUT, "disk/", "cannot be written", "Read-only file system")
    assert "…" not in outcome.err, "the work had begun"


@pytest.mark.usefixtures("read_only")
def test_32_unwritable_for_the_gate(folder: Path) -> None:
    """The verdict is told all the same."""
    write_outcome(folder / "judged")
    for option in ("--junit", "--markdown"):
        outcome = edgex("gate", "judged", option, "disk/checks", cwd=folder)
        assert outcome.code == ExitCode.INPUT_OUTPUT
        assert "disk/checks cannot be written: Read-only file system" in outcome.err
        assert outcome.out.rstrip().endswith("pass")


def test_32_no_folder(folder: Path) -> None:
    refused(edgex(*PRUNE[:-1], "missing/pruned.keras", cwd=folder), ExitCode.INPUT_OUTPUT, "missing/pruned.keras")
    say(folder, output="missing/out")
    refused(edgex("run", cwd=folder), ExitCode.INPUT_OUTPUT, "missing/out cannot be written")
    assert names(folder) == {".git", "edgex.toml"}


# 33: a full disk


@contextmanager
def filled(disk: Path, left: int) -> Iterator[None]:
    """Leave so many bytes of a disk."""
    filler = disk / "filler"
    filler.write_bytes(bytes(shutil.disk_usage(disk).free - left))
    yield
    filler.unlink()


def test_33_full_disk_for_validate(folder: Path, project: Path) -> None:
    with mounted(folder / "disk", "size=8m") as disk:
        shutil.copytree(project / "out", disk / "out")
        assert edgex(*VALIDATE, cwd=disk).code == 0
        before = content(disk / "out")
        with filled(disk, 8192):
            outcome = edgex(*VALIDATE, cwd=disk)
            refused(outcome, ExitCode.INPUT_OUTPUT, "out/predictions.npz cannot be written", "No space left on device")
            assert content(disk / "out") == before
            assert names(disk) == {"out", "filler"}
        assert edgex(*VALIDATE, cwd=disk).code == 0
        assert content(disk / "out").keys() == before.keys()


def test_33_full_disk_for_the_ledger(folder: Path) -> None:
    with mounted(folder / "disk", "size=64k") as disk:
        (folder / ".out.stages").symlink_to(disk)
        say(folder, output="out", calib_count=8)
        assert edgex("run", cwd=folder).code == 0
        before = content(disk)
        assert before.keys() == {"run.json"}
        say(folder, output="out", calib_count=9)
        with filled(disk, 4096):
            outcome = edgex("run", cwd=folder)
            refused(outcome, ExitCode.INPUT_OUTPUT, "run.json cannot be written", "No space left on device")
            assert names(disk) == {"run.json", "filler"}
        assert content(disk) == before
        assert edgex("verify", "out", cwd=folder).code == 0
        stages = edgex("run", "--json", cwd=folder).document["stages"]
        assert [stage["cached"] for stage in stages] == [False, False, False]


@pytest.mark.slow
def test_33_full_disk_for_checkpoints(folder: Path) -> None:
    """There is room for the output, but not for what training keeps beside it."""
    with mounted(folder / "disk", "size=4m") as disk:
        (disk / "small.keras").write_bytes(keras_file(tiny_xception()))
        with np.load(digits_file()) as arrays:
            np.savez(disk / "some.npz", x=arrays["x"][:80], y=arrays["y"][:80])
        training = ("--train", "some.npz", "--epochs", 1, "--batch", 16, "--threads", 1)
        quantize = ("quantize", "small.keras", "--target", "cpu", "--calib", "digits", "--calib-count", 8, "-o", "out")
        qat = (*quantize, "--mode", "qat", *training)
        prune = ("prune", "small.keras", "--method", "channels", *training)
        room = shutil.disk_usage(disk).free
        assert edgex(*quantize, cwd=disk).code == 0
        before, taken = content(disk / "out"), room - shutil.disk_usage(disk).free
        for command, left in ((qat, taken), (prune, 32 << 10)):
            with filled(disk, left):
                outcome = edgex(*command, cwd=disk)
                refused(outcome, ExitCode.INPUT_OUTPUT, "ing.npz cannot be written", "No space left on device")
                assert content(disk / "out") == before
                assert names(disk) == {"small.keras", "some.npz", "out", "filler"}
        for command in (qat, prune):
            assert edgex(*command, cwd=disk).code == 0
        assert names(disk) == {"small.keras", "some.npz", "out", "pruned.keras"}


# 35: kill -9 between the files of a report

KILLED = """
import os, signal, sys
from pathlib import Path

from edgex.cli import main

replace, left = Path.replace, int(sys.argv.pop(1))

def replace_and_die(file, target):
    global left
    replace(file, target)
    left -= target.name in ("predictions.npz", "report.html", "report.json")
    if left == 0:
        os.kill(os.getpid(), signal.SIGKILL)

Path.replace = replace_and_die
sys.argv[0] = "edgex"
main()
"""


@pytest.mark.parametrize("renamed", [1, 2])
def test_35_a_report_of_other_predictions_is_noticed(renamed: int, folder: Path, project: Path) -> None:
    shutil.copytree(project / "out", folder / "out")
    with np.load(digits_file()) as arrays:
        chosen = np.flatnonzero(arrays["split"] == "test")[:60]
        np.savez(folder / "some.npz", x=arrays["x"][chosen], y=arrays["y"][chosen])
    validate = ("validate", "out", "--data", "some.npz", "--no-latency", "--threads", 1)
    assert edgex(*VALIDATE, cwd=folder).code == 0
    shutil.copytree(folder / "out", folder / "before")
    command = [sys.executable, "-c", KILLED, str(renamed), *map(str, validate)]
    done = subprocess.run(command, cwd=folder, env=environment(), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    assert done.returncode == -signal.SIGKILL
    assert (folder / "out" / "report.json").read_bytes() == (folder / "before" / "report.json").read_bytes()
    gate = ("gate", "out", "--baseline", "before/report.json")
    refused(edgex(*gate, cwd=folder), ExitCode.DATA_REFUSED, "predictions.npz is not the file that", "was made with")
    assert edgex(*validate, cwd=folder).code == 0
    assert names(folder / "out") == names(folder / "before")
    assert edgex(*gate, "--json", cwd=folder).document["verdict"]


# 36: two into one place

WRITERS = {
    "validate": (VALIDATE, "out"),
    "compile": (("compile", "out"), "out"),
    "quantize": (("quantize", "demo", "--target", "cpu", "--calib", "digits", "-o", "out"), "out"),
    "export": (("export", "demo", "--target", "cpu", "-o", "out"), "out"),
    "prune": (PRUNE, "pruned.keras"),
    "run": (("run",), ".out.stages/run.json"),
}


@pytest.mark.parametrize("command", WRITERS)
def test_36_the_second_is_told_who_works_there(command: str, folder: Path, project: Path) -> None:
    shutil.copytree(project / "out", folder / "out")
    (folder / ".out.stages").mkdir()
    say(folder, output="out")
    arguments, place = WRITERS[command]
    with locked(folder / place):
        outcome = edgex(*arguments, cwd=folder)
        refused(outcome, ExitCode.INPUT_OUTPUT, f"{place} is being written by process {os.getpid()}.")
        assert "…" not in outcome.err, "the work had begun"
    assert content(folder / "out") == content(project / "out")
