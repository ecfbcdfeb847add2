"""What to quantize: which nodes run in INT8, which tensors are stored in 8 bits, and which must share a scale."""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from edgex.errors import UsageError
from edgex.graph.fusion import fused_activation, fused_producer
from edgex.graph.ir import (
    Add,
    Conv2D,
    Dense,
    DepthwiseConv2D,
    GlobalAveragePool,
    Graph,
    Input,
    Relu,
)
from edgex.plan import TIED_OPS, Precision

WEIGHTED_OPS = (Conv2D, DepthwiseConv2D, Dense)
INT8_OPS = (*WEIGHTED_OPS, *TIED_OPS, Add, Relu, GlobalAveragePool)
"""Everything else runs in float between a dequantization and a quantization."""


@dataclass(frozen=True)
class QuantizationLayout:
    """The shape of a plan, without its numbers.

    Attributes:
        precisions: node name → precision, for every node that is not an input.
        tensors: names of the tensors stored in 8 bits, in graph order.
        ties: groups of those that share a scale.
    """

    precisions: Mapping[str, Precision]
    tensors: tuple[str, ...]
    ties: tuple[tuple[str, ...], ...]


def quantization_layout(
    graph: Graph, keep_float: re.Pattern[str] | None = None, *, integer_io: bool = False
) -> QuantizationLayout:
    """Decide what a quantized ``graph`` looks like.

    A tensor is stored in 8 bits if an INT8 node makes or reads it, except between an operation and the activation
    that runs inside it. With ``integer_io`` the model's ends are stored too, whoever makes or reads them.

    Args:
        graph: prepared (see :func:`edgex.graph.passes.prepare`).
        keep_float: nodes whose name it matches anywhere stay in float.
        integer_io: the model's inputs and outputs are integers.

    Raises:
        UsageError: ``keep_float`` matches nothing, or leaves nothing.
    """
    computed = [node for node in graph.nodes if not isinstance(node.op, Input)]
    if keep_float and not any(keep_float.search(node.name) for node in computed):
        raise UsageError(
            f"--keep-float {keep_float.pattern!r} matches no layer of {graph.name}.",
            fix="List the layers with edgex inspect.",
        )
    precisions: dict[str, Precision] = {}
    for node in computed:
        # What is fused runs as one kernel, so it has one precision
        kernel = fused_producer(graph, node) or node
        names = (kernel.name, getattr(fused_activation(graph, kernel), "name", kernel.name))
        kept = keep_float is not None and any(keep_float.search(name) for name in names)
        # What only moves floats leaves them: a reshaped softmax is not rounded
        moves_floats = isinstance(node.op, TIED_OPS) and all(precisions.get(name) == "float" for name in node.inputs)
        precisions[node.name] = "int8" if isinstance(node.op, INT8_OPS) and not (kept or moves_floats) else "float"
    int8 = [node for node in computed if precisions[node.name] == "int8"]
    if not int8:
        raise UsageError(
            f"There is nothing to quantize in {graph.name}.",
            fix="Keep fewer layers in float, or write a float model with edgex export.",
        )
    stored = {name for node in int8 for name in (*node.inputs, node.name)}
    if integer_io:
        stored.update(graph.outputs, (node.name for node in graph.inputs))
    stored -= {node.name for node in graph.nodes if fused_activation(graph, node) is not None}

    tied = [(*node.inputs, node.name) for node in int8 if isinstance(node.op, TIED_OPS)]
    tensors = tuple(node.name for node in graph.nodes if node.name in stored)
    # The order of the graph, not of a set, so that a plan has the same bytes in every run
    ties = tuple(tuple(name for name in tensors if name in group) for group in _merge(tied))
    return QuantizationLayout(precisions, tensors, ties)


def _merge(groups: Iterable[Iterable[str]]) -> list[set[str]]:
    """Join groups that have a member in common until none do."""
    merged: list[set[str]] = []
    for group in groups:
        joined = set(group)
        apart = []
        for other in merged:
            if other & joined:
                joined |= other
            else:
                apart.append(other)
        merged = [*apart, joined]
    return merged
