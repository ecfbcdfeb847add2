"""The process in which a reader is tried: ``python -m fuzz.worker MODULE TARGET FOLDER FIRST INPUTS SEED``.

It makes the inputs of these numbers and says in a line of JSON for each how it went. Whatever kills it, a crash or its
own clock, leaves the input in the folder, and on stderr where it was. Inputs that reached new lines are kept there,
so that one that takes its place goes on from them.
"""

import faulthandler
import importlib
import json
import os
import resource
import shutil
import signal
import sys
import traceback
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from random import Random

from edgex.errors import EdgexError
from fuzz.bytewise import mutate_bytes
from fuzz.coverage import PACKAGE, Coverage
from fuzz.targets import Target

WAITING = 30
"""Times as long may pass by the clock as the processor may take: other processes want it, too."""

MEMORY = 1 << 30
"""Bytes that reading one input may take: a few times the largest image that is allowed, decoded."""

STATM = Path("/proc/self/statm")
"""Pages of memory by use, the sixth figure that of data (proc_pid_statm(5)); on Linux alone."""

LONGEST_MESSAGE = 200

LARGEST = 1 << 18
"""Bytes of an input. Changes that repeat a part would make it longer and longer."""

KEPT, FAILED = "kept", "failed"
"""Folders of the inputs that reached new lines, and of those that raised what they must not, by number."""


def main() -> None:
    module, name, folder, first, inputs, seed = sys.argv[1:]
    target: Target = importlib.import_module(module).TARGETS[name]
    answers = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)  # what a library prints must not get among the answers
    faulthandler.enable()
    for overdue in (signal.SIGPROF, signal.SIGALRM):
        faulthandler.register(overdue, all_threads=False, chain=True)  # and then it kills, as it does by default
    warnings.simplefilter("ignore")
    os.chdir(folder)
    trial = Trial(target, Path(folder), seed)
    for number in range(int(first), int(first) + int(inputs)):
        print(json.dumps(trial.run(number)), file=answers)


def lay_out(target: Target, folder: Path) -> None:
    """Put into a folder what a reader looks for beside the input."""
    (folder / ".git").mkdir(exist_ok=True)  # edgex looks for settings no further up
    for file in target.beside:
        shutil.copy(file, folder)


class Trial:
    """A target, tried in a folder."""

    def __init__(self, target: Target, folder: Path, seed: str) -> None:
        self._target = target
        self._folder = folder
        self._seed = seed
        self._coverage = Coverage()
        self._faults: set[tuple[str, str]] = set()
        lay_out(target, folder)
        for part in (KEPT, FAILED):
            (folder / part).mkdir(exist_ok=True)
        self._seeds = target.seeds()
        self._pool = [*self._seeds, *(file.read_bytes() for file in sorted((folder / KEPT).iterdir()))]

    def run(self, number: int) -> dict[str, str | int]:
        """Make an input and have it read.

        Returns:
            ``outcome``: accepted, refused or failed; ``lines`` of edgex reached so far; of a failure the ``kind`` of
            exception, its ``message``, and ``where`` in the source it came from.
        """
        before = len(self._coverage)
        file = self._folder / self._target.file
        content = self._input(number)
        file.write_bytes(content)
        with bounded(self._target.seconds):
            said = attempt(self._target, file, self._coverage)
        if said["outcome"] == "failed":
            self._keep_failed(number, content, (said["kind"], said["where"]))
        elif len(self._coverage) > before and number >= len(self._seeds):
            self._pool.append(content)
            (self._folder / KEPT / f"{number:09}").write_bytes(content)
        return {**said, "lines": len(self._coverage)}

    def _keep_failed(self, number: int, content: bytes, fault: tuple[str, str]) -> None:
        """The first of its kind."""
        if fault not in self._faults:
            self._faults.add(fault)
            (self._folder / FAILED / str(number)).write_bytes(content)

    def _input(self, number: int) -> bytes:
        """The seeds as they are, and then what becomes of them and of what was kept."""
        if number < len(self._seeds):
            return self._seeds[number]
        random = Random(f"{self._seed}/{self._target.name}/{number}")
        parent, other = random.choice(self._pool), random.choice(self._pool)
        content = self._target.mutate(random, parent, other)
        return content if len(content) <= LARGEST else mutate_bytes(random, parent, other)[:LARGEST]


def attempt(target: Target, file: Path, coverage: Coverage) -> dict[str, str]:
    """Have a file read; see :meth:`Trial.run`."""
    try:
        with coverage.watched():
            target.read(file)
    except EdgexError:
        return {"outcome": "refused"}
    except KeyboardInterrupt:
        raise
    except BaseException as error:  # noqa: BLE001  this is what is looked for
        return {
            "outcome": "failed",
            "kind": type(error).__name__,
            "where": place(error),
            "message": str(error)[:LONGEST_MESSAGE],
        }
    return {"outcome": "accepted"}


def place(error: BaseException) -> str:
    """The innermost line of edgex that an error came through, or of anything else if it is not edgex's."""
    frames = traceback.extract_tb(error.__traceback__)
    ours = [frame for frame in frames if frame.filename.startswith(PACKAGE)] or frames
    return f"{os.path.relpath(ours[-1].filename, Path(PACKAGE).parent)}:{ours[-1].lineno}"


@contextmanager
def bounded(seconds: float) -> Iterator[None]:
    """Limits on time and memory. Over the first the process is killed, over the second there is a MemoryError."""
    _, hard = resource.getrlimit(resource.RLIMIT_DATA)
    resource.setrlimit(resource.RLIMIT_DATA, (_data_bytes() + MEMORY if STATM.exists() else hard, hard))
    signal.setitimer(signal.ITIMER_PROF, seconds)
    signal.setitimer(signal.ITIMER_REAL, WAITING * seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
        signal.setitimer(signal.ITIMER_REAL, 0)
        resource.setrlimit(resource.RLIMIT_DATA, (hard, hard))


def _data_bytes() -> int:
    """What RLIMIT_DATA counts, so far."""
    return int(STATM.read_text().split()[5]) * resource.getpagesize()


if __name__ == "__main__":
    main()
