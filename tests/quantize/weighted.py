"""Graphs of one layer with weights, and what quantizing the weights alone does to a graph."""

from collections.abc import Mapping
from dataclasses import replace
from functools import cache
from typing import NamedTuple

import numpy as np

from edgex.dataset import open_dataset
from edgex.graph.ir import Array, Conv2D, Dense, DepthwiseConv2D, Flatten, Graph, Input, Node, Op
from edgex.graph.passes import prepare
from edgex.graph.read import read_model
from edgex.plan import QuantizationPlan, QuantizedKernel, Range, WeightBits, quantize_kernel
from edgex.preprocess import Preprocessing
from edgex.quantize.ptq import PtqOptions, quantize_ptq
from edgex.resources import demo_model

SHAPE = (6, 5, 4)
SPAN = Range(-0.9, 1.1)
AXES = {Conv2D: (3,), DepthwiseConv2D: (2, 3), Dense: (1,)}
"""The axes of a kernel that count its output channels."""

LAYERS: Mapping[str, tuple[Op, tuple[int, ...]]] = {
    "convolution": (Conv2D(padding="same"), (3, 3, 4, 6)),
    "strided": (Conv2D(strides=(2, 1), padding="same"), (3, 2, 4, 3)),
    "dilated": (Conv2D(padding="same", dilation=(2, 1)), (3, 3, 4, 3)),
    "padded": (Conv2D(strides=(2, 2), padding=((1, 0), (2, 1))), (2, 3, 4, 5)),
    "valid": (Conv2D(), (2, 4, 4, 5)),
    "pointwise": (Conv2D(), (1, 1, 4, 7)),
    "grouped": (Conv2D(padding="same", groups=2), (3, 3, 2, 6)),
    "depthwise": (DepthwiseConv2D(padding="same"), (3, 3, 4, 1)),
    "multiplied": (DepthwiseConv2D(strides=(2, 2), padding="same"), (3, 2, 4, 2)),
    "spread": (DepthwiseConv2D(padding="same", dilation=(1, 2)), (3, 3, 4, 1)),
    "dense": (Dense(), (120, 3)),
}
"""Name → operation and shape of its kernel, for an image of :data:`SHAPE`; all have at most 32 output positions."""


def weights(*shape: int) -> Array:
    """Always the same ones."""
    return np.random.default_rng(sum(shape)).normal(0, 0.1, shape).astype(np.float32)


def one_layer(op: Op, kernel: Array, shape: tuple[int, int, int] = SHAPE, bias: Array | None = None) -> Graph:
    """``image`` → ``layer``, over ``flat`` if the layer is dense."""
    params = {"kernel": kernel} | ({} if bias is None else {"bias": bias})
    image = Node("image", Input(shape))
    if isinstance(op, Dense):
        flat = Node("flat", Flatten(), ("image",))
        return Graph("dense", (image, flat, Node("layer", op, ("flat",), params)), ("layer",))
    return Graph("one", (image, Node("layer", op, ("image",), params)), ("layer",))


def plan_of(graph: Graph, weight_bits: WeightBits = 8, span: Range = SPAN) -> QuantizationPlan:
    """A plan that stores all tensors with one range."""
    computed = [node.name for node in graph.nodes[1:]]
    ranges = dict.fromkeys(["image", *computed], span)
    return QuantizationPlan("asymmetric", ranges, dict.fromkeys(computed, "int8"), weight_bits=weight_bits)


def quantized(graph: Graph, plan: QuantizationPlan, name: str) -> QuantizedKernel:
    """The weights of a node as writers store them."""
    node = graph[name]
    scale = plan.parameters(node.inputs[0]).scale
    return quantize_kernel(node.params["kernel"], AXES[type(node.op)], node.params.get("bias"), scale, plan.weight_bits)


def dequantized(graph: Graph, plan: QuantizationPlan, name: str) -> Array:
    """The kernel of a node as the artifact has it."""
    kernel = quantized(graph, plan, name)
    return kernel.values * kernel.scales.reshape(graph[name].params["kernel"].shape[AXES[type(graph[name].op)][0] :])


def with_quantized_weights(graph: Graph, plan: QuantizationPlan) -> Graph:
    """The float graph with the kernels of the artifact."""
    layers = [node for node in graph.nodes if type(node.op) in AXES and plan.is_int8(node.name)]
    return graph.rewrite({n.name: [n.with_params(kernel=dequantized(graph, plan, n.name))] for n in layers})


class Demo(NamedTuple):
    """The demo's model up to its logits, a 4-bit plan, the images it comes from, and 200 others."""

    graph: Graph
    plan: QuantizationPlan
    calibration: list[tuple[str, Array]]
    images: Array


@cache
def demo() -> Demo:
    """Calibrated once for all tests."""
    prepared = prepare(read_model(demo_model()))
    height, width, channels = prepared.shapes[prepared.inputs[0].name]
    preprocessing = Preprocessing((height, width), channels)
    calibration = open_dataset("digits", role="calibration")
    named = [(calibration.names[int(index)], image) for (index,), image in calibration.batches(preprocessing)]
    found = quantize_ptq(prepared, named, PtqOptions("symmetric"))
    ((_, images),) = open_dataset("digits", role="evaluation").sample(200).batches(preprocessing, batch=200)
    logits = replace(found.graph, nodes=found.graph.nodes[:-1], outputs=("predictions",))
    return Demo(logits, replace(found.plan, weight_bits=4), named, images)
