"""Graphs as ``.keras`` files: Keras opens them and computes the same, and we read back what was written."""

import json
import os
import zipfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

os.environ.setdefault("KERAS_BACKEND", "tensorflow")
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import keras
import numpy as np
import operation_cases
import pytest
from graphs import tiny_xception
from keras_files import assert_reads_back, opened, written
from operation_cases import BIAS, IMAGES, chain, over, single, weights
from reference import relative_error

from edgex.errors import ModelError
from edgex.execute import tensor_values
from edgex.graph.ir import (
    Activation,
    Add,
    Array,
    BatchNorm,
    Concat,
    Conv2D,
    Dense,
    Elu,
    GlobalAveragePool,
    Graph,
    Input,
    LeakyRelu,
    Multiply,
    Node,
    Op,
    Relu,
    SeparableConv2D,
    Softmax,
)
from edgex.graph.keras_activations import activation_suffix
from edgex.graph.passes import prepare
from edgex.graph.passes.simplify import split_separable
from edgex.graph.read import read_model
from edgex.resources import demo_model
from edgex.write.keras import keras_file

TOLERANCE = 1e-4
"""Relative, of float outputs."""

PADS = ((1, 2), (0, 1))
STATISTICS = {
    "gamma": np.linspace(0.5, 1.5, 6),
    "beta": np.linspace(-1.0, 0.2, 6),
    "mean": np.linspace(0.3, -0.4, 6),
    "variance": np.linspace(0.6, 2.0, 6),
}
"""Of a batch norm of six channels; a swapped pair shows."""


def norm(*without: str, epsilon: float = 1e-3) -> Graph:
    return single(BatchNorm(epsilon), **{key: value for key, value in STATISTICS.items() if key not in without})


def separable(op: SeparableConv2D, **bias: Array) -> Graph:
    return single(op, depthwise=weights(3, 3, 6, 2), pointwise=weights(1, 1, 12, 5), **bias)


def built_in(op: Op) -> Graph:
    """An activation as it is read out of a convolution."""
    conv = Node("conv", Conv2D(), ("image",), {"kernel": weights(3, 3, 6, 4), "bias": BIAS[:4]})
    return chain(conv, Node(f"conv.{activation_suffix(op)}", op, ("conv",)))


BUILT_IN = {
    "relu": Relu(),
    "relu6": Relu(6.0),
    "ReLU": Relu(1.5),
    "leaky_relu": LeakyRelu(0.2),
    "LeakyReLU": LeakyRelu(0.3),
    "elu": Elu(),
    "ELU": Elu(0.5),
    "silu": Activation("silu"),
    "hard_silu": Activation("hard_silu"),
    "gelu": Activation("gelu"),
    "softmax": Softmax(),
}
"""As Keras names the function, or the class of layer where there is none."""

UNWRITABLE = "max pool padded explicitly"

CASES = {
    **{name: graph for name, graph in operation_cases.CASES.items() if name != UNWRITABLE},
    **{f"built-in {name}": built_in(op) for name, op in BUILT_IN.items()},
    "batch norm": norm(epsilon=0.02),
    "batch norm without gamma": norm("gamma"),
    "batch norm without beta": norm("beta"),
    "batch norm without either": norm("gamma", "beta"),
    "batch norm of features": over(GlobalAveragePool(), BatchNorm(), **STATISTICS),
    "separable": separable(SeparableConv2D((2, 2), "same"), bias=BIAS[:5]),
    "separable dilated": separable(SeparableConv2D(dilation=(2, 2))),
    "separable padded explicitly": separable(SeparableConv2D((2, 2), PADS)),
    "leaky relu 0.3": single(LeakyRelu(0.3)),
    "dense over pixels": single(Dense(), kernel=weights(6, 4), bias=BIAS[:4]),
    "tiny Xception": tiny_xception(),
}


def images_of(graph: Graph, count: int = 4) -> Array:
    (source,) = graph.inputs
    return np.random.default_rng(1).normal(0.0, 1.0, (count, *graph.shapes[source.name])).astype(np.float32)


def outputs(model: Any, images: Array) -> Array:
    return np.asarray(model(images, training=False))


def computed(graph: Graph, images: Array) -> Array:
    """What our ONNX of a graph gives."""
    prepared = prepare(graph)
    (found,) = tensor_values(prepared, prepared.outputs)(images)
    return found


