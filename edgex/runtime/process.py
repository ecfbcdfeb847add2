"""A model file in a process of its own: started, spoken to, watched and ended. The other end is :mod:`.worker`.

A runtime that crashes, hangs or eats memory takes its process with it, and here becomes an error.
"""

import contextlib
import math
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from threading import Event, Thread
from time import monotonic
from typing import Any, BinaryIO, Self, cast

import numpy as np
from numpy.typing import NDArray

from edgex.errors import EdgexError, ModelError, RuntimeMissingError
from edgex.model_file import check_model_file
from edgex.runtime import worker
from edgex.runtime.registry import missing

WORKER = Path(worker.__file__)
WATCH_SECONDS = 0.2
OTHERWISE = "Write the file anew, or run it by another runtime."

LARGEST_INPUT = 1 << 30
"""Bytes of one input of a file, which is made here: an image of 64 megapixels takes 0.75 GiB in float."""

LARGEST_ANSWER = 1 << 32
"""Bytes that a file may give at once: all layers of a network may be asked for."""


@dataclass(frozen=True)
class Limits:
    """What a model file may use.

    Attributes:
        memory: bytes that its process may allocate; None for nine tenths of what the machine has free.
        open_seconds: to load it, which takes a while where the runtime compiles it.
        run_seconds: for one inference.
        external_data: an ``.onnx`` may keep weights in plain files beside itself.
    """

    memory: int | None = None
    open_seconds: float = 300.0
    run_seconds: float = 60.0
    external_data: bool = False

    def bytes(self) -> int:
        """``memory``, or what stands for None."""
        import psutil

        return self.memory or psutil.virtual_memory().available * 9 // 10


