"""Names of values in an ONNX graph: each is made once, by an input, an initializer or a node."""

from collections import Counter
from typing import TYPE_CHECKING

from edgex.errors import ModelError

if TYPE_CHECKING:
    from onnx import GraphProto


def check_names(graph: "GraphProto") -> None:
    """Refuse a graph in which two values have one name, as where a layer is called like the kernel of another.

    Raises:
        ModelError: names them.
    """
    made = Counter(value.name for value in (*graph.input, *graph.initializer))
    made.update(name for node in graph.node for name in node.output)
    repeated = [name for name, times in made.items() if times > 1]
    if repeated:
        raise ModelError(
            f"{graph.name} has several values named {', '.join(repeated[:10])}.",
            fix="Rename the layers that these names begin with.",
        )
