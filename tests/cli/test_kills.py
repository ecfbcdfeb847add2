"""Stopped at any moment, a command leaves its output as it was or whole, and the next time makes what it would have.

The moments are drawn, the same ones each time, from all of a run and once more from its end, where it writes.
"""

import os
import re
import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from random import Random

import numpy as np
import pytest
from command import EDGEX, edgex, environment
from graphs import tiny_xception

from edgex.errors import ExitCode
from edgex.manifest import verify
from edgex.predictions import load_predictions
from edgex.report import read_report
from edgex.resources import digits_file
from edgex.write.keras import keras_file

QUANTIZE = ("quantize", "--target", "cpu", "--calib", "digits", "--calib-count", "8", "--threads", "1", "-o", "out")
TRAIN = ("small.keras", "--mode", "qat", "--train", "some.npz", "--epochs", "3", "--batch", "16")
VALIDATE = ("validate", "out", "--data", "some.npz", "--no-latency", "--threads", "1")
FILES = ("predictions.npz", "report.html", "report.json")
KEPT = ".validate.npz"

ENDED = (0, ExitCode.INTERRUPTED, -signal.SIGINT, -signal.SIGKILL)
"""How a run may end that is stopped: one that is not yet there to say 130 ends by the signal itself."""


@dataclass(frozen=True)
class Stop:
    """One stopped run.

    Attributes:
        by: the signal.
        since: the file with whose appearance time begins to count; "" for the start.
        share: of the time that an undisturbed run takes from there.
        again: whether there is an earlier output.
    """

    by: signal.Signals
    since: str
    share: float
    again: bool

    def __str__(self) -> str:
        place = f"{Path(self.since).name or 'start'}+{self.share:.3f}"
        return f"{self.by.name}-{place}-{'again' if self.again else 'first'}"


def stops(seed: str, counts: Iterable[tuple[str, int]]) -> list[Stop]:
    """So many since each file, spread over the time from there, each fifth by Ctrl-C."""
    random = Random(seed)
    return [
        Stop(
            signal.SIGINT if number % 5 == 4 else signal.SIGKILL,
            since,
            (number + random.random()) / count,
            random.random() < 0.5,
        )
        for since, count in counts
        for number in range(count)
    ]


@dataclass(frozen=True)
class Job:
    """A command, and how it goes undisturbed.

    Attributes:
        command: its arguments.
        project: the folder before.
        seconds: from the appearance of each file that stops count from to the end.
        whole: the output.
        before: an earlier output, of other options.
    """

    command: Sequence[str]
    project: Path
    seconds: dict[str, float]
    whole: dict[str, bytes]
    before: Path


def content(folder: Path) -> dict[str, bytes]:
    return {file.name: file.read_bytes() for file in folder.iterdir()}


def names(folder: Path) -> set[str]:
    return {file.name for file in folder.iterdir()}


def start(command: Sequence[str], folder: Path) -> "subprocess.Popen[bytes]":
    """In a group of its own, as a shell starts it: Ctrl-C reaches all of the group, kill only the process."""
    silent = subprocess.DEVNULL
    return subprocess.Popen(
        [EDGEX, *command], cwd=folder, env=environment(), stdout=silent, stderr=silent, start_new_session=True
    )


def appeared(file: Path, process: "subprocess.Popen[bytes]") -> float:
    """When a file was first seen there, or the process was over."""
    while not file.exists() and process.poll() is None:
        time.sleep(0.0005)
    return time.monotonic()


def watched(command: Sequence[str], folder: Path, sinces: Iterable[str]) -> dict[str, float]:
    """Run a command, and measure the seconds from the appearance of each file to the end."""
    process = start(command, folder)
    seen = {since: appeared(folder / since, process) for since in sinces}
    assert process.wait(300) == 0
    return {since: time.monotonic() - when for since, when in seen.items()}


def stopped(job: Job, stop: Stop, folder: Path) -> int:
    """Start the command and stop it; its exit code."""
    process = start(job.command, folder)
    appeared(folder / stop.since, process)
    try:
        return process.wait(stop.share * job.seconds[stop.since])
    except subprocess.TimeoutExpired:
        if stop.by is signal.SIGINT:
            os.killpg(process.pid, signal.SIGINT)
        else:
            process.kill()
        return process.wait(60)


def job(
    folder: Path, command: Sequence[str], prepare: Callable[[Path], None], earlier: Sequence[str], sinces: Iterable[str]
) -> Job:
    """Run ``earlier`` and ``command`` undisturbed, each in a project that ``prepare`` makes."""
    project, before, whole = (folder / name for name in ("project", "before", "whole"))
    for each in (project, before, whole):
        (each / ".git").mkdir(parents=True)
        prepare(each)
    outcome = edgex(*earlier, cwd=before)
    assert outcome.code == 0, outcome.err
    seconds = watched(command, whole, sinces)
    return Job(command, project, seconds, content(whole / "out"), before / "out")


def project_for(job: Job, stop: Stop, folder: Path) -> Path:
    """A project of its own to be stopped in."""
    project = shutil.copytree(job.project, folder / "project")
    if stop.again:
        shutil.copytree(job.before, project / "out", dirs_exist_ok=True)
    return project


# quantize

PARTS = ("", ".out.partial/plan.json", ".out.partial/manifest.json")
QUANTIZE_STOPS = stops("quantize", zip(PARTS, (15, 8, 8), strict=True))