@pytest.mark.parametrize("case", CASES)
def test_keras_computes_the_same(case: str, tmp_path: Path) -> None:
    graph = CASES[case]
    images = IMAGES if graph.inputs[0].name == "image" else images_of(graph)
    model = opened(written(graph, tmp_path))
    assert relative_error(outputs(model, images), computed(graph, images)) < TOLERANCE


@pytest.mark.parametrize("case", CASES)
def test_the_same_is_read_back(case: str, tmp_path: Path) -> None:
    assert_reads_back(CASES[case], written(CASES[case], tmp_path))


@pytest.fixture
def channels_first() -> Iterator[None]:
    """Keras as a user can have set it."""
    keras.config.set_image_data_format("channels_first")
    yield
    keras.config.set_image_data_format("channels_last")


@pytest.mark.usefixtures("channels_first")
@pytest.mark.parametrize(
    "case",
    [
        "conv same stride 2",
        "depthwise same stride 2",
        "separable",
        "max pool valid",
        "average pool same",
        "global average pool",
        "global max pool",
        "pad",
        "crop",
        "resize to another shape",
        "flatten",
        "batch norm",
    ],
)
def test_settings_of_the_user_change_nothing(case: str, tmp_path: Path) -> None:
    model = opened(written(CASES[case], tmp_path))
    assert relative_error(outputs(model, IMAGES), computed(CASES[case], IMAGES)) < TOLERANCE


def test_every_operation_is_tested() -> None:
    tested = {type(node.op) for graph in CASES.values() for node in graph.nodes}
    assert tested == set(Op.__subclasses__())


@pytest.mark.parametrize("op", BUILT_IN.values(), ids=BUILT_IN)
def test_an_activation_goes_back_into_its_layer(op: Op, tmp_path: Path) -> None:
    model = opened(written(built_in(op), tmp_path))
    assert [layer.name for layer in model.layers] == ["image", "conv"]


def test_other_activations_stay_outside(tmp_path: Path) -> None:
    alone = built_in(Relu())
    also_an_output = replace(alone, outputs=("conv.relu", "conv"))
    of_another_name = chain(*alone.nodes[1:-1], Node("conv.softmax", Relu(), ("conv",)))
    for graph in (also_an_output, of_another_name):
        path = written(graph, tmp_path)
        assert len(opened(path).layers) == 3
        assert_reads_back(graph, path)


def test_a_pool_padded_by_pixels_is_refused() -> None:
    with pytest.raises(ModelError, match=r"^node: .*pool"):
        keras_file(operation_cases.CASES[UNWRITABLE])


def conv(name: str, read: str, inputs: int, outputs: int) -> Node:
    return Node(name, Conv2D(), (read,), {"kernel": weights(1, 1, inputs, outputs)})


def branches() -> Graph:
    """Several inputs and outputs, one of each for nothing, and branches in another order than Keras gives them."""
    nodes = (
        Node("left", Input((5, 4, 3))),
        Node("idle", Input((4,))),
        Node("right", Input((5, 4, 2))),
        conv("short", "right", 2, 3),
        conv("dead", "right", 2, 3),
        conv("first", "left", 3, 3),
        conv("other", "left", 3, 3),
        conv("second", "first", 3, 3),
        Node("gate", Activation("sigmoid"), ("second",)),
        Node("product", Multiply(), ("gate", "other")),
        Node("sum", Add(), ("short", "product", "other")),
        conv("aside", "short", 3, 2),
        conv("last", "sum", 3, 4),
        Node("join", Concat(), ("last", "aside")),
    )
    return Graph("branches", nodes, ("aside", "join", "gate"))


def test_keras_finds_the_weights_of_every_branch(tmp_path: Path) -> None:
    graph = branches()
    path = written(graph, tmp_path)
    model = opened(path)
    assert [tensor.name for tensor in model.inputs] == ["left", "idle", "right"]
    assert model.output_names == ["aside", "join", "gate"]
    names = {node.name for node in graph.nodes} - {"dead"}
    assert {layer.name for layer in model.layers} == names
    for name in names & {"short", "first", "other", "second", "aside", "last"}:
        np.testing.assert_array_equal(model.get_layer(name).kernel.numpy(), graph[name].params["kernel"], name)
    assert_reads_back(graph, path)


