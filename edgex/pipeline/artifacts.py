"""Writes one artifact after another into a directory, and checks each against its target's rules."""

import re
import zlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from edgex.errors import ModelError
from edgex.graph.ir import Graph
from edgex.lint import lint_file
from edgex.lint.onnx_file import read_onnx_file
from edgex.lint.sparsity import dense_kernels
from edgex.manifest import artifact_record
from edgex.pipeline.stages import Stage
from edgex.plan import QuantizationPlan
from edgex.prune.gain import Gain
from edgex.prune.record import PruningRecord
from edgex.quantize.climb import Rung
from edgex.records import Artifact, ArtifactKind
from edgex.target import TargetProfile
from edgex.train.checkpoint import History
from edgex.write.onnx import OnnxForm, onnx_model
from edgex.write.onnx_form import int8_form
from edgex.write.tflite import tflite_model

PLAN_NAME = "plan.json"
TRAINING_NAME = "training.json"
"""Which images were trained on; only beside artifacts that were."""

CHUNK = 1 << 20
"""Bytes read at a time."""


@dataclass(frozen=True)
class WrittenDirectory:
    """What ``quantize`` and ``export`` hand back.

    Attributes:
        artifacts: in the target's order, the main one first.
        warnings: sentences about what is odd but usable.
        rungs: what ``--method auto`` tried.
        history: how training went; None without any.
        pruning: how the model was pruned; None where it was not.
        deflated: bytes of each artifact when it is compressed, where there are zeros to compress.
        gain: what pruning bought; None where nothing was pruned, or that was not to be measured.
        stages: pruning and training, where there was any.
    """

    directory: Path
    artifacts: tuple[Artifact, ...]
    warnings: tuple[str, ...]
    rungs: tuple[Rung, ...] = ()
    history: History | None = None
    pruning: PruningRecord | None = None
    deflated: tuple[int, ...] = ()
    gain: Gain | None = None
    stages: tuple[Stage, ...] = ()


@dataclass(frozen=True)
class ArtifactWriter:
    """Writes prepared graphs into ``directory``, under names that say what the files are."""

    directory: Path
    stem: str
    target: TargetProfile

    def float(self, kind: ArtifactKind, graph: Graph) -> Artifact:
        """The model in float."""
        if kind.format == "tflite":
            return self._save(kind, tflite_model(graph))
        float_type: Literal["float32", "float16"] = "float16" if kind.precision == "fp16" else "float32"
        form = OnnxForm(opset=self.target.opset, float_type=float_type)
        return self._save(kind, onnx_model(graph, None, form).SerializeToString())

    def int8(self, kind: ArtifactKind, graph: Graph, plan: QuantizationPlan, *, integer_io: bool) -> Artifact:
        """The quantized model."""
        if kind.format == "tflite":
            return self._save(kind, tflite_model(graph, plan, integer_io=integer_io))
        form = int8_form(self.target, plan.weight_bits, integer_io=integer_io)
        return self._save(kind, onnx_model(graph, plan, form).SerializeToString())

    def _save(self, kind: ArtifactKind, content: bytes) -> Artifact:
        path = self.directory / f"{self.stem}.{kind}"
        path.write_bytes(content)
        return artifact_record(path, kind)


def lint(artifacts: Sequence[Artifact], target: TargetProfile, kept_float: Sequence[str]) -> None:
    """ModelError if a rule of the target is broken, but for nodes that the plan keeps in float."""
    allowed = re.compile("|".join(f"^{re.escape(name)}$" for name in kept_float)) if kept_float else None
    for artifact in artifacts:
        findings = lint_file(artifact.path, target, allow_float=allowed)
        if findings:
            shown = "\n".join(f"  {finding}" for finding in findings[:10])
            raise ModelError(
                f"{artifact.path.name} breaks {len(findings)} rules of the target {target.name}:\n{shown}",
                fix="Leave the layers named in float with --keep-float, or choose another target.",
            )


def require_two_four(artifacts: Sequence[Artifact]) -> None:
    """ModelError if a kernel that could be 2:4 sparse is not, in any ONNX file but the float reference."""
    for artifact in artifacts:
        if artifact.format == "onnx" and artifact.precision != "fp32":
            dense = dense_kernels(read_onnx_file(artifact.path))
            if dense:
                raise ModelError(
                    f"{artifact.path.name} has weights that are not 2:4 sparse, in {', '.join(dense[:10])}.",
                    fix="Prune the model again with --method 2:4.",
                )


def deflated_bytes(path: Path) -> int:
    """Size of a file when it is compressed as zip and gzip do (RFC 1951)."""
    packer = zlib.compressobj()
    with path.open("rb") as stream:
        packed = sum(len(packer.compress(part)) for part in iter(lambda: stream.read(CHUNK), b""))
    return packed + len(packer.flush())


def placed(artifacts: Sequence[Artifact], directory: Path) -> tuple[Artifact, ...]:
    """The artifacts, where they lie now that their directory has its name."""
    return tuple(replace(artifact, path=directory / artifact.path.name) for artifact in artifacts)
