"""Passes: functions from graph to graph that keep what it computes. Each says what it changed."""

from collections.abc import Callable

import numpy as np

from edgex.errors import ModelError
from edgex.graph.ir import Graph, RepeatedNameError
from edgex.graph.passes.finite import check_finite
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
    """Apply :data:`PREPARATION`; the result computes what ``graph`` does, in the forms that writers know.

    Raises:
        ModelError: a number is not finite any more (see :func:`edgex.graph.passes.finite.check_finite`), or a layer has
            a name that a part of another needs.
    """
    # Of what overflows, check_finite speaks
    with np.errstate(over="ignore", divide="ignore", invalid="ignore"):
        try:
            for run in PREPARATION:
                graph = run(graph).graph
        except RepeatedNameError as error:
            raise ModelError(
                f"{graph.name} cannot be taken apart: {error}.", fix="Rename the layer of that name, or its neighbour."
            ) from error
    check_finite(graph)
    return graph
