"""Passes: functions from graph to graph that keep what it computes. Each says what it changed."""

from collections.abc import Callable

from edgex.graph.ir import Graph
from edgex.graph.passes.fold import fold_affine, fold_padding
from edgex.graph.passes.result import PassResult
from edgex.graph.passes.simplify import (
    binary_adds,
    dense_to_pointwise,
    drop_identities,
    recognize_hard_activations,
    split_separable,
)

PREPARATION: tuple[Callable[[Graph], PassResult], ...] = (
    drop_identities,
    recognize_hard_activations,
    split_separable,
    dense_to_pointwise,
    binary_adds,
    fold_padding,
    fold_affine,
)
"""What every graph goes through before it is planned or written, in order."""


def prepare(graph: Graph) -> Graph:
    """Apply :data:`PREPARATION`; the result computes what ``graph`` does, in the forms that writers know."""
    for run in PREPARATION:
        graph = run(graph).graph
    return graph
