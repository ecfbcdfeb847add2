"""Which units go: those of the least importance for the multiply-accumulates that they save.

Widths get narrower in turns. Kernels run best on whole multiples of 8 or 16 channels, so a width loses a chunk at a
time, from one multiple to the next.
"""

import math
from itertools import pairwise
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from edgex.errors import UsageError
from edgex.graph.ir import Conv2D, Dense, DepthwiseConv2D, Graph
from edgex.graph.macs import macs
from edgex.prune.channels import Coupling, Units
from edgex.prune.importance import Importance

LEAST_SHARE = 1 / 8
"""Of its units that a width keeps: a layer with next to none is a bottleneck that fine-tuning cannot widen."""

Values = NDArray[np.float64]


def choose(graph: Graph, coupling: Coupling, importance: Importance, sparsity: float, multiple: int) -> Units:
    """Choose units until their multiply-accumulates (MACs) are a share of all.

    At each turn that width loses its least important chunk whose chunk costs the least importance per MAC.

    Args:
        graph: in pruning form.
        coupling: of this graph.
        importance: of each unit, (units,), 0 and up.
        sparsity: share of the graph's MACs to remove; the last chunk may remove a little more.
        multiple: what the widths that lose something are to be divisible by.

    Returns:
        Units to :func:`edgex.prune.channels.remove`, in order.

    Raises:
        UsageError: the sparsity is no share, or cannot be reached.
    """
    if not 0 < sparsity < 1:
        raise UsageError(
            f"--sparsity {sparsity:g} is not between 0 and 1.",
            fix="Give the share of the multiply-accumulates to remove, like 0.5.",
        )
    descents = [_descent(width.units, importance, multiple) for width in coupling.widths]
    work = _Work(graph, coupling)
    total = sum(macs(graph, node) for node in graph.nodes)
    turns = np.zeros(len(descents), np.int64)
    chunks = np.array([descent.chunks[0] for descent in descents], np.float64)
    costs = np.array([descent.costs[0] for descent in descents])
    removed = 0.0
    while removed < sparsity * total:
        saved = work.saved(chunks)
        if not saved.any():
            raise UsageError(
                f"--sparsity {sparsity:g} is more than {graph.name} can lose: with all its widths at their least, "
                f"{math.floor(100 * removed / total)} % of its multiply-accumulates are gone.",
                fix="Ask for less.",
            )
        rates = np.divide(costs, saved, out=np.full(len(costs), np.inf), where=saved > 0)
        width = int(rates.argmin())
        removed += saved[width]
        work.shrink(width, chunks[width])
        turns[width] += 1
        chunks[width] = descents[width].chunks[turns[width]]
        costs[width] = descents[width].costs[turns[width]]
    gone = [descent.units[: sum(descent.chunks[:done])] for descent, done in zip(descents, turns, strict=True)]
    return np.sort(np.concatenate(gone))


class _Descent(NamedTuple):
    """How a width gets narrower: the units of each chunk, and what it costs.

    Attributes:
        units: the least important first.
        chunks: sizes, in turn; the last is 0, when nothing is left to take.
        costs: the importance of each chunk.
    """

    units: Units
    chunks: list[int]
    costs: list[float]


def _descent(units: Units, importance: Importance, multiple: int) -> _Descent:
    ordered = units[np.argsort(importance[units], kind="stable")]
    least = max(multiple, math.ceil(len(units) * LEAST_SHARE))
    widths = [len(units), *range((len(units) - 1) // multiple * multiple, least - 1, -multiple)]
    bounds = len(units) - np.array(widths)
    costs = [importance[ordered[start:stop]].sum() for start, stop in pairwise(bounds)]
    return _Descent(ordered, [*np.diff(bounds).tolist(), 0], [*costs, 0.0])


class _Work:
    """The MACs of all layers, each ``weight * inputs * outputs``, while widths get narrower.

    ``reads`` and ``makes`` say how many inputs and outputs one unit of a width is, (layers, widths). All numbers are
    integers, which float64 adds and multiplies exactly up to 2**53.
    """

    def __init__(self, graph: Graph, coupling: Coupling) -> None:
        layers = [node for node in graph.nodes if isinstance(node.op, Conv2D | DepthwiseConv2D | Dense)]
        kernels = [node.params["kernel"].shape for node in layers]
        depthwise = np.array([isinstance(node.op, DepthwiseConv2D) for node in layers])
        positions = np.array([math.prod(graph.shapes[node.name][:-1]) for node in layers])
        self._weight = np.array([math.prod(shape[:-2]) for shape in kernels]) * positions.astype(np.float64)
        # A depthwise output reads one channel, however many there are
        self._inputs = np.where(depthwise, 1.0, [shape[-2] for shape in kernels])
        self._outputs = np.array([graph.shapes[node.name][-1] for node in layers], np.float64)
        self._reads = _channels_per_unit(coupling, [node.inputs[0] for node in layers])
        self._reads[depthwise] = 0.0
        # An output of a grouped convolution reads its own group's, which a unit is in as every other
        self._reads /= np.array([[getattr(node.op, "groups", 1)] for node in layers])
        self._makes = _channels_per_unit(coupling, [node.name for node in layers])
        self._shared = self._weight @ (self._reads * self._makes)

    def saved(self, chunks: Values) -> Values:
        """MACs that go with so many units of each width, were it the only one to lose any, (widths,)."""
        apart = (self._weight * self._inputs) @ self._makes + (self._weight * self._outputs) @ self._reads
        return chunks * apart - chunks**2 * self._shared

    def shrink(self, width: int, chunk: float) -> None:
        self._inputs -= self._reads[:, width] * chunk
        self._outputs -= self._makes[:, width] * chunk


def _channels_per_unit(coupling: Coupling, tensors: list[str]) -> Values:
    """How often each tensor has a unit of each width, (tensors, widths)."""
    none = len(coupling.widths)
    width_of = np.full(coupling.count, none)
    for index, width in enumerate(coupling.widths):
        width_of[width.units] = index
    sizes = np.array([len(width.units) for width in coupling.widths])
    channels = [np.bincount(width_of[coupling.units[name]], minlength=none + 1)[:none] for name in tensors]
    per_unit: Values = np.array(channels) / sizes
    return per_unit
