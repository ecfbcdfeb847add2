"""Small networks, quantized, some of them spoiled so that one layer or one tensor quantizes badly."""

from pathlib import Path
from typing import Any

import numpy as np
from graphs import tiny_xception
from onnx_support import named

from edgex.execute import open_network
from edgex.graph.ir import Array, Graph
from edgex.pipeline import WrittenDirectory
from edgex.plan import Scheme
from edgex.preprocess import Preprocessing
from edgex.quantize.ptq import PtqOptions, quantize_ptq
from edgex.sensitivity.ranking import Probes
from edgex.sensitivity.simulation import Probe
from edgex.sensitivity.subject import Subject
from edgex.write.onnx import OnnxForm

IMAGES = np.random.default_rng(0).uniform(-1, 1, (12, 32, 32, 3)).astype(np.float32)
LABELS = np.arange(12) % 10


def subject_of(graph: Graph, images: Array = IMAGES, scheme: Scheme = "asymmetric", **options: Any) -> Subject:
    """Quantized by smallest and largest values, without equalization."""
    chosen = PtqOptions(**{"scheme": scheme, "method": "minmax", "equalize": False, **options})
    result = quantize_ptq(graph, named(images), chosen)
    form = OnnxForm() if scheme == "asymmetric" else OnnxForm(activation_type="int8", bias="float")
    height, width, channels = images.shape[1:]
    nothing = WrittenDirectory(Path(), (), ())
    return Subject(nothing, result.graph, result.plan, form, Preprocessing((height, width), channels))


def probe_of(subject: Subject, images: Array = IMAGES, labels: Any = None, workers: int = 2) -> Probe:
    network = open_network(subject.graph, None, subject.form)
    return Probe.of(network, images, labels, workers, lambda *_: None)


def probes_of(subject: Subject, workers: int = 2) -> Probes:
    return Probes(probe_of(subject, workers=workers), probe_of(subject, labels=LABELS, workers=workers))


def with_spoiled_halves(factor: float = 1000.0) -> Graph:
    """A tiny Xception that computes the same, but for block3_sepconv2: one channel is tiny in between.

    Its depthwise output loses that channel, and its pointwise weights lose all others.
    """
    graph = tiny_xception()
    depthwise, pointwise = (graph[f"block3_sepconv2.{half}"] for half in ("depthwise", "pointwise"))
    scales = np.ones(24, np.float32)
    scales[5] = factor
    halves = {
        depthwise.name: [depthwise.with_params(kernel=depthwise.params["kernel"] / scales[:, np.newaxis])],
        pointwise.name: [pointwise.with_params(kernel=pointwise.params["kernel"] * scales[:, np.newaxis])],
    }
    return graph.rewrite(halves)


def with_spoiled_tensor(factor: float = 200.0) -> Graph:
    """A tiny Xception that computes the same, but for the output of block1_conv2: one channel reaches far.

    Two layers read it, whose weights have a scale per output channel of theirs; the depthwise one loses nothing there.
    """
    graph = tiny_xception()
    maker, depthwise, shortcut = (graph[name] for name in ("block1_conv2", "block2_sepconv1.depthwise", "conv2d"))
    scales = np.ones(16, np.float32)
    scales[3] = factor
    return graph.rewrite(
        {
            maker.name: [maker.with_params(kernel=maker.params["kernel"] * scales, bias=maker.params["bias"] * scales)],
            depthwise.name: [depthwise.with_params(kernel=depthwise.params["kernel"] / scales[:, np.newaxis])],
            shortcut.name: [shortcut.with_params(kernel=shortcut.params["kernel"] / scales[:, np.newaxis])],
        }
    )
