"""Calibrates, simulates and runs what is written, for the tests of training."""

from dataclasses import replace

import numpy as np
from onnx_support import named
from onnx_support import run as run_onnx
from tflite_support import run as run_tflite

from edgex.dataset import Dataset
from edgex.graph.ir import Array, Conv2D, Dense, DepthwiseConv2D, Flatten, Graph, Input, Node, Op, Relu
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
