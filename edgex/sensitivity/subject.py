"""A model as the INT8 artifacts of a target hold it."""

from dataclasses import dataclass
from pathlib import Path

from edgex.graph.ir import Graph
from edgex.pipeline import Progress, QuantizeOptions, WrittenDirectory, quantize_whole
from edgex.plan import QuantizationPlan
from edgex.preprocess import Preprocessing
from edgex.target import TargetProfile
from edgex.write.onnx_form import OnnxForm, int8_form


@dataclass(frozen=True)
class Subject:
    """A quantized model, taken apart.

    Attributes:
        written: its artifacts.
        graph: the float graph that they hold, equalized if that was asked for.
        plan: theirs.
        form: of the target's INT8 ONNX files.
        preprocessing: of the images it reads.
    """

    written: WrittenDirectory
    graph: Graph
    plan: QuantizationPlan
    form: OnnxForm
    preprocessing: Preprocessing


def quantized(
    model: Path, target: TargetProfile, calib: str | Path, output: Path, options: QuantizeOptions, progress: Progress
) -> Subject:
    """Quantize a model; arguments and errors as :func:`edgex.pipeline.quantize`."""
    whole = quantize_whole(model, target, calib, output, options, progress)
    form = int8_form(target, options.weight_bits)
    return Subject(whole.written, whole.calibrated.graph, whole.calibrated.plan, form, whole.source.preprocessing)
