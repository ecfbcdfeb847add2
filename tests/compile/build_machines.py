"""Machines that ``build-engine.sh`` runs on, each with a stand-in for ``trtexec`` that records what it is told.

What each generation of ``trtexec`` prints and takes is from its source: samples/common/logging.h and
samples/common/sampleOptions.cpp of github.com/NVIDIA/TensorRT, at the tags 8.2.1, 8.5.2, v8.6.1, v10.3.0, v10.12.0,
v10.13.0, v10.16 and v11.0.
"""

import shutil
import subprocess
import sys
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import Any

import h5py

from edgex.compile.tensorrt import write_build_script
from edgex.manifest import read_manifest
from edgex.resources import demo_model
from edgex.target import TargetProfile, load_target

Quantized = Callable[..., Path]

FALLBACK = Path("/usr/src/tensorrt/bin")
SHELL = shutil.which("sh") or "/bin/sh"
SHELLCHECK = Path(sys.executable).with_name("shellcheck")
TOOLS = ("cp", "dirname", "mkdir", "mv", "rm", "sed")
"""All that the script needs beside a shell and trtexec."""

HEADERS = {
    "7.2.3": "v7203",
    "8.0.1": "v8001",
    "8.2.5": "v8205",
    "8.5.2": "v8502",
    "8.6.1": "v8601",
    "10.3.0": "v100300",
    "10.11.0": "v101100] [b33",
    "10.12.0": "v101200] [b36",
    "10.13.3": "v101303] [b9",
    "10.16.2": "v101602] [b10",
    "11.0.0": "v110000] [b114",
    "11.1.0": "v110100] [b106",
}
"""TensorRT and how its trtexec prints it: four digits up to 9, six from 10 on, the build from 10.8 on."""

TRTEXEC = """#!/bin/sh
printf '%s\\n' "&&&& RUNNING TensorRT.trtexec [TensorRT $TRT_HEADER] # trtexec $*"
[ "$1" != --help ] || exit 0
printf '%s\\n' "$@" >"$TRT_RECORD"
for argument; do
    case $argument in
    --saveEngine=*) [ -n "${TRT_FORGETS-}" ] || printf 'engine %s\\n' "$TRT_HEADER" >"${argument#*=}" ;;
    --timingCacheFile=*) echo timings >>"${argument#*=}" ;;
    esac
done
sleep "${TRT_SECONDS:-0}"
echo '&&&& ENDED'
exit "${TRT_EXIT:-0}"
"""


@dataclass(frozen=True)
class Run:
    """How the script ended, what it said, and what trtexec was told, if it was started."""

    code: int
    out: str
    err: str
    arguments: list[str]


@dataclass(frozen=True)
class Device:
    """A machine with a trtexec; ``path`` is all that programs are looked for in."""

    path: Path
    record: Path

    def environment(self, version: str, **variables: str) -> dict[str, str]:
        variables |= {"TRT_HEADER": HEADERS[version], "TRT_RECORD": str(self.record)}
        return {"PATH": str(self.path), "HOME": "/nowhere", **variables}

    def build(self, script: Path, *arguments: str, version: str, cwd: Path | None = None, **variables: str) -> Run:
        """Run the script as ``sh SCRIPT ARGUMENTS``."""
        self.record.unlink(missing_ok=True)
        done = subprocess.run(
            [SHELL, str(script), *arguments],
            cwd=cwd,
            env=self.environment(version, **variables),
            capture_output=True,
            text=True,
            timeout=60,
        )
        told = self.record.read_text().splitlines() if self.record.exists() else []
        return Run(done.returncode, done.stdout, done.stderr, told)


def program(path: Path, text: str) -> None:
    path.unlink()
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)


# Output directories


def changed_demo(
    path: Path, *, weights: Callable[[Any], None] | None = None, config: Callable[[str], str] = str
) -> Path:
    """The demo model with other weights or another configuration."""
    with zipfile.ZipFile(demo_model()) as archive, zipfile.ZipFile(path, "w") as other:
        for name in archive.namelist():
            content = archive.read(name)
            if name == "config.json":
                content = config(content.decode()).encode()
            elif name.endswith(".h5") and weights is not None:
                buffer = BytesIO(content)
                with h5py.File(buffer, "r+") as file:
                    weights(file)
                content = buffer.getvalue()
            other.writestr(name, content)
    return path


def prune_pointwise(file: Any) -> None:
    """To 2:4, and nothing else."""
    for name, layer in file["layers"].items():
        if name.startswith("separable_conv2d"):
            pointwise = layer["vars/1"]
            kernel = pointwise[:]
            kernel[:, :, 1::4] = kernel[:, :, 2::4] = 0
            pointwise[...] = kernel


def script_of(directory: Path, target: str | TargetProfile = "jetson") -> Path:
    profile = load_target(target) if isinstance(target, str) else target
    return write_build_script(directory, read_manifest(directory), profile)


def left(script: Path) -> set[str]:
    """What is in the script's directory that edgex did not write."""
    manifest = read_manifest(script.parent)
    ours = {artifact.path.name for artifact in manifest.artifacts} | {file.name for file in manifest.files}
    return {path.name for path in script.parent.iterdir()} - ours - {"manifest.json", script.name}
