"""Runners: one protocol over the runtimes that execute model files. See :class:`Runner`."""

from collections.abc import Callable, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import NamedTuple

from edgex.errors import OutputError, UsageError
from edgex.runtime.litert import LiteRtRunner
from edgex.runtime.onnx_runtime import OnnxRuntimeRunner
from edgex.runtime.open_vino import OpenVinoRunner
from edgex.runtime.runner import Runner

__all__ = ["RUNTIMES", "Runner", "open_runner", "physical_cores"]


class Runtime(NamedTuple):
    """How to open a runner, from path and threads, and the suffixes of the files it takes."""

    open: Callable[[Path, int], Runner]
    suffixes: tuple[str, ...]


RUNTIMES: Mapping[str, Runtime] = MappingProxyType(
    {
        "litert": Runtime(LiteRtRunner, (".tflite",)),
        "onnxruntime": Runtime(OnnxRuntimeRunner, (".onnx",)),
        "openvino": Runtime(OpenVinoRunner, (".onnx", ".tflite")),
    }
)
"""By name; the first that takes a suffix is the usual one for it."""


def open_runner(path: Path, *, runtime: str | None = None, threads: int) -> Runner:
    """Load a model file, for use in a ``with`` statement.

    Args:
        path: a ``.tflite`` or ``.onnx`` file.
        runtime: one of ``RUNTIMES``; None for the usual one.
        threads: that one inference may use, at least 1.

    Raises:
        UsageError: an unknown runtime, one that does not take files of this suffix, no thread, or an open input size.
        OutputError: no such file.
        RuntimeMissingError: the runtime is not installed, or fell back to other hardware than asked.
        ModelError: the runtime refuses the file.
    """
    if threads < 1:
        raise UsageError(f"{threads} threads cannot run a model.", fix="Use at least 1.")
    if runtime is not None and runtime not in RUNTIMES:
        raise UsageError(f"There is no runtime {runtime!r}.", fix=f"Choose one of {', '.join(RUNTIMES)}.")
    able = [name for name, candidate in RUNTIMES.items() if path.suffix.lower() in candidate.suffixes]
    name = runtime or next(iter(able), None)
    if name not in able:
        fix = f"For this kind there is {' and '.join(able)}." if able else "Give a .tflite or .onnx file."
        raise UsageError(f"{path} is not a file that {runtime or 'edgex'} runs, by its suffix.", fix=fix)
    if not path.is_file():
        raise OutputError(f"{path} is not a file.", fix="Check the path.")
    return RUNTIMES[name].open(path, threads)


def physical_cores() -> int:
    """Cores that this process may use, not counting twins: the thread count from which on more are seldom faster."""
    import psutil

    physical = psutil.cpu_count(logical=False) or psutil.cpu_count() or 1
    try:
        return min(physical, len(psutil.Process().cpu_affinity()))
    except AttributeError:
        # macOS has no affinity
        return physical
