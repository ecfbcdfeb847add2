"""Writes one artifact after another into a directory, and checks each against its target's rules."""

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from edgex.errors import ModelError
from edgex.graph.ir import Graph
from edgex.lint import lint_file
from edgex.manifest import artifact_record
from edgex.plan import QuantizationPlan
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


@dataclass(frozen=True)
class WrittenDirectory:
    """What ``quantize`` and ``export`` hand back.

    Attributes:
        artifacts: in the target's order, the main one first.
        warnings: sentences about what is odd but usable.
        rungs: what ``--method auto`` tried.
        history: how training went; None without any.
    """

    directory: Path
    artifacts: tuple[Artifact, ...]
    warnings: tuple[str, ...]
    rungs: tuple[Rung, ...] = ()
    history: History | None = None


@dataclass(frozen=True)
class ArtifactWriter:
    """Writes into ``directory``, under names that say what the files are.

    Attributes:
        prepared: the float graph of the model as it was given.
    """

    directory: Path
    stem: str
    target: TargetProfile
    prepared: Graph

    def float(self, kind: ArtifactKind) -> Artifact:
        """The model as it was given."""
        if kind.format == "tflite":
            return self._save(kind, tflite_model(self.prepared))
        float_type: Literal["float32", "float16"] = "float16" if kind.precision == "fp16" else "float32"
        form = OnnxForm(opset=self.target.opset, float_type=float_type)
        return self._save(kind, onnx_model(self.prepared, None, form).SerializeToString())

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


def placed(artifacts: Sequence[Artifact], directory: Path) -> tuple[Artifact, ...]:
    """The artifacts, where they lie now that their directory has its name."""
    return tuple(replace(artifact, path=directory / artifact.path.name) for artifact in artifacts)
