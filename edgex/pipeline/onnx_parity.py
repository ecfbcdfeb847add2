"""Does an ONNX file compute what was read of it? Its operators have many forms, and one that is misread gives a network
that runs and knows nothing; so ONNX Runtime is asked, on an image of noise, before anything is made of the graph."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from edgex.errors import ModelError
from edgex.execute import tensor_values
from edgex.graph.ir import Array, Graph, Softmax
from edgex.graph.onnx_call import NCHW
from edgex.graph.passes import prepare
from edgex.graph.read_onnx import read_onnx
from edgex.runtime import Worker
from edgex.runtime.worker import Port

RUNTIME = "onnxruntime"
CLOSE = 1e-3
"""Relative error; in float32 it is usually 1e-6."""
CLOSE_IN_HALF = 0.1
"""The same for a file with values of other types, which the runtime computes in these."""
LEAST_SHARE = 1e-30
"""Of a softmax that is compared: below, float32 begins to lose places."""
TO_NHWC = tuple(NCHW.index(axis) for axis in range(4))


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
            if not _fed(_noise(graph), port):
                graph = prepare(read_onnx(path))
            noise = _noise(graph)
            (fed,) = _fed(noise, port)
            _, outputs = worker.ask("run", worker.limits.run_seconds, [fed])
    except (ModelError, ValueError):  # among them that it takes several images at once
        return (f"ONNX Runtime cannot run {path.name} on one image, so what was read of it is not compared with it.",)
    if not all(np.isfinite(output).all() for output in outputs):
        return (f"What {path.name} gives for noise is not finite, so what was read of it is not compared with it.",)
    expected = tensor_values(graph, graph.outputs)(noise)
    error = max(map(_error, _unsaturated(graph, outputs), _unsaturated(graph, expected)))
    if error > (CLOSE_IN_HALF if graph.notes else CLOSE):
        raise ModelError(
            f"{path} gives something else in ONNX Runtime than what edgex read of it: on an image of noise they differ "
            f"by {error:.2g} of the largest value.",
            fix="Export it in another way, or give the Keras file that it was made from; and please report it.",
        )
    return ()


def _noise(graph: Graph) -> Array:
    """An image (1, height, width, channels) of the values that a network gets after preprocessing: around 0."""
    (source,) = graph.inputs
    return np.random.default_rng(0).standard_normal((1, *graph.shapes[source.name]), np.float32)


def _fed(image: Array, port: Port) -> list[Array]:
    """The image in each layout that an input may have by its shape: one, unless it has as many rows as channels."""
    layouts: list[Array] = [image, image.transpose(NCHW)]
    return [np.ascontiguousarray(each, port.dtype) for each in layouts if _fits(each.shape, port.shape)]


def _fits(shape: Sequence[int], declared: Sequence[int | None]) -> bool:
    return len(shape) == len(declared) and all(
        size in (None, given) for given, size in zip(shape, declared, strict=True)
    )


def _unsaturated(graph: Graph, outputs: Sequence[Array]) -> list[Array]:
    """Logarithms of what a softmax gives: in them a network that is sure of one class still tells of the others."""
    return [
        np.log(np.maximum(output, LEAST_SHARE)) if isinstance(graph[name].op, Softmax) else output
        for name, output in zip(graph.outputs, outputs, strict=True)
    ]


def _error(output: Array, expected: Array) -> float:
    """Largest difference, relative to the largest value; of an image in whichever layout fits."""
    layouts = [output, output.transpose(TO_NHWC)] if output.ndim == 4 else [output]
    scale = float(np.abs(expected).max()) or 1.0
    return min(
        (float(np.abs(each - expected).max()) / scale for each in layouts if each.shape == expected.shape),
        default=np.inf,
    )
