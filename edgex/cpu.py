"""What the CPU can do for a quantized model, as the operating system tells it, and what that means.

Linux lists the features in ``/proc/cpuinfo``, macOS by ``sysctl``. Elsewhere they are not known: nothing is guessed.
A kernel that is older than a feature does not list it.
"""

import platform
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import NamedTuple

Features = Mapping[str, bool | None]

X86 = "x86_64"
ARM = "aarch64"
ARCHITECTURES = {"x86_64": X86, "amd64": X86, "aarch64": ARM, "arm64": ARM}
"""By the names that systems give them, in lower case."""


class _Traces(NamedTuple):
    """Where a feature shows: any of some words of ``/proc/cpuinfo``, and a key of ``sysctl``, if it has one."""

    words: tuple[str, ...]
    key: str | None = None


FEATURES: Mapping[str, Mapping[str, _Traces]] = MappingProxyType(
    {
        X86: {
            "AVX2": _Traces(("avx2",), "hw.optional.avx2_0"),
            "AVX-512": _Traces(("avx512f",), "hw.optional.avx512f"),
            "VNNI": _Traces(("avx512_vnni", "avx_vnni")),
            "AMX-INT8": _Traces(("amx_int8",)),
            "BF16": _Traces(("avx512_bf16", "amx_bf16")),
        },
        ARM: {
            "dot product": _Traces(("asimddp",), "hw.optional.arm.FEAT_DotProd"),
            "I8MM": _Traces(("i8mm",), "hw.optional.arm.FEAT_I8MM"),
            "BF16": _Traces(("bf16",), "hw.optional.arm.FEAT_BF16"),
        },
    }
)
"""What matters to quantized models, by architecture."""

ARM_CORES = {
    (0x41, 0xD07): "Cortex-A57",
    (0x41, 0xD08): "Cortex-A72",
    (0x41, 0xD0B): "Cortex-A76",
    (0x41, 0xD42): "Cortex-A78AE",
    (0x41, 0xD83): "Neoverse V3AE",
    (0x4E, 0x003): "Denver 2",
    (0x4E, 0x004): "Carmel",
}
"""Cores of Jetsons and Raspberry Pis by implementer and part, as in Linux' ``asm/cputype.h``; Linux gives no names."""

_ADVICE = (
    (
        X86,
        "VNNI",
        False,
        "This CPU has no VNNI. ONNX Runtime and OpenVINO multiply INT8 here with instructions that saturate at 16 "
        "bits: an INT8 ONNX file can be less accurate here than on a CPU with VNNI, and it is slower. ONNX Runtime's "
        "session option session.x64quantprecision=1 makes it exact; INT8 TFLite files in LiteRT need no such help.",
    ),
    (
        X86,
        "BF16",
        True,
        "OpenVINO runs float models in bfloat16 on this CPU unless told otherwise. edgex asks for float32, so its "
        "float figures are slower and more exact than those of OpenVINO's defaults.",
    ),
    (
        ARM,
        "dot product",
        False,
        "This CPU has no dot product instructions. INT8 is exact here, but gains less over float than on newer ARM "
        "cores: measure both with edgex bench.",
    ),
)
"""Architecture, feature, whether it is there, and what that means."""


@dataclass(frozen=True)
class Cpu:
    """A machine's CPU.

    Attributes:
        name: of the model, or of its cores on ARM; None where the system does not tell.
        architecture: ``x86_64``, ``aarch64``, or what the system calls another one.
        physical_cores: None where the system does not tell; so too ``logical_cores``.
        features: those of ``FEATURES`` for this architecture; None is not known.
    """

    name: str | None
    architecture: str
    physical_cores: int | None
    logical_cores: int | None
    features: Features


def read_cpu() -> Cpu:
    """The CPU of this machine."""
    import psutil

    machine = platform.machine().lower()
    architecture = ARCHITECTURES.get(machine, machine)
    system = platform.system()
    if system == "Linux":
        name, features = parse_cpuinfo(_text_of(Path("/proc/cpuinfo")), architecture)
    elif system == "Darwin":
        name, features = parse_sysctl(_output_of("sysctl", "machdep.cpu", "hw.optional"), architecture)
    else:
        name, features = None, dict.fromkeys(FEATURES.get(architecture, ()))
    return Cpu(name, architecture, psutil.cpu_count(logical=False), psutil.cpu_count(), features)


def parse_cpuinfo(text: str, architecture: str) -> tuple[str | None, Features]:
    """Name and features from Linux' ``/proc/cpuinfo``: a feature counts if every core has it."""
    entries = [(key.strip(), value.strip()) for key, _, value in (line.partition(":") for line in text.splitlines())]
    words_of_cores = [set(value.split()) for key, value in entries if key in ("flags", "Features")]
    shared = set.intersection(*words_of_cores) if words_of_cores else None
    features = {
        feature: None if shared is None else not shared.isdisjoint(traces.words)
        for feature, traces in FEATURES.get(architecture, {}).items()
    }
    values = dict(reversed(entries))  # of a key that recurs, the first
    return _arm_cores(entries) or values.get("model name"), features


def parse_sysctl(text: str, architecture: str) -> tuple[str | None, Features]:
    """Name and features from lines ``key: value`` of macOS' ``sysctl``; of a missing key nothing is known."""
    values = dict(line.split(": ", 1) for line in text.splitlines() if ": " in line)
    features = {
        feature: {"0": False, "1": True}.get(values.get(traces.key or "", ""))
        for feature, traces in FEATURES.get(architecture, {}).items()
    }
    return values.get("machdep.cpu.brand_string"), features


def advice(cpu: Cpu) -> tuple[str, ...]:
    """Sentences for people: what this CPU means for the files that edgex writes and for its figures.

    That INT8 saturates without VNNI is documented: "Quantize ONNX models" on onnxruntime.ai, its option in
    ``onnxruntime_session_options_config_keys.h``, "Saturation (overflow) issue workaround" on docs.openvino.ai.
    Measured on an emulated Haswell, with ONNX Runtime 1.31 and OpenVINO 2026.4: in ONNX Runtime S8S8 saturates like
    U8S8, and the option makes both, bit for bit, what they are with VNNI; LiteRT 2.3 needs nothing for that. OpenVINO's
    choice of bfloat16 is in "CPU device" on docs.openvino.ai.
    """
    known = [
        sentence
        for architecture, feature, value, sentence in _ADVICE
        if cpu.architecture == architecture and cpu.features.get(feature) is value
    ]
    unknown = [feature for feature, value in cpu.features.items() if value is None]
    if unknown:
        known.append(f"This system does not tell whether the CPU has {', '.join(unknown)}.")
    return tuple(known)


def _arm_cores(entries: list[tuple[str, str]]) -> str | None:
    """The known kinds of core, each once. Some boards have two."""
    implementers = [int(value, 16) for key, value in entries if key == "CPU implementer"]
    parts = [int(value, 16) for key, value in entries if key == "CPU part"]
    kinds = zip(implementers, parts, strict=False)
    return " + ".join(dict.fromkeys(ARM_CORES[kind] for kind in kinds if kind in ARM_CORES)) or None


def _text_of(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""


def _output_of(*command: str) -> str:
    """What a program prints; nothing where it is missing. Its status does not matter: sysctl fails for one lost key."""
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=10, check=False)  # noqa: S603  constants
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return done.stdout
