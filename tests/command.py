"""The installed ``edgex`` command in a child process, as a user runs it."""

import json
import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

EDGEX = shutil.which("edgex", path=Path(sys.executable).parent) or "edgex is not installed here"


@dataclass(frozen=True)
class Outcome:
    """How a command ended, and what it said where."""

    code: int
    out: str
    err: str

    @property
    def document(self) -> Any:
        """The one JSON document on stdout."""
        assert self.out, self.err
        return json.loads(self.out)


def environment(**changes: str) -> dict[str, str]:
    """This process's, with some variables changed; without those that bend what a terminal shows."""
    bending = ("COLUMNS", "FORCE_COLOR", "NO_COLOR", "TERM", "TTY_COMPATIBLE", "PYTHONPATH")
    return {key: value for key, value in os.environ.items() if key not in bending} | changes


def edgex(*arguments: object, cwd: Path, **variables: str) -> Outcome:
    """Run ``edgex`` with ``arguments`` in the folder ``cwd``."""
    command = [EDGEX, *map(str, arguments)]
    done = subprocess.run(command, cwd=cwd, env=environment(**variables), capture_output=True, text=True, timeout=300)
    return Outcome(done.returncode, done.stdout, done.stderr)


def start(*arguments: object, cwd: Path) -> "subprocess.Popen[str]":
    """Like :func:`edgex`, while it runs."""
    command = [EDGEX, *map(str, arguments)]
    pipe = subprocess.PIPE
    return subprocess.Popen(command, cwd=cwd, env=environment(), stdout=pipe, stderr=pipe, text=True)


def refused(outcome: Outcome, code: int, *words: str) -> str:
    """Check that a command ended with a message for people that has all ``words``, and nothing else; returns it."""
    assert outcome.code == code, outcome.err
    assert outcome.out == ""
    assert "Traceback" not in outcome.err
    message = outcome.err[outcome.err.index("error: ") :]
    for word in words:
        assert word in message, f"{word!r} is not in {message!r}"
    assert "\n  " in message, f"no fix in {message!r}"
    return message
