"""The last look at a prepared graph: files hold its numbers in float32, and none may be NaN or infinite there."""

from dataclasses import fields

import numpy as np
from numpy.typing import NDArray

from edgex.errors import ModelError
from edgex.graph.ir import Graph, Node

NAMED = 10
"""Nodes that the message lists."""


def check_finite(graph: Graph) -> None:
    """Refuse a graph with a number that is not finite.

    A reader refuses what is so in the file. Here it is what passes made of it: a batch norm divides by the root of its
    variance plus epsilon, which may be zero, and products of huge weights overflow.

    Raises:
        ModelError: names the nodes.
    """
    broken = [node.name for node in graph.nodes if not all(np.isfinite(numbers).all() for numbers in _numbers(node))]
    if broken:
        more = f" and {len(broken) - NAMED} more" if len(broken) > NAMED else ""
        raise ModelError(
            f"{graph.name} has numbers that are NaN or infinite in float32, in {', '.join(broken[:NAMED])}{more}.",
            fix="Check the weights there, and the epsilon of a batch norm that follows, or train the model again.",
        )


def _numbers(node: Node) -> list[NDArray[np.float32]]:
    """Arguments and weights of a node in float32, which may be infinite where float64 is not."""
    arguments = (getattr(node.op, field.name) for field in fields(node.op))
    with np.errstate(over="ignore"):
        numbers = [np.asarray(argument, np.float32) for argument in arguments if isinstance(argument, float)]
    return [*numbers, *node.params.values()]
