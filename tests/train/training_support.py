"""Calibrates, simulates and runs what is written, for the tests of training."""

from dataclasses import replace

import numpy as np
from onnx_support import named
from onnx_support import run as run_onnx
from reference import reference
from tflite_support import run as run_tflite

from edgex.dataset import Dataset, open_dataset
from edgex.graph.ir import (
    Add,
    Array,
    BatchNorm,
    Conv2D,
    Dense,
    DepthwiseConv2D,
    Flatten,
    Graph,
    Input,
    Node,
    Op,
    Relu,
)
from edgex.plan import QuantizationPlan, Scheme
from edgex.preprocess import Preprocessing
from edgex.quantize.ptq import PtqOptions, PtqResult, quantize_ptq
from edgex.train.fake_quant import quantize_network
from edgex.train.network import keras_model, logits_graph
from edgex.write.onnx import onnx_model
from edgex.write.onnx_form import OnnxForm
from edgex.write.tflite import tflite_model

FORMS: dict[Scheme, OnnxForm] = {
    "asymmetric": OnnxForm(),
    "symmetric": OnnxForm(activation_type="int8", bias="float"),
}


MINI_SIZE = 16


def mini() -> Graph:
    """A strided convolution, a separable one, a dense layer: quickly built."""
    draw = np.random.default_rng(0)

    def weighted(name: str, op: Op, read: str, fan_in: int, *shape: int) -> Node:
        kernel = draw.normal(0.0, np.sqrt(2 / fan_in), shape)
        bias = {} if isinstance(op, DepthwiseConv2D) else {"bias": draw.normal(0.0, 0.1, shape[-1])}
        return Node(name, op, (read,), {"kernel": kernel, **bias})

    nodes = (
        Node("image", Input((MINI_SIZE, MINI_SIZE, 3))),
        weighted("conv", Conv2D((2, 2), "same"), "image", 27, 3, 3, 3, 16),
        Node("relu", Relu(), ("conv",)),
        weighted("depthwise", DepthwiseConv2D((2, 2), "same"), "relu", 9, 3, 3, 16, 1),
        weighted("pointwise", Conv2D(), "depthwise", 16, 1, 1, 16, 24),
        Node("again", Relu(), ("pointwise",)),
        Node("flat", Flatten(), ("again",)),
        weighted("logits", Dense(), "flat", 384, 384, 10),
    )
    return Graph("mini", nodes, ("logits",))


def normalized() -> Graph:
    """As a graph is when it is pruned: with batch norm, its separable convolution split, and a bias only at the end.

    The running statistics are those of some digits.
    """
    draw = np.random.default_rng(1)

    def weighted(name: str, op: Op, read: str, fan_in: int, *shape: int) -> Node:
        return Node(name, op, (read,), {"kernel": draw.normal(0.0, np.sqrt(2 / fan_in), shape)})

    def normalizing(name: str, read: str, channels: int, *without: str) -> Node:
        params = {
            "gamma": draw.uniform(0.5, 1.5, channels),
            "beta": draw.normal(0.0, 0.3, channels),
            "mean": np.zeros(channels),
            "variance": np.ones(channels),
        }
        return Node(name, BatchNorm(1e-2), (read,), {key: params[key] for key in params if key not in without})

    nodes = (
        Node("image", Input((MINI_SIZE, MINI_SIZE, 3))),
        weighted("conv", Conv2D((2, 2), "same"), "image", 27, 3, 3, 3, 16),
        normalizing("conv_bn", "conv", 16),
        Node("relu", Relu(), ("conv_bn",)),
        weighted("separable.depthwise", DepthwiseConv2D((2, 2), "same"), "relu", 9, 3, 3, 16, 1),
        weighted("separable.pointwise", Conv2D(), "separable.depthwise", 16, 1, 1, 16, 24),
        normalizing("separable_bn", "separable.pointwise", 24, "gamma"),
        weighted("shortcut", Conv2D((2, 2), "same"), "relu", 16, 1, 1, 16, 24),
        normalizing("shortcut_bn", "shortcut", 24, "beta"),
        Node("add", Add(), ("separable_bn", "shortcut_bn")),
        Node("again", Relu(), ("add",)),
        weighted("last", Conv2D(padding="same"), "again", 216, 3, 3, 24, 8),
        Node("flat", Flatten(), ("last",)),
        weighted("logits", Dense(), "flat", 128, 128, 10).with_params(bias=draw.normal(0.0, 0.1, 10)),
    )
    graph = Graph("normalized", nodes, ("logits",))
    images = pixels(open_dataset("digits", role="training").sample(64), MINI_SIZE)
    for norm in (node for node in nodes if isinstance(node.op, BatchNorm)):
        values = reference(graph, images)[norm.inputs[0]]
        statistics = {"mean": values.mean(axis=(0, 1, 2)), "variance": values.var(axis=(0, 1, 2))}
        graph = graph.rewrite({norm.name: [norm.with_params(**statistics)]})
    return graph


def with_zeros(graph: Graph, share: float = 0.6) -> Graph:
    """The graph with so many weights of each kernel at zero."""
    draw = np.random.default_rng(2)
    nodes = [node for node in graph.nodes if "kernel" in node.params]
    kernels = {node.name: node.params["kernel"] for node in nodes}
    masked = {name: kernel * (draw.random(kernel.shape) >= share) for name, kernel in kernels.items()}
    return graph.rewrite({node.name: [node.with_params(kernel=masked[node.name])] for node in nodes})


def unlabelled(dataset: Dataset) -> Dataset:
    return replace(dataset, items=tuple(replace(item, label=None) for item in dataset.items))


def pixels(dataset: Dataset, size: int) -> Array:
    """All images of a dataset, as a network of that size reads them."""
    preprocessing = Preprocessing(size=(size, size))
    return np.stack([preprocessing.apply(dataset[index]) for index in range(len(dataset))])


def calibrated(graph: Graph, images: Array, scheme: Scheme = "asymmetric", **options: object) -> PtqResult:
    """The graph that ends at its logits, and a plan for it."""
    return quantize_ptq(logits_graph(graph), named(images), PtqOptions(scheme, **options))


def simulated(graph: Graph, plan: QuantizationPlan, images: Array) -> Array:
    """What the wrapped model gives."""
    logits: Array = quantize_network(keras_model(graph), graph, plan)(images, training=False).numpy()
    return logits


def of_onnx(graph: Graph, plan: QuantizationPlan | None, images: Array) -> Array:
    """What the ONNX file gives in ONNX Runtime."""
    form = OnnxForm() if plan is None else FORMS[plan.scheme]
    (logits,) = run_onnx(onnx_model(graph, plan, form), images).values()
    return logits


def of_tflite(graph: Graph, plan: QuantizationPlan, images: Array) -> Array:
    """What the TFLite file gives in LiteRT."""
    (logits,) = run_tflite(tflite_model(graph, plan), images).values()
    return logits


def apart(one: Array, other: Array) -> int:
    """Images that two networks put into different classes."""
    return int((one.argmax(axis=1) != other.argmax(axis=1)).sum())
