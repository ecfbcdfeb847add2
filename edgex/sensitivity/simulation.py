"""Run a network of which some layers are quantized, and compare its logits with those of the float one.

What runs is what the ONNX writer writes, in ONNX Runtime, so the figures are those of the artifact. Sessions use one
thread each, and several images run at a time: the same bits whatever the number of threads.
"""

import math
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from edgex.dataset import Dataset
from edgex.errors import DataError
from edgex.graph.fusion import fused_activation
from edgex.graph.ir import Array, Graph, Softmax
from edgex.parallel import ahead
from edgex.plan import QuantizationPlan
from edgex.preprocess import Preprocessing
from edgex.quantize.layout import quantization_layout
from edgex.sensitivity.record import Cost
from edgex.write.onnx import OnnxForm, onnx_model

CLEAREST_DB = 100.0
"""About what rounding leaves of float32: an image without noise counts as this."""

Logits = Callable[[Array], Array]
"""A network: from one image (1, height, width, channels) to logits (1, classes)."""


def logits_name(graph: Graph) -> str:
    """The tensor that the final softmax reads; the output where there is no softmax."""
    output = graph[graph.outputs[0]]
    return output.inputs[0] if isinstance(output.op, Softmax) else output.name


def plan_of_one(graph: Graph, plan: QuantizationPlan, layer: str) -> QuantizationPlan:
    """``plan`` with all in float but one node, the activation fused into it, and the tensors that it reads and makes.

    Whoever else reads these tensors takes them rounded, as in the artifact.
    """
    node = graph[layer]
    made = fused_activation(graph, node) or node
    int8 = (node.name, made.name)
    return replace(
        plan,
        ranges={name: plan.ranges[name] for name in (*node.inputs, made.name)},
        precisions={name: "int8" if name in int8 else "float" for name in plan.precisions},
        ties=(),
    )


def plan_without(graph: Graph, plan: QuantizationPlan, keep_float: re.Pattern[str]) -> QuantizationPlan:
    """``plan`` with more layers in float, ranges as they are. UsageError if none is left."""
    layout = quantization_layout(graph, keep_float)
    ranges = {name: plan.ranges[name] for name in layout.tensors}
    return replace(plan, ranges=ranges, precisions=layout.precisions, ties=layout.ties)


def open_network(graph: Graph, plan: QuantizationPlan | None, form: OnnxForm) -> Logits:
    """A network, loaded; in float without a plan. It may be called from several threads."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.inter_op_num_threads = 1
    options.log_severity_level = 3  # warnings speak of the graph optimizer's choices, not of the user's model
    name = logits_name(graph)
    content = onnx_model(replace(graph, outputs=(name,)), plan, form).SerializeToString()
    # It would quantize the biases of a target that keeps them in float
    session = onnxruntime.InferenceSession(
        content, options, providers=["CPUExecutionProvider"], disabled_optimizers=["WeightBiasQuantization"]
    )
    (source,) = graph.inputs

    def logits(image: Array) -> Array:
        (values,) = session.run([name], {source.name: image})
        found: Array = values
        return found

    return logits


def decoded(dataset: Dataset, preprocessing: Preprocessing, file: Path) -> tuple[NDArray[np.int64], Array]:
    """All readable images, decoded once into a file, since each layer runs on them and memory may not hold them.

    Returns:
        Indices into the dataset (images,), and the images (images, height, width, channels), mapped from the file.

    Raises:
        DataError: there is none, or more than ``dataset.max_bad`` cannot be read.
    """
    shape = (len(dataset), *preprocessing.size, preprocessing.channels)
    images = np.memmap(file, np.float32, "w+", shape=shape)
    read: list[int] = []
    for indices, batch in dataset.batches(preprocessing):
        images[len(read)] = batch[0]
        read.append(int(indices[0]))
    if not read:
        raise DataError(f"No image in {dataset.source.path} can be read.", fix="Give images that can.")
    return np.array(read), images[: len(read)]


@dataclass(frozen=True)
class Probe:
    """Images to compare networks on.

    Attributes:
        images: (images, height, width, channels).
        logits: of the float network (images, classes).
        labels: class indices (images,); None if only the noise is measured.
        workers: images at a time.
    """

    images: Array
    logits: Array
    labels: NDArray[np.int64] | None
    workers: int

    @classmethod
    def of(
        cls,
        network: Logits,
        images: Array,
        labels: NDArray[np.int64] | None,
        workers: int,
        progress: Callable[[int, int], None],
    ) -> "Probe":
        """Run the float network."""
        found = []
        for logits in _run(network, images, workers):
            found.append(logits)
            progress(len(found), len(images))
        return cls(images, np.concatenate(found), labels, workers)

    def compared(self, network: Logits) -> Iterator[tuple[Array, Array]]:
        """Logits (classes,) of the float network and of another, image by image."""
        for reference, (logits,) in zip(self.logits, _run(network, self.images, self.workers), strict=True):
            yield reference, logits


def _run(network: Logits, images: Array, workers: int) -> Iterator[Array]:
    return ahead(lambda index: network(images[index : index + 1]), range(len(images)), workers)


def snr_db(network: Logits, probe: Probe) -> float | None:
    """Signal-to-noise ratio of the logits in decibels, the mean of the images'; None if not one of them changes.

    Each image has its own (as speech coders are judged, by segmental SNR: Jayant and Noll, Digital Coding of Waveforms,
    1984), because some drive a network so far that their clipping would be all that a ratio of sums tells. Logits
    count less their mean over the classes, which a softmax forgets.
    """
    ratios = []
    for reference, logits in probe.compared(network):
        signal, noise = _power(reference), _power(logits - reference)
        if signal:
            ratios.append(10 * math.log10(signal / noise) if noise else math.inf)
    clear = [min(ratio, CLEAREST_DB) for ratio in ratios]
    return sum(clear) / len(clear) if any(map(math.isfinite, ratios)) else None


def _power(logits: Array) -> float:
    return float(np.square(logits - logits.mean(dtype=np.float64)).sum())


def cost(network: Logits, probe: Probe, labelled: Probe | None) -> Cost:
    """What a network loses: its noise on the images of ``probe``, its predictions on the labelled ones."""
    ratio = snr_db(network, probe)
    if labelled is None or labelled.labels is None:
        return Cost(snr_db=ratio)
    lost = gained = 0
    for label, (reference, logits) in zip(labelled.labels, labelled.compared(network), strict=True):
        before, after = reference.argmax() == label, logits.argmax() == label
        lost += int(before and not after)
        gained += int(after and not before)
    return Cost(snr_db=ratio, images=len(labelled.images), lost=lost, gained=gained)
