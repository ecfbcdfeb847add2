"""Which activations a device computes inside the operation before them.

Planner and writers ask here, so that a tensor exists in the plan exactly where it exists in the files.
"""

from edgex.graph.ir import Add, Conv2D, Dense, DepthwiseConv2D, Graph, Node, Relu

FUSING_OPS = (Conv2D, DepthwiseConv2D, Dense, Add)


def fused_activation(graph: Graph, node: Node) -> Node | None:
    """The ReLU or ReLU6 that runs inside ``node``, or None. The tensor between the two is never stored."""
    if not isinstance(node.op, FUSING_OPS):
        return None
    reader = graph.sole_consumer(node.name)
    if reader is not None and isinstance(reader.op, Relu) and reader.op.max_value in (None, 6.0):
        return reader
    return None


def fused_producer(graph: Graph, node: Node) -> Node | None:
    """The operation that computes the activation ``node`` itself, or None; the inverse of the above."""
    if not isinstance(node.op, Relu):
        return None
    producer = graph[node.inputs[0]]
    return producer if fused_activation(graph, producer) is node else None
