"""Does an ONNX file compute what was read of it? Its operators have many forms, and one that is misread gives a network
that runs and knows nothing; so ONNX Runtime is asked, on images of noise, before anything is made of the graph."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import numpy as np

from edgex.errors import EdgexError, ModelError
from edgex.execute import tensor_values
from edgex.graph.ir import Activation, Array, Flatten, Graph, Identity, Reshape, Softmax
from edgex.graph.onnx_call import NCHW
from edgex.graph.passes import prepare
from edgex.graph.read import is_onnx, read_model
from edgex.graph.read_onnx import read_onnx
from edgex.runtime import Worker
from edgex.runtime.worker import Port

RUNTIME = "onnxruntime"
TO_NHWC = tuple(NCHW.index(axis) for axis in range(4))


class _Limits(NamedTuple):
    """How close outputs must be.

    Attributes:
        error: relative.
        least: of a softmax or sigmoid that is compared. Below, its type loses places, as it does nearer to 1 than
            ``least_from_one``.
    """

    error: float
    least: float
    least_from_one: float


SINGLE = _Limits(1e-3, 1e-30, 1e-4)
"""Usually the error is 1e-6."""
HALF = _Limits(0.1, 1e-4, 1e-2)
"""For files with values in float16 or bfloat16, which the runtime computes in these."""


def read_compared(path: Path, *, input_size: int | None = None) -> Graph:
    """Read a model of any kind, and compare it if it is an ONNX file of one image; a note says if that cannot be done.

    Raises:
        ModelError: as :func:`compare_with_file`. Other EdgexErrors as :func:`edgex.graph.read.read_model`.
    """
    graph = read_model(path, input_size=input_size)
    if not is_onnx(path) or [len(graph.shapes[source.name]) for source in graph.inputs] != [3]:
        return graph
    return replace(graph, notes=(*graph.notes, *compare_with_file(path, prepare(graph))))


def compare_with_file(path: Path, graph: Graph) -> tuple[str, ...]:
    """Compare a graph with what ONNX Runtime makes of the ``.onnx`` file that it was read of.

    Args:
        path: of the file.
        graph: prepared, with one image as its input. If that is of another size than the file takes, the file is read
            once more.

    Returns:
        A sentence if they could not be compared.

    Raises:
        ModelError: they give different outputs.
    """
    try:
        with Worker() as worker:
            (port,) = [Port(**each) for each in worker.open(path, RUNTIME, threads=1)["inputs"]]
            if not _fitting(_images(graph, port), port):
                graph = prepare(read_onnx(path))
            images = _images(graph, port)
            (fed,) = _fitting(images, port)
            _, outputs = worker.ask("run", len(fed) * worker.limits.run_seconds, [fed])
    except (EdgexError, ValueError):  # among them that it takes several images at once
        return (f"ONNX Runtime cannot run {path.name} on one image, so what was read of it is not compared with it.",)
    limits = HALF if any("float16" in note for note in graph.notes) else SINGLE
    errors = _errors(graph, images, outputs, limits)
    if not errors:
        return (f"What {path.name} gives for noise is not finite, so what was read of it is not compared with it.",)
    error = float(np.max(errors))
    if not error <= limits.error:  # or is not a number
        raise ModelError(
            f"{path} gives something else in ONNX Runtime than what edgex read of it: on an image of noise they differ "
            f"by {error:.2g} of the largest value.",
            fix="Export it in another way, or give the Keras file that it was made from; and please report it.",
        )
    return ()


def _images(graph: Graph, port: Port) -> Array:
    """Images of noise (images, height, width, channels) in the type that the file takes.

    One is around 0, as a network gets it after preprocessing, and one of bytes, as a network gets it that scales it
    itself; for what takes whole numbers only that.
    """
    (source,) = graph.inputs
    random, shape, dtype = np.random.default_rng(0), (1, *graph.shapes[source.name]), np.dtype(port.dtype)
    whole = random.integers(0, {"bool": 2, "int8": 128}.get(dtype.name, 256), shape)
    images = [random.standard_normal(shape), whole] if dtype.kind == "f" else [whole]
    return np.concatenate(images).astype(dtype)


def _fitting(images: Array, port: Port) -> list[Array]:
    """The images in each layout that an input may have by its shape: one, unless they have as many rows as channels."""
    layouts: list[Array] = [images, images.transpose(NCHW)]
    return [np.ascontiguousarray(each) for each in layouts if _fits((1, *each.shape[1:]), port.shape)]


def _fits(shape: Sequence[int], declared: Sequence[int | None]) -> bool:
    return len(shape) == len(declared) and all(
        size in (None, given) for given, size in zip(shape, declared, strict=True)
    )


def _errors(graph: Graph, images: Array, outputs: Sequence[Array], limits: _Limits) -> list[float]:
    """Of each image and output, but for images for which the file gives something that is not finite."""
    expected = tensor_values(graph, graph.outputs)(images.astype(np.float32))
    pairs = list(zip(graph.outputs, outputs, expected, strict=True))
    return [
        _error(*(_unsaturated(graph, name, values[image : image + 1], limits) for values in (output, wanted)))
        for image in range(len(images))
        if all(np.isfinite(output[image]).all() for output in outputs)
        for name, output, wanted in pairs
    ]


def _unsaturated(graph: Graph, name: str, output: Array, limits: _Limits) -> Array:
    """An output; of a softmax the logarithm and of a sigmoid the logit, in which one that is sure tells of the rest."""
    while isinstance(graph[name].op, Identity | Reshape | Flatten):
        (name,) = graph[name].inputs
    values: Array = output.astype(np.float64)
    if isinstance(graph[name].op, Softmax):
        values = np.log(np.maximum(values, limits.least))
    elif graph[name].op == Activation("sigmoid"):
        values = np.clip(values, limits.least, 1 - limits.least_from_one)
        values = np.log(values / (1 - values))
    return values


def _error(output: Array, expected: Array) -> float:
    """Largest difference, relative to the largest value; of an image in whichever layout fits."""
    layouts = [output, output.transpose(TO_NHWC)] if output.ndim == 4 else [output]
    scale = float(np.abs(expected).max()) or 1.0
    return min(
        (float(np.abs(each - expected).max()) / scale for each in layouts if each.shape == expected.shape),
        default=np.inf,
    )