def test_layers_lie_in_the_file_as_keras_orders_them(tmp_path: Path) -> None:
    path = written(branches(), tmp_path)
    with zipfile.ZipFile(path) as archive:
        config = json.loads(archive.read("config.json"))["config"]
    names = [layer["name"] for layer in config["layers"]]
    assert names == [layer.name for layer in opened(path).layers]
    assert names != [name for name in (node.name for node in branches().nodes) if name in names], "any order would do"


def test_names_that_keras_refuses_are_made_legal(tmp_path: Path) -> None:
    names = ["inner/conv", "inner_conv", "weiß und grün", "_hidden", "a.b-c>d", "inner conv"]
    nodes = [Node("image", Input((4, 4, 3)))]
    for name in names:
        nodes.append(Node(name, Conv2D(), (nodes[-1].name,), {"kernel": weights(1, 1, 3, 3)}))
    graph = Graph("in/out", tuple(nodes), (names[-1],))
    model = opened(written(graph, tmp_path))
    found = [layer.name for layer in model.layers][1:]
    assert found == ["inner_conv_1", "inner_conv", "wei__und_gr_n", "layer_hidden", "a.b-c>d", "inner_conv_2"]
    assert model.name == "in_out"
    for name, legal in zip(names, found, strict=True):
        np.testing.assert_array_equal(model.get_layer(legal).kernel.numpy(), graph[name].params["kernel"])
    images = images_of(graph)
    assert relative_error(model.predict(images, verbose=0), computed(graph, images)) < TOLERANCE


def test_zeros_get_a_name_of_their_own(tmp_path: Path) -> None:
    padded = operation_cases.CASES["conv padded explicitly"]["node"]
    graph = chain(padded, Node("node.pad", Relu(), ("node",)))
    assert [layer.name for layer in opened(written(graph, tmp_path)).layers][1:] == ["node.pad_1", "node", "node.pad"]


# Whole models


def layers_of(model: Any) -> list[tuple[str, str]]:
    return [(type(layer).__name__, layer.name) for layer in model.layers]


def assert_same_weights(new: Any, old: Any) -> None:
    for layer in new.layers:
        for variable, same in zip(
            layer.weights, old.get_layer(layer.name).weights if layer.weights else (), strict=True
        ):
            assert variable.numpy().tobytes() == same.numpy().tobytes(), variable.path


def assert_same_model(original: Path, folder: Path) -> None:
    """An Xception, split and written, has the layers, weights and predictions of the original."""
    graph = read_model(original)
    path = written(split_separable(graph).graph, folder)
    assert_reads_back(graph, path)
    old, new = opened(original), opened(path)
    assert layers_of(new) == layers_of(old)
    assert_same_weights(new, old)
    images = images_of(graph)
    for expected in (outputs(old, images), computed(graph, images)):
        assert relative_error(outputs(new, images), expected) < TOLERANCE


def test_the_demo_model_comes_back(tmp_path: Path) -> None:
    assert_same_model(demo_model(), tmp_path)


@pytest.mark.slow
def test_the_real_model_comes_back(shared: Path, tmp_path: Path) -> None:
    assert_same_model(shared / "models" / "xception-cifar10-71.keras", tmp_path)


def shake(model: Any) -> None:
    """Make all weights unlike each other, and keep their spread."""
    random = np.random.default_rng(0)
    for variable in model.weights:
        value = variable.numpy()
        variable.assign(value * random.uniform(0.8, 1.25, value.shape) + random.uniform(0.0, 0.02, value.shape))


@pytest.mark.slow
@pytest.mark.parametrize(("name", "size"), [("MobileNetV2", 45), ("EfficientNetB0", 45), ("InceptionV3", 75)])
def test_other_networks_come_back(name: str, size: int, tmp_path: Path) -> None:
    keras.utils.clear_session()
    keras.utils.set_random_seed(0)
    old = getattr(keras.applications, name)(
        weights=None, input_shape=(size, size, 3), classes=10, classifier_activation=None
    )
    shake(old)
    old.save(tmp_path / "old.keras")
    graph = read_model(tmp_path / "old.keras")
    path = written(graph, tmp_path)
    assert_reads_back(graph, path)
    new = opened(path)
    remaining = {layer.name for layer in old.layers if not isinstance(layer, keras.layers.Dropout)}
    assert {layer.name for layer in new.layers} == remaining
    assert_same_weights(new, old)
    images = images_of(graph)
    for expected in (outputs(old, images), computed(graph, images)):
        assert relative_error(outputs(new, images), expected) < TOLERANCE
