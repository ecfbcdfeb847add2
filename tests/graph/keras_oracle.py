"""Keras models with random weights, and what our own files of them compute."""

import math
import os
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

os.environ.setdefault("KERAS_BACKEND", "tensorflow")
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import keras
import numpy as np
import onnxruntime
import tf_keras
from ai_edge_litert.interpreter import Interpreter
from numpy.typing import NDArray

from edgex.graph.ir import Graph
from edgex.graph.passes import prepare
from edgex.write.onnx import onnx_model
from edgex.write.tflite import tflite_model

KERAS: dict[str, ModuleType] = {"keras3": keras, "tf_keras": tf_keras}
FORMATS = (".keras", ".h5")

Images = NDArray[np.float32]


def randomize(model: Any, seed: int = 0) -> None:
    """Draw all weights anew, so that every one of them, and the image, shows in the outputs.

    Fresh batch-norm statistics and biases are zeros and ones, which would hide a swap; and with Keras' initial
    kernels an image fades from layer to layer, until the outputs are a function of the last biases alone.
    """
    random = np.random.default_rng(seed)
    for layer in leaves(model):
        for variable in layer.weights:
            name, shape = variable.name, tuple(variable.shape)
            if any(part in name for part in ("variance", "gamma")):
                variable.assign(random.uniform(0.5, 1.5, shape))
            elif "kernel" in name:
                per_channel = "depthwise" in name or type(layer).__name__ == "DepthwiseConv2D"
                fan_in = math.prod(shape[:2] if per_channel else shape[:-1])
                variable.assign(random.standard_normal(shape, np.float32) * math.sqrt(2 / fan_in))
            elif "count" not in name:
                variable.assign(random.normal(0.0, 0.3, shape))
        if type(layer).__name__ == "Normalization":
            layer.finalize_state()  # it computes with copies of its variables


def settle(model: Any, images: Images, seed: int = 0) -> None:
    """Give the batch norms of a randomized model the statistics of some images, a little shaken.

    A deep network with statistics from nowhere is chaotic: what float rounds shows in its logits.
    """
    random = np.random.default_rng(seed)
    norms = [layer for layer in leaves(model) if type(layer).__name__ == "BatchNormalization"]
    for norm in norms:
        norm.momentum = 0.0
        norm.beta.assign(random.uniform(0.5, 1.5, norm.beta.shape))
    model(images, training=True)
    for norm in norms:
        mean, variance = (np.asarray(value) for value in (norm.moving_mean, norm.moving_variance))
        spread = np.maximum(variance, 0.1 * variance.mean())  # of few pixels, some channels hardly vary
        norm.moving_mean.assign(mean + random.normal(0.0, 0.1, mean.shape) * np.sqrt(spread))
        norm.moving_variance.assign(spread * random.uniform(0.8, 1.25, mean.shape))


def leaves(model: Any) -> Iterator[Any]:
    """Layers of a model and of the models in it."""
    for layer in model.layers:
        yield from leaves(layer) if hasattr(layer, "layers") else [layer]


def random_images(*shape: int) -> Images:
    return np.random.default_rng(1).uniform(-1, 1, shape).astype(np.float32)


def save(model: Any, folder: Path, suffix: str) -> Path:
    path = folder / f"model{suffix}"
    model.save(path)
    return path


def onnx_outputs(graph: Graph, *images: Images) -> list[Images]:
    """Outputs of our float ONNX for a batch."""
    return run_onnx(onnx_model(prepare(graph)).SerializeToString(), *images)


def tflite_outputs(graph: Graph, *images: Images) -> list[Images]:
    """Outputs of our float TFLite for a batch."""
    return run_tflite(tflite_model(prepare(graph)), *images)


def run_onnx(model: bytes, *images: Images) -> list[Images]:
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(model, options)
    return session.run(None, {node.name: batch for node, batch in zip(session.get_inputs(), images, strict=True)})


def run_tflite(model: bytes, *images: Images) -> list[Images]:
    interpreter = Interpreter(model_content=model)
    for details, batch in zip(interpreter.get_input_details(), images, strict=True):
        interpreter.resize_tensor_input(details["index"], batch.shape)
    interpreter.allocate_tensors()
    for details, batch in zip(interpreter.get_input_details(), images, strict=True):
        interpreter.set_tensor(details["index"], batch)
    interpreter.invoke()
    return [interpreter.get_tensor(details["index"]) for details in interpreter.get_output_details()]


def keras_outputs(model: Any, *images: Images) -> list[Images]:
    outputs = model(list(images) if len(images) > 1 else images[0], training=False)
    return [np.asarray(output) for output in (outputs if isinstance(outputs, list | tuple) else [outputs])]


def relative_error(found: Images, expected: Images) -> float:
    assert found.shape == expected.shape
    return float(np.abs(found - expected).max() / np.abs(expected).max())
