"""Run a network of which some layers are quantized, and compare its logits with those of the float one.

What runs is what the ONNX writer writes, in ONNX Runtime, so the figures are those of the artifact. Sessions use one
thread each, and several images run at a time: the same bits whatever the number of threads.
"""

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from edgex.dataset import Dataset
from edgex.errors import DataError
from edgex.execute import Logits
from edgex.graph.fusion import fused_activation
from edgex.graph.ir import Array, Graph
from edgex.logits import paired_hits, scored, snr_db
from edgex.parallel import ahead
from edgex.plan import QuantizationPlan
from edgex.preprocess import Preprocessing
from edgex.quantize.layout import quantization_layout
from edgex.sensitivity.record import Cost


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
        logits: of the float network, (images, places, classes); see :func:`edgex.logits.scored`.
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

    def logits_of(self, network: Logits) -> Array:
        """Of another network, (images, places, classes)."""
        return np.concatenate(list(_run(network, self.images, self.workers)))

    def snr_db(self, network: Logits) -> float | None:
        """Signal-to-noise ratio of another network's logits, see :func:`edgex.logits.snr_db`."""
        return snr_db(self.logits, self.logits_of(network))


def _run(network: Logits, images: Array, workers: int) -> Iterator[Array]:
    return ahead(lambda index: scored(network(images[index : index + 1])), range(len(images)), workers)


def cost(network: Logits, probe: Probe, labelled: Probe | None) -> Cost:
    """What a network loses: its noise on the images of ``probe``, its predictions on the labelled ones."""
    ratio = probe.snr_db(network)
    if labelled is None or labelled.labels is None:
        return Cost(snr_db=ratio)
    hits = paired_hits(labelled.labels, labelled.logits, labelled.logits_of(network))
    return Cost(snr_db=ratio, images=hits.images, lost=hits.lost, gained=hits.gained)
