"""What is here to run models, and what is missing."""

import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

from edgex.cpu import Cpu, advice, read_cpu
from edgex.runtime import RUNTIMES, describe_python, physical_cores

EXTRAS: Mapping[str, tuple[tuple[str, ...], str]] = {
    "train": (("tensorflow", "tf_keras", "tensorflow_model_optimization"), "pruning and training for INT8"),
    "openvino": (("openvino",), "the runtime openvino, and its IR"),
}
"""The extras of edgex: the modules each brings, and what for."""

PROGRAMS = {"trtexec": "builds TensorRT engines", "nvidia-smi": "comes with NVIDIA's driver"}


@dataclass(frozen=True)
class RuntimeState:
    """A runtime: its version, None where it is missing, and how it is installed."""

    name: str
    version: str | None
    install: str


@dataclass(frozen=True)
class Diagnosis:
    """What :func:`diagnose` found.

    Attributes:
        python: version of the interpreter asked.
        threads: that edgex gives a runtime if not told otherwise.
        extras: of edgex, and whether they are installed.
        programs: paths of other programs; None where one is not in PATH.
        advice: sentences about what this machine means for models.
    """

    python: str
    runtimes: tuple[RuntimeState, ...]
    cpu: Cpu
    threads: int
    extras: Mapping[str, bool]
    programs: Mapping[str, str | None]
    advice: tuple[str, ...]


def diagnose(python: Path | None = None) -> Diagnosis:
    """Look at the machine, and at the runtimes of an interpreter; None for this one.

    Raises:
        RuntimeMissingError: the interpreter is none that can run models.
    """
    version, found = describe_python(python)
    cpu = read_cpu()
    return Diagnosis(
        python=version,
        runtimes=tuple(RuntimeState(name, found.get(name), entry.install) for name, entry in RUNTIMES.items()),
        cpu=cpu,
        threads=physical_cores(),
        extras={name: all(find_spec(module) for module in modules) for name, (modules, _) in EXTRAS.items()},
        programs={name: shutil.which(name) for name in PROGRAMS},
        advice=advice(cpu),
    )
