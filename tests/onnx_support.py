"""Runs ONNX models, and plans INT8 ones."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import onnx
import onnxruntime
from numpy.typing import NDArray
from onnx import ModelProto

from edgex.graph.ir import Array, Graph
from edgex.plan import QuantizationPlan, Scheme
from edgex.quantize.ptq import PtqOptions, quantize_ptq


def run(model: ModelProto, images: NDArray[Any], without: Sequence[str] = ()) -> dict[str, NDArray[Any]]:
    """Outputs by name, of a model with one input that passes the full check; ``without`` some of the optimizers."""
    onnx.checker.check_model(model, full_check=True)
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3  # the optimizer's remarks
    session = onnxruntime.InferenceSession(model.SerializeToString(), options, disabled_optimizers=[*without])
    names = [output.name for output in session.get_outputs()]
    return dict(zip(names, session.run(names, {session.get_inputs()[0].name: images}), strict=True))


def named(images: Array) -> list[tuple[str, Array]]:
    """A batch as quantize_ptq takes images."""
    return [(f"image {number}", image[np.newaxis]) for number, image in enumerate(images)]


def min_max_plan(graph: Graph, images: Array, scheme: Scheme = "asymmetric", **options: Any) -> QuantizationPlan:
    """Ranges that lose nothing of the images given, weights as they are."""
    return quantize_ptq(graph, named(images), PtqOptions(scheme, "minmax", equalize=False, **options)).plan
