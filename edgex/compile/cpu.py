"""What the runtimes of a CPU make of an artifact before they run it, written down, and measured against the artifact.

OpenVINO's IR runs on any CPU that OpenVINO knows; ONNX Runtime's optimized model may use what this CPU has.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

from edgex.bench import BenchOptions, Ratio, bench
from edgex.output import replace_files
from edgex.runtime import Worker

ENDINGS = {"openvino": (".openvino.xml", ".openvino.bin"), "onnxruntime": (".onnxruntime.onnx",)}
"""Of the files that a runtime's form of a model consists of; the first is the one to run."""


@dataclass(frozen=True)
class CompiledFile:
    """A runtime's form of an artifact.

    Attributes:
        path: of the file to run.
        bytes: of all its files together.
        ratio: its latency over that of the plain artifact, in the same runtime; loading times are in its results.
    """

    path: Path
    bytes: int
    ratio: Ratio

    @property
    def runtime(self) -> str:
        return self.ratio.a.runtime


def compile_for_cpu(
    artifact: Path, runtime: str, options: BenchOptions, progress: Callable[[int, int], None] | None = None
) -> CompiledFile:
    """Write a runtime's form of an ONNX file beside it, and time both.

    Args:
        artifact: ``model.int8.onnx`` becomes ``model.int8.openvino.xml`` and its ``.bin``, or
            ``model.int8.onnxruntime.onnx``.
        runtime: ``openvino`` or ``onnxruntime``.
        options: of the timing.
        progress: see :func:`edgex.bench.bench`.

    Raises:
        OutputError: the folder cannot be written. Other EdgexErrors as :func:`edgex.runtime.open_runner`.
    """
    files = [artifact.with_suffix(ending) for ending in ENDINGS[runtime]]
    with replace_files(files) as (partial, *_), Worker(options.python) as worker:
        worker.compile(artifact, runtime, partial)
    report = bench([files[0], artifact], replace(options, runtimes=(runtime,)), progress=progress)
    return CompiledFile(files[0], sum(file.stat().st_size for file in files), report.ratios[0])
