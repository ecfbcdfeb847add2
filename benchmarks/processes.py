"""Programs, run whole and measured from outside.

As a program of its own (``python processes.py COMMAND…``) it is the one that starts them. Linux counts the memory of
whoever starts a process towards that process' peak, so whoever does must be small; a benchmark that has evaluated
models is not.
"""

import json
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryFile
from time import perf_counter

ROOT = Path(__file__).resolve().parents[1]


@dataclass(frozen=True)
class Run:
    """A program that has ended well: seconds from start to end, the most memory it held, and what it printed."""

    seconds: float
    peak_bytes: int
    stdout: str


def run(*command: str | Path, folder: Path) -> Run:
    """Run a program in ``folder``.

    Raises:
        RuntimeError: it failed; holds what it said last.
    """
    starter = [sys.executable, __file__, *map(str, command)]
    done = subprocess.run(starter, stdout=subprocess.PIPE, text=True, check=True, cwd=folder, env=_environment())
    code, stderr, *measured = json.loads(done.stdout)
    if code:
        raise RuntimeError(f"{' '.join(map(str, command))} ended with {code}:\n{stderr[-2000:]}")
    return Run(*measured)


def edgex(*arguments: str | Path, folder: Path) -> Run:
    """Run ``edgex`` as a user would."""
    return run(sys.executable, "-m", "edgex", *arguments, folder=folder)


def _environment() -> dict[str, str]:
    environment = dict(os.environ) | {"PYTHONPATH": str(ROOT), "TF_CPP_MIN_LOG_LEVEL": "3"}
    # An installed tool is compiled once, not at every start
    environment.pop("PYTHONDONTWRITEBYTECODE", None)
    return environment


def _measure(command: list[str]) -> tuple[int, str, float, int, str]:
    with TemporaryFile() as stdout, TemporaryFile() as stderr:
        start = perf_counter()
        process = subprocess.Popen(command, stdout=stdout, stderr=stderr)
        _, status, usage = os.wait4(process.pid, 0)
        seconds = perf_counter() - start
        texts = []
        for stream in (stdout, stderr):
            stream.seek(0)
            texts.append(stream.read().decode(errors="replace"))
    peak = usage.ru_maxrss * (1 if sys.platform == "darwin" else 1024)
    return os.waitstatus_to_exitcode(status), texts[1], seconds, peak, texts[0]


if __name__ == "__main__":
    print(json.dumps(_measure(sys.argv[1:])))
