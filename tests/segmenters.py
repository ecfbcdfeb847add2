"""Small networks that label the pixels of the made-up shapes, with weights set by hand."""

from dataclasses import replace

import numpy as np
from shapes import CLASSES, COLOURS

from edgex.graph.ir import Array, Conv2D, Graph, Input, Node, Relu, Reshape, Softmax

SHARPNESS = 6.0
"""Of the scores; the softmax is neither flat nor a step."""


def colour_segmenter(size: int = 32, colours: Array = COLOURS) -> Graph:
    """Softmax scores (size, size, classes) of the class whose colour is nearest to each pixel's.

    Reads images (size, size, 3) in [-1, 1]. A 3x3 convolution takes off some of the noise, and a 1x1 one measures
    distances: the class of the least ``|x - c|²`` is that of the largest ``2 c x - |c|²``.
    """
    blur = np.zeros((3, 3, 3, 3), np.float32)
    for channel in range(3):
        blur[:, :, channel, channel] = np.outer([0.25, 0.5, 0.25], [0.25, 0.5, 0.25])
    centres = (colours / 127.5).astype(np.float32)  # of pixels in 0…2, after the bias of 1
    kernel = SHARPNESS * 2 * centres.T[np.newaxis, np.newaxis]
    bias = -SHARPNESS * np.square(centres).sum(axis=1)
    nodes = (
        Node("input", Input((size, size, 3))),
        Node("blur", Conv2D(padding="same"), ("input",), {"kernel": blur, "bias": np.ones(3, np.float32)}),
        Node("blur_act", Relu(), ("blur",)),
        Node("scores", Conv2D(), ("blur_act",), {"kernel": kernel, "bias": bias.astype(np.float32)}),
        Node("scores.softmax", Softmax(), ("scores",)),
    )
    return Graph("colours", nodes, ("scores.softmax",))


def corrupted(graph: Graph, by: float, seed: int = 0) -> Graph:
    """The same with noise on the weights that measure distances, of ``by`` times their spread."""
    random = np.random.default_rng(seed)
    node = graph["scores"]
    kernel = np.asarray(node.params["kernel"])
    noisy = kernel + by * kernel.std() * random.normal(size=kernel.shape)
    changed = replace(node, params={**node.params, "kernel": noisy.astype(np.float32)})
    return replace(graph, nodes=tuple(changed if each is node else each for each in graph.nodes))


def without_softmax(graph: Graph) -> Graph:
    """The same network, up to its logits."""
    return replace(graph, nodes=graph.nodes[:-1], outputs=("scores",))


def in_rows(graph: Graph) -> Graph:
    """The scores of :func:`colour_segmenter` in the order of its pixels, (pixels, classes), which is no map."""
    height, width, classes = graph.shapes["scores"]
    rows = Node("rows", Reshape((height * width, classes)), ("scores",))
    return replace(graph, nodes=(*graph.nodes[:-1], rows), outputs=("rows",))


assert len(COLOURS) == len(CLASSES)
