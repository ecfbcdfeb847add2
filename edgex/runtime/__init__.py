"""Runtimes: model files are run in processes of their own, never in this one. See :class:`Runner`."""

from collections.abc import Collection, Mapping
from functools import cache
from pathlib import Path

from edgex.errors import UsageError
from edgex.runtime import worker
from edgex.runtime.cores import one_core, physical_cores
from edgex.runtime.process import Limits, Worker
from edgex.runtime.registry import RUNTIMES, runtimes_for
from edgex.runtime.runner import Runner

__all__ = [
    "RUNTIMES",
    "Limits",
    "Runner",
    "Worker",
    "describe_python",
    "installed_runtimes",
    "one_core",
    "open_runner",
    "physical_cores",
    "runtimes_for",
]


def open_runner(
    path: Path,
    *,
    runtime: str | None = None,
    threads: int,
    python: Path | None = None,
    external_data: bool = False,
) -> Runner:
    """Load a model file, for use in a ``with`` statement.

    Args:
        path: a ``.tflite`` or ``.onnx`` file, or OpenVINO's ``.xml``.
        runtime: one of ``RUNTIMES``; None for the usual one.
        threads: that one inference may use, at least 1.
        python: the interpreter to run it in; None for this one.
        external_data: an ``.onnx`` may keep weights in plain files beside itself.

    Raises:
        UsageError: an unknown runtime, one that does not take files of this suffix, no thread, or an open input size.
        OutputError: no such file.
        RuntimeMissingError: the runtime is not installed, or not for the hardware asked.
        ModelError: the file keeps weights where it may not, or the runtime refuses it, crashes on it, or takes more
            time or memory than allowed.
    """
    if threads < 1:
        raise UsageError(f"{threads} threads cannot run a model.", fix="Use at least 1.")
    name, *_ = runtimes_for(path, installed_runtimes(python), () if runtime is None else (runtime,))
    return Runner(path, name, threads, python, Limits(external_data=external_data))


@cache
def installed_runtimes(python: Path | None = None) -> Collection[str]:
    """The runtimes of an interpreter; None for this one. RuntimeMissingError if it cannot run models."""
    return worker.installed() if python is None else describe_python(python)[1].keys()


def describe_python(python: Path | None = None) -> tuple[str, Mapping[str, str]]:
    """An interpreter's version, and the versions of the runtimes that it has; None for this one.

    Raises:
        RuntimeMissingError: it cannot be started, is older than 3.8, or has no numpy.
    """
    with Worker(python) as process:
        answer, _ = process.ask("describe", process.limits.run_seconds)
    return answer["python"], answer["runtimes"]