class Worker:
    """The process; a context manager. One thread at a time may ask.

    Args:
        python: the interpreter to run it in; None for this one.
        limits: see there.
        program: what to run in it: :mod:`.worker`, or one that answers more.

    Raises:
        RuntimeMissingError: there is no such Python.
    """

    def __init__(self, python: Path | None = None, limits: Limits | None = None, program: Path = WORKER) -> None:
        self.limits = limits or Limits()
        self._python = python
        self._path: Path | None = None
        self._runtime = ""
        self._said = tempfile.TemporaryFile()  # noqa: SIM115  closed with the worker
        command = [str(python or sys.executable), str(program), str(self.limits.bytes())]
        try:
            self._process = subprocess.Popen(  # noqa: S603  the Python that the user names
                command,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=self._said,
                process_group=0,  # a stopped process whose parent dies is then ended by the system
            )
        except OSError as error:
            self._said.close()
            raise RuntimeMissingError(
                f"{command[0]} cannot be started: {error.strerror}.",
                fix="Give the path of a Python, like env/bin/python.",
            ) from error
        self._requests, self._answers = cast(BinaryIO, self._process.stdin), cast(BinaryIO, self._process.stdout)
        self._deadline: float | None = None
        self._overdue = False
        self._closed = Event()
        Thread(target=self._watch, name="edgex-watch", daemon=True).start()

    def open(self, path: Path, runtime: str, threads: int) -> dict[str, Any]:
        """Load a file; ``inputs`` and ``outputs`` are those of :class:`edgex.runtime.worker.Port`.

        Raises:
            ModelError: the runtime refuses the file, crashes on it, or takes more than the limits allow.
            RuntimeMissingError: the runtime, or the hardware that it is for, is not here.
        """
        answer, _ = self.ask("open", self.limits.open_seconds, path=str(path), runtime=runtime, threads=threads)
        for port in answer["inputs"]:
            if not _is_numeric(port["dtype"]):
                raise ModelError(
                    f"{path} takes {port['dtype']} at its input {port['name']}, and edgex gives numbers.",
                    fix="Give a model that takes numbers.",
                )
            size = math.prod(side or 1 for side in port["shape"]) * np.dtype(port["dtype"]).itemsize
            if size > LARGEST_INPUT:
                raise ModelError(
                    f"{path} takes {size >> 20:,} MiB at its input {port['name']}, and edgex gives at most "
                    f"{LARGEST_INPUT >> 20:,}.",
                    fix="Give a model of smaller images.",
                )
        return answer

    def compile(self, path: Path, runtime: str, output: Path) -> None:
        """Write a file as a runtime would have it; errors as :meth:`open`."""
        self.ask("compile", self.limits.open_seconds, path=str(path), runtime=runtime, output=str(output))

    def ask(
        self, request: str, patience: float, arrays: Sequence[NDArray[Any]] = (), **header: Any
    ) -> tuple[dict[str, Any], list[NDArray[Any]]]:
        """Send a request and wait for the answer, ``patience`` seconds at most; errors as :meth:`open`."""
        if "path" in header:
            self._path, self._runtime = Path(header["path"]), header["runtime"]
            check_model_file(self._path, external_data=self.limits.external_data)
        self._deadline = monotonic() + patience
        try:
            worker.write_message(self._requests, {"do": request, **header}, list(arrays))
            answer, results = worker.read_message(self._answers, LARGEST_ANSWER)
        except (EOFError, OSError):
            raise self._end(patience) from None
        except OverflowError:
            self._process.kill()
            raise ModelError(
                f"{self._path} gives more than {LARGEST_ANSWER >> 30} GiB at once, by {self._runtime}.", fix=OTHERWISE
            ) from None
        except ValueError:
            raise self._no_python("it says what is no answer; does it print something when it starts?") from None
        finally:
            self._deadline = None
        if "error" in answer:
            raise self._refusal(answer["kind"], answer["error"])
        return answer, results

    def _watch(self) -> None:
        while not self._closed.wait(WATCH_SECONDS):
            deadline = self._deadline
            if deadline is not None and monotonic() > deadline:
                self._overdue = True
                self._process.kill()

    def _refusal(self, kind: str, message: str) -> EdgexError:
        if kind == "missing":
            return missing(self._runtime, message)
        return ModelError(f"{self._runtime} refuses {self._path}: {message}", fix=OTHERWISE)

    def _end(self, patience: float) -> EdgexError:
        """What to say of a process that ended without an answer."""
        self._process.kill()
        code = self._process.wait()
        if self._overdue:
            what = f"gave no answer within {patience:g} seconds and was stopped"
        elif code < 0:
            what = f"crashed ({signal.Signals(-code).name})"
        else:  # an error of Python itself, such as a missing numpy; what crashes dies of a signal
            return self._no_python(self._last_words())
        if self._path is None:
            return self._no_python(f"it {what}")
        return ModelError(f"{self._runtime} {what}, on {self._path}.", fix=OTHERWISE)

    def _no_python(self, why: str) -> RuntimeMissingError:
        return RuntimeMissingError(
            f"{self._python or sys.executable} cannot run models: {why}.",
            fix="Give a Python 3.8 or newer with numpy and a runtime.",
        )

    def _last_words(self) -> str:
        self._said.seek(0)
        lines = self._said.read().decode(errors="replace").strip().splitlines()
        return lines[-1] if lines else "it said nothing"

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def pause(self) -> None:
        """Stop all of the process' threads where they are, until :meth:`resume`."""
        self._process.send_signal(signal.SIGSTOP)
        if hasattr(os, "waitid"):  # Python has it on macOS only from 3.13 on
            os.waitid(os.P_PID, self._process.pid, os.WSTOPPED | os.WEXITED | os.WNOWAIT)

    def resume(self) -> None:
        """Go on after :meth:`pause`."""
        self._process.send_signal(signal.SIGCONT)

    def close(self) -> None:
        """End the process at once; it has nothing to lose."""
        self._closed.set()
        self._process.kill()
        self._process.wait()
        for stream in (self._requests, self._answers, self._said):
            with contextlib.suppress(BrokenPipeError):
                stream.close()


def _is_numeric(name: str) -> bool:
    try:
        return np.dtype(name).kind in "biuf"
    except TypeError:  # one that numpy has not, such as bfloat16
        return False
