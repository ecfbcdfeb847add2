"""Whole networks of keras.applications, read from files and written by us, give what Keras gives."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from keras_oracle import (
    FORMATS,
    KERAS,
    Images,
    keras_outputs,
    onnx_outputs,
    random_images,
    randomize,
    relative_error,
    save,
    tflite_outputs,
)

from edgex.graph.ir import Conv2D, Graph
from edgex.graph.read_keras import read_keras

TOLERANCE = 1e-4
SIZES = {"Xception": 71, "InceptionV3": 75, "ResNet50": 64, "MobileNetV2": 64, "VGG16": 32}
"""The smallest images that each network takes, or a little more."""

pytestmark = pytest.mark.slow


class Saved(NamedTuple):
    """One model in both formats, a batch of images, and its logits for them."""

    paths: dict[str, Path]
    images: Images
    logits: Images
    parameters: int


@pytest.fixture(scope="module", params=[(name, keras) for name in SIZES for keras in KERAS], ids="-".join)
def saved(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Saved]:
    name, keras_name = request.param
    keras = KERAS[keras_name]
    keras.utils.set_random_seed(0)
    size = SIZES[name]
    model: Any = getattr(keras.applications, name)(
        weights=None, input_shape=(size, size, 3), classes=10, classifier_activation=None
    )
    randomize(model)
    folder = tmp_path_factory.mktemp(f"{name}-{keras_name}")
    paths = {suffix: save(model, folder, suffix) for suffix in FORMATS}
    images = random_images(2, size, size, 3)
    (logits,) = keras_outputs(model, images)
    assert relative_error(logits[0], logits[1]) > 0.01, "the logits hardly depend on the image"
    yield Saved(paths, images, logits, model.count_params())
    for path in paths.values():
        path.unlink()


def parameters(graph: Graph) -> int:
    return sum(array.size for node in graph.nodes for array in node.params.values())


@pytest.mark.parametrize("suffix", FORMATS)
def test_logits_agree_in_both_formats(saved: Saved, suffix: str) -> None:
    graph = read_keras(saved.paths[suffix])
    assert parameters(graph) >= saved.parameters  # a batch norm without scale or center gets ones or zeros
    for outputs in (onnx_outputs, tflite_outputs):
        (logits,) = outputs(graph, saved.images)
        assert relative_error(logits, saved.logits) <= TOLERANCE, outputs.__name__


def test_a_spoilt_first_layer_breaks_parity(saved: Saved) -> None:
    graph = read_keras(saved.paths[".keras"])
    first = next(node for node in graph.nodes if isinstance(node.op, Conv2D))
    spoilt = first.with_params(kernel=first.params["kernel"][..., ::-1])
    (logits,) = onnx_outputs(graph.rewrite({first.name: [spoilt]}), saved.images)
    assert relative_error(logits, saved.logits) > 10 * TOLERANCE
