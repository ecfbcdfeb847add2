"""The layer that gives a classifier's logits, and another one in its place for other classes."""

import numpy as np

from edgex.errors import ModelError
from edgex.graph.ir import Conv2D, Dense, GlobalAveragePool, Graph, Identity, Input, Node, Pair, Resize, Softmax

BEHIND_LOGITS = (GlobalAveragePool, Identity, Resize, Softmax)
"""What may follow the layer of the logits; other functions of them are not what a cross-entropy wants."""


def head(graph: Graph) -> Node:
    """The last dense layer or 1×1 convolution of a classifier, whose outputs are the logits.

    Raises:
        ModelError: it ends in something else.
    """
    expect_logits(graph)
    node = graph[graph.outputs[0]]
    while isinstance(node.op, BEHIND_LOGITS):
        node = graph[node.inputs[0]]
    kernel = node.params.get("kernel")
    plain = isinstance(node.op, Conv2D) and node.op.groups == 1 and kernel is not None and kernel.shape[:2] == (1, 1)
    if plain or isinstance(node.op, Dense):
        return node
    raise ModelError(
        f"{graph.name} does not end in a dense layer or a 1×1 convolution, but in {node.name} "
        f"({type(node.op).__name__}).",
        fix="Give a classifier, or a network that classifies pixels.",
    )


def expect_logits(graph: Graph) -> None:
    """ModelError if a network goes on behind a softmax: losses would take what it makes of probabilities for logits."""
    node, final = graph[graph.outputs[0]], True
    while isinstance(node.op, BEHIND_LOGITS):
        if isinstance(node.op, Softmax) and not final:
            raise ModelError(
                f"{graph.name} ends in {graph.outputs[0]}, behind the softmax {node.name}, and training is for logits.",
                fix="Give a model whose softmax comes last, or has none.",
            )
        final = final and isinstance(node.op, Identity)
        node = graph[node.inputs[0]]


def classes_of(graph: Graph) -> int:
    """How many a network tells apart."""
    return graph.shapes[graph.outputs[0]][-1]


def pixels_of(graph: Graph) -> Pair | None:
    """Height and width of what a network that classifies pixels gives; None for one that classifies images."""
    shape = graph.shapes[graph.outputs[0]]
    return (shape[0], shape[1]) if len(shape) == 3 else None


def with_classes(graph: Graph, classes: int, seed: int) -> Graph:
    """The graph with a head for other classes, its kernel uniform as by Glorot & Bengio 2010, its bias zero.

    Raises:
        ModelError: as :func:`head`.
    """
    old = head(graph)
    *window, read, _ = old.params["kernel"].shape
    limit = np.sqrt(6 / (read + classes))
    drawn = np.random.default_rng(seed).uniform(-limit, limit, (*window, read, classes)).astype(np.float32)
    new = {"kernel": drawn}
    if "bias" in old.params:
        new["bias"] = np.zeros(classes, np.float32)
    return graph.rewrite({old.name: [old.with_params(**new)]})


def reads_one_image(graph: Graph) -> bool:
    """Whether a network has one input, an image, and one output."""
    return (
        len(graph.inputs) == len(graph.outputs) == 1
        and isinstance(graph.inputs[0].op, Input)
        and len(graph.shapes[graph.inputs[0].name]) == 3
    )
