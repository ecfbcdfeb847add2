"""Whole networks of keras.applications, read from files and written by us, give what Keras gives.

Each is read from the format of its Keras, run in float in both output formats, and quantized for the target ``cpu``.
The README's table of architectures says what is tested here, no more and no less.
"""

import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
from keras_oracle import (
    KERAS,
    Images,
    keras_outputs,
    leaves,
    onnx_outputs,
    random_images,
    randomize,
    relative_error,
    run_onnx,
    run_tflite,
    save,
    settle,
    tflite_outputs,
)
from reference import sqnr

from edgex.graph.ir import Conv2D, Graph, Input
from edgex.graph.passes import prepare
from edgex.graph.read_keras import read_keras
from edgex.lint import lint_file
from edgex.plan import QuantizationPlan, Range
from edgex.quantize.ptq import PtqOptions, quantize_ptq
from edgex.target import load_target
from edgex.write.onnx import OnnxForm, onnx_model
from edgex.write.tflite import tflite_model

README = Path(__file__).resolve().parents[2] / "README.md"

TOLERANCE = 1e-4
"""Relative, of float logits."""

LEAST_SQNR = 4.0
"""Of INT8 logits, in dB, less their mean over the images: an answer that is the same for all scores 0.

Networks that learned nothing have no margin, and the noise of up to 240 layers adds up to 5 to 10 dB.
"""

SIZES = {
    "DenseNet121": 45,
    "EfficientNetB0": 45,
    "EfficientNetV2B0": 45,
    "InceptionResNetV2": 75,
    "InceptionV3": 75,
    "MobileNet": 45,
    "MobileNetV2": 45,
    "MobileNetV3Large": 45,
    "MobileNetV3Small": 45,
    "NASNetMobile": 45,
    "ResNet50": 45,
    "ResNet50V2": 45,
    "VGG16": 45,
    "Xception": 71,
}
"""Small images, which are odd and even on their way down, or the smallest that a network takes."""

FILES = {"keras3": (".keras", ".h5"), "tf_keras": (".h5",)}
"""What each Keras saves; the first is read for everything."""
COLUMNS = ("Keras 3 `.keras`", "tf_keras `.h5`", "ONNX float", "TFLite float", "INT8, both")

TARGET = load_target("cpu")

pytestmark = pytest.mark.slow


class Saved(NamedTuple):
    """One model as it was read from each file, images, and what Keras makes of the first two."""

    graphs: dict[str, Graph]
    images: Images
    logits: Images
    parameters: int

    @property
    def graph(self) -> Graph:
        return next(iter(self.graphs.values()))

    @property
    def two(self) -> Images:
        return self.images[:2]


@pytest.fixture(scope="module", params=SIZES)
def architecture(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Saved]:
    """One architecture as each Keras builds it."""
    folder = tmp_path_factory.mktemp(request.param)
    return {keras: saved(request.param, keras, folder) for keras in KERAS}


def saved(name: str, keras_name: str, folder: Path) -> Saved:
    keras = KERAS[keras_name]
    keras.backend.clear_session()
    keras.utils.set_random_seed(0)
    size = SIZES[name]
    model: Any = getattr(keras.applications, name)(
        weights=None, input_shape=(size, size, 3), classes=10, classifier_activation=None
    )
    images = random_images(16, size, size, 3)
    if any(type(layer).__name__ == "Rescaling" for layer in leaves(model)):
        images = (images + 1) * 127.5
    randomize(model)
    settle(model, images)
    (logits,) = keras_outputs(model, images[:2])
    assert relative_error(logits[0], logits[1]) > 0.01, "the logits hardly depend on the image"
    graphs = {}
    for suffix in FILES[keras_name]:
        path = save(model, folder, suffix)
        graphs[suffix] = read_keras(path)
        path.unlink()
    return Saved(graphs, images, logits, model.count_params())


def parameters(graph: Graph) -> int:
    return sum(array.size for node in graph.nodes for array in node.params.values())


@pytest.mark.parametrize("keras", KERAS)
def test_float_logits_agree_in_both_formats(architecture: dict[str, Saved], keras: str) -> None:
    model = architecture[keras]
    assert parameters(model.graph) >= model.parameters  # a batch norm without scale or center gets ones or zeros
    for outputs in (onnx_outputs, tflite_outputs):
        (logits,) = outputs(model.graph, model.two)
        assert relative_error(logits, model.logits) <= TOLERANCE, outputs.__name__


