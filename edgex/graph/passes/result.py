"""What a pass hands back: the new graph, what it changed, and what it left and why."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from edgex.graph.ir import Graph


@dataclass(frozen=True)
class PassResult:
    """Result of one pass over a graph.

    Attributes:
        graph: computes the same function as the graph given, within float rounding.
        changed: names of the nodes that were replaced, in order.
        kept: node name → why the pass left it, for nodes it looked for and could not take.
    """

    graph: Graph
    changed: tuple[str, ...] = ()
    kept: Mapping[str, str] = field(default_factory=dict)
