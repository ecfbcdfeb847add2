"""The runtimes that edgex knows, and which of them take a file."""

from collections.abc import Collection, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import NamedTuple

from edgex.errors import OutputError, RuntimeMissingError, UsageError


class Runtime(NamedTuple):
    """The suffixes of the files a runtime takes, how it is installed, and whether it is for other than the CPU."""

    suffixes: tuple[str, ...]
    install: str
    accelerated: bool = False


RUNTIMES: Mapping[str, Runtime] = MappingProxyType(
    {
        "litert": Runtime((".tflite",), "pip install ai-edge-litert"),
        "tflite-runtime": Runtime(
            (".tflite",),
            "pip install tflite-runtime 'numpy<2', in a Python 3.11 or older of its own; give it by --python",
        ),
        "onnxruntime": Runtime((".onnx",), "pip install onnxruntime"),
        "onnxruntime-cuda": Runtime((".onnx",), "pip install onnxruntime-gpu, in place of onnxruntime", True),
        "onnxruntime-tensorrt": Runtime(
            (".onnx",), "pip install onnxruntime-gpu tensorrt, in place of onnxruntime", True
        ),
        "openvino": Runtime((".onnx", ".tflite", ".xml"), "pip install 'edgex[openvino]'"),
    }
)
"""By name. Of those that take a file and are installed, the first is the usual one."""


def runtimes_for(path: Path, installed: Collection[str], asked: Collection[str] = ()) -> tuple[str, ...]:
    """The runtimes to run a file by: those asked for that take such files, or all that are installed.

    Raises:
        UsageError: one asked for is unknown, or none takes files of this suffix.
        OutputError: no such file.
        RuntimeMissingError: none that takes the file is installed, or one asked for is not.
    """
    for name in asked:
        if name not in RUNTIMES:
            raise UsageError(f"There is no runtime {name!r}.", fix=f"Choose one of {', '.join(RUNTIMES)}.")
    able = [name for name, runtime in RUNTIMES.items() if path.suffix.lower() in runtime.suffixes]
    wanted = [name for name in able if name in (asked or installed)]
    if not able or (asked and not wanted):
        fix = f"For this kind there is {', '.join(able)}." if able else "Give a .tflite or .onnx file."
        raise UsageError(f"{path} is not a file that {' or '.join(asked) or 'edgex'} runs, by its suffix.", fix=fix)
    if not path.is_file():
        raise OutputError(f"{path} is not a file.", fix="Check the path.")
    absent = [name for name in wanted or able[:1] if name not in installed]
    if absent:
        raise missing(absent[0])
    return tuple(wanted)


def missing(runtime: str, why: str = "it is not installed here") -> RuntimeMissingError:
    """The error that says how to install a runtime."""
    fix = f"Install it: {RUNTIMES[runtime].install}."
    return RuntimeMissingError(f"{runtime} cannot be used: {why}.", fix=fix)