@pytest.fixture(scope="module")
def quantizing(tmp_path_factory: pytest.TempPathFactory) -> Job:
    command = (*QUANTIZE, "demo")
    earlier = (*command, "--method", "minmax")
    return job(tmp_path_factory.mktemp("quantizing"), command, lambda _: None, earlier, PARTS)


def check_directory(job: Job, stop: Stop, code: int, project: Path) -> bool:
    """The output is the earlier or the new one, beside it no more than edgex.output says; whether it is the new one."""
    assert code in ENDED
    out = project / "out"
    done = False
    if stop.again or out.exists():
        assert verify(out) == []
        done = content(out) == job.whole
        assert done or (stop.again and content(out) == content(job.before))
    left = names(project) - names(job.project) - {"out"}
    killed = code == -signal.SIGKILL
    passing = {".out.lock", ".out.partial"} if killed else set()
    assert left <= passing | ({".out.unfinished"} if code else set())
    return done


def check_next(job: Job, project: Path) -> None:
    """The same command makes what an undisturbed one makes, and leaves nothing else."""
    outcome = edgex(*job.command, cwd=project)
    assert outcome.code == 0, outcome.err
    assert content(project / "out") == job.whole
    assert names(project) == names(job.project) | {"out"}


@pytest.mark.parametrize("stop", QUANTIZE_STOPS, ids=str)
def test_quantize(stop: Stop, quantizing: Job, tmp_path: Path) -> None:
    project = project_for(quantizing, stop, tmp_path)
    code = stopped(quantizing, stop, project)
    check_directory(quantizing, stop, code, project)
    assert not (project / ".out.unfinished").exists()
    check_next(quantizing, project)


# quantize --mode qat

CHECKPOINT = ".out.unfinished/training.npz"
TRAIN_STOPS = stops("train", (("", 2), (CHECKPOINT, 2), (".out.partial/plan.json", 1)))


def some_images(file: Path, split: str, count: int) -> None:
    with np.load(digits_file()) as arrays:
        chosen = np.flatnonzero(arrays["split"] == split)[:count]
        np.savez(file, x=arrays["x"][chosen], y=arrays["y"][chosen])


@pytest.fixture(scope="module")
def training(tmp_path_factory: pytest.TempPathFactory) -> Job:
    def prepare(project: Path) -> None:
        (project / "small.keras").write_bytes(keras_file(tiny_xception()))
        some_images(project / "some.npz", "train", 80)

    command = (*QUANTIZE, *TRAIN)
    earlier = (*QUANTIZE, "small.keras")
    sinces = ("", CHECKPOINT, ".out.partial/plan.json")
    return job(tmp_path_factory.mktemp("training"), command, prepare, earlier, sinces)


@pytest.mark.slow
@pytest.mark.parametrize("stop", TRAIN_STOPS, ids=str)
def test_training(stop: Stop, training: Job, tmp_path: Path) -> None:
    project = project_for(training, stop, tmp_path)
    code = stopped(training, stop, project)
    done = check_directory(training, stop, code, project)
    unfinished = (project / CHECKPOINT).parent
    assert not unfinished.exists() or names(unfinished) <= {"training.npz", ".partial.training.npz"}
    assert done or stop.since == "" or (project / CHECKPOINT).exists()
    check_next(training, project)


# validate

VALIDATE_STOPS = stops("validate", (("", 7), (f"out/{KEPT}", 7)))


@pytest.fixture(scope="module")
def validating(project: Path, tmp_path_factory: pytest.TempPathFactory) -> Job:
    def prepare(folder: Path) -> None:
        shutil.copytree(project / "out", folder / "out")
        some_images(folder / "some.npz", "test", 60)
        some_images(folder / "other.npz", "test", 20)

    earlier = [word.replace("some", "other") for word in VALIDATE]
    return job(tmp_path_factory.mktemp("validating"), VALIDATE, prepare, earlier, ("", f"out/{KEPT}"))


def measured(files: dict[str, bytes]) -> dict[str, bytes]:
    """Files without the memory that was measured, and without the page, which shows it."""
    return {name: re.sub(rb'"peak_bytes": \d+', b"", each) for name, each in files.items() if name != "report.html"}


@pytest.mark.parametrize("stop", VALIDATE_STOPS, ids=str)
def test_validate(stop: Stop, validating: Job, tmp_path: Path) -> None:
    project = project_for(validating, stop, tmp_path)
    out, given = project / "out", names(project / "out") - set(FILES)
    code = stopped(validating, stop, project)
    assert code in ENDED
    check_validated(validating, stop, out)
    passing = {".out.lock", *(f".partial.{name}" for name in (*FILES, KEPT))} if code == -signal.SIGKILL else set()
    assert names(project) <= names(validating.project) | passing
    assert given <= names(out) <= given | {*FILES, KEPT} | passing
    outcome = edgex(*VALIDATE, cwd=project)
    assert outcome.code == 0, outcome.err
    assert measured(content(out)) == measured(validating.whole)
    assert names(out) == given | set(FILES)
    assert names(project) == names(validating.project)


def check_validated(job: Job, stop: Stop, out: Path) -> None:
    """Artifacts are as they were; what there is of a validation is whole, each file the earlier or the new one."""
    assert verify(out) == []
    found = content(out)
    assert set(FILES) <= found.keys() or not stop.again
    before, whole = measured(content(job.before)), measured(job.whole)
    for name, each in measured(found).items():
        assert name.startswith(".") or each in (before.get(name), whole.get(name)), name
    if "report.json" in found:
        read_report(out / "report.json")
    if KEPT in found:
        load_predictions(out / KEPT)
    assert found.get("report.html", b"</html>").rstrip().endswith(b"</html>")