def test_h5_of_keras_3_gives_the_same_graph(architecture: dict[str, Saved]) -> None:
    one, other = architecture["keras3"].graphs.values()
    for node, same in zip(one.nodes, other.nodes, strict=True):
        assert (node.name, node.op, node.inputs) == (same.name, same.op, same.inputs)
        assert node.params.keys() == same.params.keys()
        assert all((array == same.params[key]).all() for key, array in node.params.items())


def test_a_spoilt_first_layer_breaks_parity(architecture: dict[str, Saved]) -> None:
    model = architecture["keras3"]
    graph = model.graph
    first = next(node for node in graph.nodes if isinstance(node.op, Conv2D))
    spoilt = first.with_params(kernel=first.params["kernel"][..., ::-1])
    (logits,) = onnx_outputs(graph.rewrite({first.name: [spoilt]}), model.two)
    assert relative_error(logits, model.logits) > 10 * TOLERANCE


class Quantized(NamedTuple):
    """A model, images, and its float logits for them."""

    graph: Graph
    plan: QuantizationPlan
    images: Images
    logits: Images


@pytest.fixture(scope="module")
def quantized(architecture: dict[str, Saved]) -> Quantized:
    model = architecture["keras3"]
    named = [(str(number), image[np.newaxis]) for number, image in enumerate(model.images)]
    result = quantize_ptq(prepare(model.graph), named, PtqOptions(TARGET.activations, workers=2))
    (logits,) = onnx_outputs(model.graph, model.images)
    return Quantized(result.graph, result.plan, model.images, logits)


def int8_onnx(graph: Graph, plan: QuantizationPlan) -> bytes:
    form = OnnxForm(TARGET.opset, TARGET.onnx.activation_type, TARGET.onnx.bias)
    return bytes(onnx_model(graph, plan, form).SerializeToString())


INT8_FORMATS: dict[str, tuple[Callable[[Graph, QuantizationPlan], bytes], Callable[..., list[Images]]]] = {
    "onnx": (int8_onnx, run_onnx),
    "tflite": (tflite_model, run_tflite),
}


@pytest.mark.parametrize("suffix", INT8_FORMATS)
def test_int8_is_clean_and_close(quantized: Quantized, suffix: str, tmp_path: Path) -> None:
    graph, plan, images, expected = quantized
    write, run = INT8_FORMATS[suffix]
    path = tmp_path / f"model.{suffix}"
    path.write_bytes(write(graph, plan))
    kept_float = re.compile("|".join(f"^{re.escape(name)}$" for name in plan.kept_float) or "$^")
    assert lint_file(path, TARGET, allow_float=kept_float) == []

    (found,) = run(path.read_bytes(), images)
    assert closeness(found, expected) > LEAST_SQNR

    first = next(name for name in plan.ranges if not isinstance(graph[name].op, Input))
    (clipped,) = run(write(graph, with_a_quarter_of(first, plan)), images)
    assert closeness(clipped, expected) < LEAST_SQNR


def closeness(found: Images, expected: Images) -> float:
    """What tells the images apart, over the error, in dB."""
    common = expected.mean(axis=0)
    return sqnr(found - common, expected - common)


def with_a_quarter_of(tensor: str, plan: QuantizationPlan) -> QuantizationPlan:
    """The plan with the range of one tensor, and of those tied to it, a quarter as wide."""
    tied = next((group for group in plan.ties if tensor in group), (tensor,))
    low, high = plan.ranges[tensor]
    return replace(plan, ranges={**plan.ranges, **dict.fromkeys(tied, Range(low / 4, high / 4))})


def test_the_readme_says_what_is_tested() -> None:
    rule = ["---", *[":-:"] * len(COLUMNS)]
    rows = [["architecture", *COLUMNS], rule, *([name, *["✓"] * len(COLUMNS)] for name in SIZES)]
    table = "".join(f"| {' | '.join(row)} |\n" for row in rows)
    assert f"\n\n{table}\n" in README.read_text(encoding="utf-8")
