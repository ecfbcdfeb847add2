"""Run a graph here, through ONNX Runtime: in float the reference that calibration and tests stand on, with a plan what
the INT8 artifact computes.

Sessions use one thread each. Images are independent, so callers run several at once instead, which is faster than
several threads on one image and gives the same bits whatever the number of workers.
"""

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, NamedTuple

from edgex.errors import ModelError
from edgex.graph.ir import Array, Graph, Softmax
from edgex.plan import QuantizationPlan
from edgex.write.onnx import body_value, onnx_model
from edgex.write.onnx_form import OnnxForm

if TYPE_CHECKING:
    from onnx import ModelProto

Logits = Callable[[Array], Array]
"""A network: from images (N, height, width, channels) to logits (N, classes), or (N, height, width, classes)."""


class Extremes(NamedTuple):
    """Smallest and largest value of each channel of one tensor, (channels,) each, over all images of a batch."""

    low: Array
    high: Array


def tensor_values(graph: Graph, names: Sequence[str]) -> Callable[[Array], list[Array]]:
    """Prepare to compute tensors of a prepared graph in float32.

    Args:
        graph: see :func:`edgex.graph.passes.prepare`.
        names: of the tensors wanted.

    Returns:
        A function from a batch (N, height, width, channels) to the tensors in the order of ``names``, (N, *shape).
        It may be called from several threads.
    """
    (source,) = graph.inputs
    computed = [name for name in names if name != source.name]
    run = _open_session(onnx_model(replace(graph, outputs=tuple(computed))))

    def values(batch: Array) -> list[Array]:
        known = dict(zip(computed, run(computed, {source.name: batch}), strict=True)) | {source.name: batch}
        return [known[name] for name in names]

    return values


def channel_extremes(graph: Graph, names: Sequence[str]) -> Callable[[Array], list[Extremes]]:
    """Like :func:`tensor_values`, but reduced inside the runtime, so that no tensor leaves it."""
    from onnx import TensorProto, helper

    model = onnx_model(graph)
    outputs = []
    for name in names:
        rank = len(graph.shapes[name])
        axes = [0, 2, 3] if rank == 3 else list(range(rank))
        for op_type in ("ReduceMin", "ReduceMax"):
            output = f"{name}/{op_type}"
            value = body_value(graph, name)
            model.graph.node.append(helper.make_node(op_type, [value], [output], axes=axes, keepdims=0))
            outputs.append(helper.make_tensor_value_info(output, TensorProto.FLOAT, [graph.shapes[name][-1]]))
    del model.graph.output[:]
    model.graph.output.extend(outputs)
    run = _open_session(model)
    fetched = [output.name for output in outputs]
    (source,) = graph.inputs

    def extremes(batch: Array) -> list[Extremes]:
        values = run(fetched, {source.name: batch})
        return [Extremes(low, high) for low, high in zip(values[::2], values[1::2], strict=True)]

    return extremes


def logits_name(graph: Graph) -> str:
    """The tensor that the final softmax reads; the output where there is no softmax."""
    output = graph[graph.outputs[0]]
    return output.inputs[0] if isinstance(output.op, Softmax) else output.name


def gives_scores(graph: Graph) -> bool:
    """Whether a network scores classes, of its image or of each pixel; a single score has nothing to be above."""
    shape = graph.shapes[logits_name(graph)]
    return len(shape) in (1, 3) and shape[-1] > 1


def open_network(graph: Graph, plan: QuantizationPlan | None, form: OnnxForm) -> Logits:
    """A network up to its logits, loaded; in float without a plan. It may be called from several threads."""
    name = logits_name(graph)
    run = _open_session(onnx_model(replace(graph, outputs=(name,)), plan, form))
    (source,) = graph.inputs

    def logits(images: Array) -> Array:
        values: Array
        (values,) = run([name], {source.name: images})
        return values

    return logits


def _open_session(model: "ModelProto") -> Callable[[list[str], dict[str, Array]], list[Any]]:
    import onnxruntime
    from onnxruntime.capi.onnxruntime_pybind11_state import Fail, RuntimeException

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.inter_op_num_threads = 1
    options.log_severity_level = 3  # warnings speak of the graph optimizer's choices, not of the user's model
    session = onnxruntime.InferenceSession(
        model.SerializeToString(),
        options,
        providers=["CPUExecutionProvider"],
        # It would quantize the biases of a target that keeps them in float
        disabled_optimizers=["WeightBiasQuantization"],
    )
    name = model.graph.name

    def run(names: list[str], feeds: dict[str, Array]) -> list[Any]:
        try:
            values: list[Any] = session.run(names, feeds)
        except (Fail, RuntimeException) as error:  # above all where memory does not suffice
            raise ModelError(
                f"ONNX Runtime cannot compute {name}: {str(error).strip()}.",
                fix="Use a machine with more memory, or smaller images with --input-size.",
            ) from error
        return values

    return run
