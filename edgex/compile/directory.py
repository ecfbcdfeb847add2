"""What a target compiles out of an output directory."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from edgex.bench import BenchOptions
from edgex.compile.cpu import ENDINGS, CompiledFile, compile_for_cpu
from edgex.compile.tensorrt import write_build_script
from edgex.errors import OutputError
from edgex.manifest import read_manifest, verify
from edgex.output import locked
from edgex.runtime import installed_runtimes
from edgex.runtime.registry import missing
from edgex.target import TargetProfile, load_target


@dataclass(frozen=True)
class Compiled:
    """What was written into a directory.

    Attributes:
        files: forms of the main artifact, for runtimes on a CPU.
        script: that builds engines on the device; None for targets without TensorRT.
        warnings: sentences about what could not be done here.
    """

    directory: Path
    files: tuple[CompiledFile, ...]
    script: Path | None
    warnings: tuple[str, ...] = ()


def compile_directory(
    directory: Path,
    profile: TargetProfile | None = None,
    options: BenchOptions | None = None,
    progress: Callable[[str, int, int], None] | None = None,
) -> Compiled:
    """Compile what :func:`edgex.pipeline.quantize` wrote, as far as its target compiles ahead.

    Args:
        directory: an output directory; what is written goes into it, and the manifest does not cover it.
        profile: of the target; None for the one of that name that ships with edgex.
        options: of the timing of what is compiled for a CPU.
        progress: called with what is done, rounds done and rounds in all.

    Raises:
        OutputError: the directory is none of ours, was changed since, is in use, or cannot be written.
        EdgexError: as :func:`edgex.runtime.open_runner`.
    """
    options = options or BenchOptions()
    manifest = read_manifest(directory)
    with locked(directory):
        problems = verify(directory)
        if problems:
            raise OutputError(f"{directory / problems[0].name} {problems[0].message}.", fix="Write the directory anew.")
        if profile is None:
            made_for = manifest.target
            profile = load_target(made_for["name"], arch=made_for.get("arch"), jetpack=made_for.get("jetpack"))
        script = write_build_script(directory, manifest, profile) if "tensorrt" in profile.compiled else None
        runtimes = [runtime for runtime in ENDINGS if runtime in profile.compiled]
        artifact = next(artifact for artifact in manifest.artifacts if artifact.format == "onnx")
        here = installed_runtimes(options.python)
        files = tuple(
            compile_for_cpu(artifact.path, runtime, options, progress and partial(progress, f"time {runtime}"))
            for runtime in runtimes
            if runtime in here
        )
    warnings = tuple(str(missing(runtime)) for runtime in runtimes if runtime not in here)
    return Compiled(directory, files, script, warnings)
