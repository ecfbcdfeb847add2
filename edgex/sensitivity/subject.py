"""A model as the INT8 artifacts of a target hold it."""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

from edgex.dataset import Dataset, open_dataset
from edgex.graph.ir import Array, Graph
from edgex.graph.passes import prepare
from edgex.graph.read import read_model
from edgex.manifest import read_manifest
from edgex.pipeline import PLAN_NAME, Progress, QuantizeOptions, WrittenDirectory, quantize
from edgex.plan import QuantizationPlan
from edgex.preprocess import Preprocessing
from edgex.quantize.ptq import EQUALIZATION_IMAGES, PtqOptions, quantize_ptq
from edgex.runtime import physical_cores
from edgex.target import TargetProfile
from edgex.write.onnx import OnnxForm


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
    written = quantize(model, target, calib, output, options, progress)
    plan = QuantizationPlan.from_json((output / PLAN_NAME).read_text(encoding="utf-8"))
    preprocessing = Preprocessing.from_json(read_manifest(output).preprocessing)
    prepared = prepare(read_model(model, input_size=options.input_size))
    # The plan does not keep the factors of the equalization, but the first images give the same ones, by any method
    head = islice(_named_images(calibration_images(calib, options), preprocessing), EQUALIZATION_IMAGES)
    ptq = PtqOptions(
        scheme=plan.scheme,
        equalize=options.equalize,
        keep_float=options.keep_float_pattern,
        workers=options.threads or physical_cores(),
    )
    form = OnnxForm(target.opset, target.onnx.activation_type, target.onnx.bias)
    return Subject(written, quantize_ptq(prepared, head, ptq).graph, plan, form, preprocessing)


def calibration_images(calib: str | Path, options: QuantizeOptions, count: int | None = None) -> Dataset:
    """Those that the plan comes from, or the first ``count`` of them."""
    dataset = open_dataset(calib, role="calibration", max_bad=options.max_bad)
    most = options.calib_count if count is None else min(count, options.calib_count)
    return dataset.sample(most, options.calib_seed)


def _named_images(dataset: Dataset, preprocessing: Preprocessing) -> Iterator[tuple[str, Array]]:
    for indices, images in dataset.batches(preprocessing):
        yield dataset.names[int(indices[0])], images
