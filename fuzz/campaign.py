"""Trying many inputs on many targets: processes started, started again where one died, and what they found."""

import importlib
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from fuzz.worker import FAILED

ROOT = Path(__file__).resolve().parents[1]
MEMORY_DISK = Path("/dev/shm")
"""Where inputs are written if there is one: millions of files would wear out another."""

STACK = "most recent call first"
FRAME = re.compile(rf'File "{re.escape(str(ROOT))}/((?:edgex|fuzz(?!/coverage))/[^"]+)", line (\d+)')
"""Of what Python's fault handler writes: how a stack begins, and a line of it that is ours."""


@dataclass(frozen=True)
class Finding:
    """Something other than an EdgexError.

    Attributes:
        kind: of exception, or the signal that ended the process; SIGPROF and SIGALRM, where it took or waited too long.
        where: the innermost line of edgex.
        message: of the exception.
        input: the first file that showed it.
    """

    kind: str
    where: str
    message: str
    input: Path


@dataclass
class Tally:
    """What became of the inputs of a target.

    Attributes:
        outcomes: how many were accepted, refused, and failed.
        lines: of edgex that were reached.
        findings: of a kind in one place, the first.
    """

    target: str
    outcomes: Counter[str] = field(default_factory=Counter)
    lines: int = 0
    findings: list[Finding] = field(default_factory=list)

    @property
    def inputs(self) -> int:
        return self.outcomes.total()


@dataclass(frozen=True)
class Campaign:
    """How to fuzz.

    Attributes:
        inputs: for each target.
        save: folder for the inputs of findings; they are named after target and number.
        seed: of all inputs. What is kept, and so what comes next, depends on edgex' source as well.
        processes: at a time.
        module: that has the ``TARGETS``.
    """

    inputs: int
    save: Path
    seed: str = "0"
    processes: int = 2
    module: str = "fuzz.targets"

    def run(self, targets: Sequence[str], report: Callable[[Tally], None]) -> list[Tally]:
        """Fuzz some targets; ``report`` is called with each that is done."""

        def fuzz(target: str) -> Tally:
            tally = self._fuzz(target)
            report(tally)
            return tally

        with ThreadPoolExecutor(self.processes) as executor:
            return list(executor.map(fuzz, targets))

    def _fuzz(self, target: str) -> Tally:
        tally = Tally(target)
        disk = MEMORY_DISK if MEMORY_DISK.is_dir() else None
        with tempfile.TemporaryDirectory(prefix="edgex-fuzz-", dir=disk) as folder:
            while tally.inputs < self.inputs:
                self._until_death(tally, Path(folder))
        return tally

    def _until_death(self, tally: Tally, folder: Path) -> None:
        """One process, to the last input or the first that kills it."""
        arguments = (self.module, tally.target, folder, tally.inputs, self.inputs - tally.inputs, self.seed)
        command = [sys.executable, "-m", "fuzz.worker", *map(str, arguments)]
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT), *filter(None, sys.path)])}
        pipe = subprocess.PIPE
        with tempfile.TemporaryFile() as stderr:
            with subprocess.Popen(command, stdout=pipe, stderr=stderr, text=True, env=environment) as process:
                assert process.stdout is not None
                for line in process.stdout:
                    self._count(tally, json.loads(line), folder)
            if process.returncode:
                stderr.seek(0)
                self._count_death(tally, process.returncode, stderr.read().decode("utf-8", "replace"), folder)

    def _count(self, tally: Tally, said: dict[str, Any], folder: Path) -> None:
        if said["outcome"] == "failed":
            self._found(tally, said["kind"], said["where"], said["message"], folder / FAILED / str(tally.inputs))
        tally.outcomes[said["outcome"]] += 1
        tally.lines = max(tally.lines, said["lines"])  # a process that takes over begins at none

    def _count_death(self, tally: Tally, code: int, said: str, folder: Path) -> None:
        """RuntimeError if it was not by a signal: then no input is to blame."""
        if code > 0:
            raise RuntimeError(f"the process for {tally.target} ended with {code}: {said[-2000:]}")
        frame = FRAME.search(said, max(0, said.rfind(STACK)))
        where = f"{frame[1]}:{frame[2]}" if frame else "?"
        target = importlib.import_module(self.module).TARGETS[tally.target]
        self._found(tally, signal.Signals(-code).name, where, "", folder / target.file)
        tally.outcomes["failed"] += 1

    def _found(self, tally: Tally, kind: str, where: str, message: str, content: Path) -> None:
        if all((finding.kind, finding.where) != (kind, where) for finding in tally.findings):
            self.save.mkdir(parents=True, exist_ok=True)
            file = self.save / f"{tally.target}-{tally.inputs}"
            shutil.copy(content, file)
            tally.findings.append(Finding(kind, where, message, file))
