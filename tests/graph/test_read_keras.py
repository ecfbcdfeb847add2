"""Reading Keras files: every layer and option, ways to build a model, and sizes. Damage is in test_keras_refusals."""

import subprocess
import sys
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Any

import h5py
import numpy as np
import pytest
import tensorflow as tf
from keras_oracle import (
    FORMATS,
    KERAS,
    keras_outputs,
    onnx_outputs,
    random_images,
    randomize,
    relative_error,
    save,
)

from edgex.errors import UsageError
from edgex.graph.ir import Affine, Conv2D, Dense, Elu, Graph, Input, Relu, SeparableConv2D, Softmax
from edgex.graph.keras_layers import LAYERS
from edgex.graph.read import read_model
from edgex.graph.read_keras import read_keras

HEIGHT, WIDTH, CHANNELS = 9, 8, 6
"""Odd and even: SAME padding with stride 2 differs."""

TOLERANCE = 1e-5

Layers = Callable[[ModuleType], list[Any]]

LAYER_CASES: dict[str, Layers] = {
    "activation-linear": lambda k: [k.Conv2D(4, 1), k.Activation("linear")],
    "activity-regularization": lambda k: [k.Conv2D(4, 1), k.ActivityRegularization(l2=0.1)],
    "average-pooling-same": lambda k: [k.AveragePooling2D(3, strides=2, padding="same")],
    "average-pooling-valid": lambda k: [k.AveragePooling2D((2, 3))],
    "batch-normalization": lambda k: [k.BatchNormalization(epsilon=0.01)],
    "batch-normalization-no-center": lambda k: [k.BatchNormalization(center=False)],
    "batch-normalization-no-scale": lambda k: [k.BatchNormalization(scale=False)],
    "batch-normalization-neither": lambda k: [k.BatchNormalization(center=False, scale=False)],
    "batch-normalization-of-features": lambda k: [k.Flatten(), k.Dense(7), k.BatchNormalization()],
    "batch-normalization-frozen": lambda k: [k.BatchNormalization(trainable=False), k.Conv2D(2, 1, trainable=False)],
    "conv-dilation": lambda k: [k.Conv2D(4, 3, dilation_rate=2, padding="same")],
    "conv-dilation-valid": lambda k: [k.Conv2D(4, (2, 3), dilation_rate=(2, 1))],
    "conv-groups": lambda k: [k.Conv2D(4, 3, groups=2)],
    "conv-no-bias": lambda k: [k.Conv2D(4, 3, use_bias=False)],
    "conv-same-stride-2": lambda k: [k.Conv2D(4, 3, strides=2, padding="same")],
    "conv-same-even-kernel": lambda k: [k.Conv2D(4, (2, 4), padding="same")],
    "conv-valid-stride": lambda k: [k.Conv2D(4, (3, 2), strides=(1, 2))],
    "cropping": lambda k: [k.Cropping2D(((1, 2), (3, 1)))],
    "cropping-number": lambda k: [k.Cropping2D(2)],
    "dense-over-pixels": lambda k: [k.Dense(5, activation="relu")],
    "depthwise": lambda k: [k.DepthwiseConv2D(3, strides=2, padding="same")],
    "depthwise-dilation": lambda k: [k.DepthwiseConv2D(3, dilation_rate=2, padding="same", use_bias=False)],
    "depthwise-multiplier": lambda k: [k.DepthwiseConv2D(3, depth_multiplier=3, activation="relu")],
    "dropout": lambda k: [k.Dropout(0.5), k.SpatialDropout2D(0.5), k.Conv2D(4, 1)],
    "elu": lambda k: [k.ELU()],
    "elu-alpha": lambda k: [k.ELU(0.3)],
    "gaussian": lambda k: [k.GaussianNoise(1.0), k.GaussianDropout(0.5), k.Conv2D(4, 1)],
    "global-average-pooling": lambda k: [k.GlobalAveragePooling2D()],
    "global-average-pooling-keepdims": lambda k: [k.GlobalAveragePooling2D(keepdims=True)],
    "global-max-pooling": lambda k: [k.GlobalMaxPooling2D()],
    "global-max-pooling-keepdims": lambda k: [k.GlobalMaxPooling2D(keepdims=True)],
    "leaky-relu": lambda k: [k.LeakyReLU(0.3)],
    "max-pooling-same": lambda k: [k.MaxPooling2D(3, strides=2, padding="same")],
    "max-pooling-valid": lambda k: [k.MaxPooling2D(2)],
    "normalization": lambda k: [k.Normalization()],
    "normalization-fixed": lambda k: [k.Normalization(mean=[1.0, 2, 3, 4, 5, 6], variance=[1.0, 2, 3, 4, 5, 0.5])],
    "normalization-one-number": lambda k: [k.Normalization(axis=None, mean=0.5, variance=4.0)],
    "normalization-inverted": lambda k: [k.Normalization(axis=None, mean=0.5, variance=4.0, invert=True)],
    "random-augmentation": lambda k: [
        k.RandomFlip(),
        k.RandomRotation(0.2),
        k.RandomZoom(0.2),
        k.RandomTranslation(0.1, 0.1),
        k.RandomContrast(0.2),
        k.Conv2D(4, 1),
    ],
    "relu": lambda k: [k.ReLU()],
    "relu-max": lambda k: [k.ReLU(max_value=0.5)],
    "relu-slope": lambda k: [k.ReLU(negative_slope=0.25)],
    "rescaling": lambda k: [k.Rescaling(1 / 127.5, offset=-1.0)],
    "rescaling-per-channel": lambda k: [k.Rescaling([1.0, 2, 3, 4, 5, 6], offset=np.arange(6.0))],
    "reshape": lambda k: [k.Reshape((HEIGHT * WIDTH, -1)), k.Reshape((WIDTH, HEIGHT, CHANNELS)), k.Conv2D(2, 3)],
    "resizing": lambda k: [k.Resizing(13, 5)],
    "resizing-nearest": lambda k: [k.Resizing(13, 5, interpolation="nearest")],
    "separable": lambda k: [k.SeparableConv2D(5, 3, strides=2, padding="same")],
    "separable-multiplier": lambda k: [k.SeparableConv2D(5, 3, depth_multiplier=2, use_bias=False, activation="relu")],
    "separable-dilation": lambda k: [k.SeparableConv2D(5, 3, dilation_rate=2, padding="same")],
    "softmax": lambda k: [k.GlobalAveragePooling2D(), k.Softmax()],
    "up-sampling": lambda k: [k.UpSampling2D((2, 3))],
    "up-sampling-bilinear": lambda k: [k.UpSampling2D(4, interpolation="bilinear")],
    "zero-padding": lambda k: [k.ZeroPadding2D(((0, 1), (2, 3))), k.Conv2D(4, 3, strides=2)],
    "zero-padding-number": lambda k: [k.ZeroPadding2D(1)],
}
ACTIVATION_CASES = ["elu", "gelu", "hard_sigmoid", "leaky_relu", "relu", "relu6", "sigmoid", "silu", "softmax"]
ACTIVATION_CASES += ["softplus", "swish", "tanh", "linear"]
KERAS_3_ACTIVATION_CASES = ["hard_silu", "hard_swish"]


@pytest.fixture(params=KERAS)
def keras(request: pytest.FixtureRequest) -> ModuleType:
    return KERAS[request.param]


def functional(keras: ModuleType, layers: list[Any]) -> Any:
    image = keras.Input((HEIGHT, WIDTH, CHANNELS), name="image")
    tensor = image
    for layer in layers:
        tensor = layer(tensor)
    return keras.Model(image, tensor)


def assert_same(model: Any, folder: Path, *shapes: tuple[int, ...], outputs: tuple[str, ...] | None = None) -> Graph:
    """Both formats of a model, read and run, give what it gives. Returns the graph."""
    randomize(model)
    images = [random_images(2, *shape) for shape in shapes or [(HEIGHT, WIDTH, CHANNELS)]]
    expected = keras_outputs(model, *images)
    for suffix in FORMATS:
        graph = read_keras(save(model, folder, suffix))
        assert outputs is None or graph.outputs == outputs
        found = onnx_outputs(graph, *images)
        assert len(found) == len(expected)
        for ours, theirs in zip(found, expected, strict=True):
            assert relative_error(ours, theirs) < TOLERANCE, suffix
    return graph


@pytest.mark.parametrize("case", LAYER_CASES)
def test_layer(keras: ModuleType, case: str, tmp_path: Path) -> None:
    assert_same(functional(keras, LAYER_CASES[case](keras.layers)), tmp_path)


def test_every_supported_layer_is_tested() -> None:
    tested = {type(layer).__name__ for make in LAYER_CASES.values() for layer in make(KERAS["keras3"].layers)}
    elsewhere = {"Add", "Concatenate", "CustomScaleLayer", "InputLayer", "Multiply"}
    assert set(LAYERS) == tested | elsewhere


@pytest.mark.parametrize("name", ACTIVATION_CASES)
def test_activation_as_layer_and_built_in(keras: ModuleType, name: str, tmp_path: Path) -> None:
    conv = keras.layers.Conv2D(CHANNELS, 1, activation=name, name="conv")
    assert_same(functional(keras, [conv, keras.layers.Activation(name, name="last")]), tmp_path)


@pytest.mark.parametrize("name", KERAS_3_ACTIVATION_CASES)
def test_activation_of_keras_3(name: str, tmp_path: Path) -> None:
    keras = KERAS["keras3"]
    assert_same(functional(keras, [keras.layers.Conv2D(CHANNELS, 1, activation=name)]), tmp_path)


def test_hard_sigmoid_differs_between_the_two_keras() -> None:
    value = tf.constant([2.75])
    keras_3, keras_2 = (float(keras.activations.hard_sigmoid(value)[0]) for keras in KERAS.values())
    assert keras_2 - keras_3 > 0.03, "one definition would do for both"


def test_layer_given_as_activation(keras: ModuleType, tmp_path: Path) -> None:
    layers = keras.layers
    conv = layers.Conv2D(4, 3, activation=layers.ReLU(max_value=1.0), name="conv")
    last = layers.Conv2D(4, 3, activation=layers.ELU(0.5), name="last")
    graph = assert_same(functional(keras, [conv, last]), tmp_path, outputs=("last.elu",))
    assert (graph["conv.relu"].op, graph["last.elu"].op) == (Relu(1.0), Elu(0.5))


def test_names_of_a_residual_classifier(keras: ModuleType, tmp_path: Path) -> None:
    layers = keras.layers
    image = keras.Input((HEIGHT, WIDTH, CHANNELS), name="image")
    stem = layers.Conv2D(CHANNELS, 3, padding="same", activation="relu", name="stem")(image)
    gate = layers.GlobalAveragePooling2D(keepdims=True, name="squeeze")(stem)
    scaled = layers.Multiply(name="scale")([stem, gate])
    total = layers.Add(name="sum")([image, scaled, stem])
    joined = layers.Concatenate(name="join")([total, stem])
    pooled = layers.GlobalAveragePooling2D(name="pool")(joined)
    model = keras.Model(image, layers.Dense(5, activation="softmax", name="predictions")(pooled), name="classifier")
    graph = assert_same(model, tmp_path, outputs=("predictions.softmax",))
    names = "image stem stem.relu squeeze scale sum join pool predictions predictions.softmax"
    assert [node.name for node in graph.nodes] == names.split()
    assert graph.name == "classifier"
    assert graph["image"].op == Input((HEIGHT, WIDTH, CHANNELS))
    assert isinstance(graph["predictions"].op, Dense)
    assert graph["predictions.softmax"].op == Softmax()


def test_automatic_names_do_not_mix_weights_up(keras: ModuleType, tmp_path: Path) -> None:
    """In a .keras, group ``conv2d`` is the first convolution, not the layer of that name."""
    layers = [keras.layers.Conv2D(CHANNELS, 1, name=name) for name in ("conv2d_1", "first", "conv2d", "conv2d_2")]
    assert_same(functional(keras, layers), tmp_path)


def test_operators(keras: ModuleType, tmp_path: Path) -> None:
    image = keras.Input((HEIGHT, WIDTH, CHANNELS))
    conv = keras.layers.Conv2D(CHANNELS, 1)(image)
    graph = assert_same(keras.Model(image, 3.0 + (image + conv) * (0.5 * conv) * 4 + 1), tmp_path)
    assert [type(node.op).__name__ for node in graph.nodes if isinstance(node.op, Affine)] == ["Affine"] * 4


@pytest.mark.parametrize("layer", ["Add", "Multiply"])
def test_broadcasting(keras: ModuleType, layer: str, tmp_path: Path) -> None:
    layers = keras.layers
    image = keras.Input((HEIGHT, WIDTH, CHANNELS))
    pixel = layers.GlobalAveragePooling2D(keepdims=True)(image)
    mask = layers.Conv2D(1, 3, padding="same")(image)
    join = getattr(layers, layer)
    assert_same(keras.Model(image, [join()([pixel, image]), join()([pixel, mask, image, pixel])]), tmp_path)


def test_scaling_of_inception_resnet(keras: ModuleType, tmp_path: Path) -> None:
    package = keras.src if hasattr(keras, "src") else import_module("tf_keras.src")
    layer = package.applications.inception_resnet_v2.CustomScaleLayer
    image = keras.Input((HEIGHT, WIDTH, CHANNELS))
    scaled = keras.layers.Conv2D(CHANNELS, 3, padding="same", name="block17_3_conv")(image)
    graph = assert_same(keras.Model(image, layer(0.1, name="block17_3")([image, scaled])), tmp_path)
    assert [node.name for node in graph.nodes][1:] == ["block17_3_conv", "block17_3.scaled", "block17_3"]


def test_initializer_of_tensorflow(tmp_path: Path) -> None:
    layers = KERAS["tf_keras"].layers
    conv = layers.Conv2D(4, 3, bias_initializer=tf.constant_initializer(0.5), name="conv")
    assert_same(functional(KERAS["tf_keras"], [conv]), tmp_path)


def test_sequential(keras: ModuleType, tmp_path: Path) -> None:
    layers = keras.layers
    model = keras.Sequential([keras.Input((HEIGHT, WIDTH, CHANNELS)), layers.Conv2D(4, 3), layers.BatchNormalization()])
    assert_same(model, tmp_path)


def test_sequential_built_later(keras: ModuleType, tmp_path: Path) -> None:
    model = keras.Sequential([keras.layers.Conv2D(4, 3, name="conv"), keras.layers.Flatten(), keras.layers.Dense(2)])
    model.build((None, HEIGHT, WIDTH, CHANNELS))
    assert_same(model, tmp_path)


def block(keras: ModuleType, name: str, channels: int = CHANNELS) -> Any:
    """A model to use as a layer. Its layers have the same names each time."""
    layers = keras.layers
    image = keras.Input((None, None, channels), name="block_input")
    tensor = layers.Conv2D(CHANNELS, 3, padding="same", activation="relu", name="conv")(image)
    tensor = layers.BatchNormalization(name="norm")(tensor)
    tensor = layers.DepthwiseConv2D(3, padding="same", name="depthwise")(tensor)
    return keras.Model(image, tensor, name=name)


def test_models_in_models(keras: ModuleType, tmp_path: Path) -> None:
    layers = keras.layers
    head = keras.Sequential(
        [layers.Conv2D(4, 3, name="head_conv"), layers.BatchNormalization(name="head_norm"), layers.Flatten()],
        name="head",
    )
    inner = keras.Sequential([block(keras, "deepest"), layers.Conv2D(CHANNELS, 1, name="mix")], name="inner")
    image = keras.Input((HEIGHT, WIDTH, CHANNELS), name="image")
    tensor = layers.Conv2D(CHANNELS, 1, name="conv")(image)
    tensor = block(keras, "first")(tensor, training=False)
    tensor = inner(tensor)
    model = keras.Model(image, layers.Dense(3, name="dense")(head(tensor)))
    graph = assert_same(model, tmp_path, outputs=("dense",))
    names = [node.name for node in graph.nodes]
    assert names[:5] == ["image", "conv", "first/conv", "first/conv.relu", "norm"]
    assert {"depthwise", "inner/deepest/conv", "inner/deepest/depthwise", "mix", "head_conv"} <= set(names)


def test_frozen_model_inside_a_trained_one(keras: ModuleType, tmp_path: Path) -> None:
    """In an .h5, the weights of an inner model come in an order that depends on what is trained."""
    frozen, partly = block(keras, "frozen"), block(keras, "partly")
    frozen.trainable = False
    partly.get_layer("conv").trainable = False
    assert_same(functional(keras, [frozen, partly, block(keras, "trained")]), tmp_path)


def test_shared_layers_and_models(keras: ModuleType, tmp_path: Path) -> None:
    layers = keras.layers
    shared, model = layers.SeparableConv2D(CHANNELS, 3, padding="same", name="shared"), block(keras, "block")
    image = keras.Input((HEIGHT, WIDTH, CHANNELS), name="image")
    first, second = shared(image), shared(layers.Activation("tanh", name="tanh")(image))
    total = layers.Add(name="sum")([model(first), model(second), layers.Conv2D(CHANNELS, 1, name="shared_1")(image)])
    graph = assert_same(keras.Model(image, total), tmp_path)
    assert isinstance(graph["shared_2"].op, SeparableConv2D)  # "shared_1" is the name of another layer
    assert isinstance(graph["shared_1"].op, Conv2D)
    assert {"conv", "block_1/conv", "block_1/depthwise"} <= {node.name for node in graph.nodes}


def test_inner_model_is_the_output(keras: ModuleType, tmp_path: Path) -> None:
    """The two Keras count the calls of a model differently, and Keras 3 differently again where it is an output."""
    inner = block(keras, "inner")
    image = keras.Input((HEIGHT, WIDTH, CHANNELS))
    once = inner(image)
    assert_same(keras.Model(image, [inner(once), once]), tmp_path, outputs=("inner_1/depthwise", "depthwise"))


def test_several_inputs_and_outputs(keras: ModuleType, tmp_path: Path) -> None:
    layers = keras.layers
    left, right = keras.Input((HEIGHT, WIDTH, 3), name="left"), keras.Input((HEIGHT, WIDTH, 4), name="right")
    joined = layers.Concatenate(name="join")([left, right])
    conv = layers.Conv2D(4, 3, name="conv")(joined)
    pooled = layers.GlobalMaxPooling2D(name="pool")(conv)
    shapes = (HEIGHT, WIDTH, 3), (HEIGHT, WIDTH, 4)
    graph = assert_same(keras.Model([left, right], [pooled, conv]), tmp_path, *shapes, outputs=("pool", "conv"))
    assert [node.name for node in graph.inputs] == ["left", "right"]


def test_part_of_an_inner_model_is_used(keras: ModuleType, tmp_path: Path) -> None:
    layers = keras.layers
    inner_image = keras.Input((HEIGHT, WIDTH, CHANNELS))
    used, unused = layers.Conv2D(3, 3, name="used")(inner_image), layers.Conv2D(3, 3, name="unused")(inner_image)
    inner = keras.Model(inner_image, [unused, used])
    image = keras.Input((HEIGHT, WIDTH, CHANNELS))
    graph = assert_same(keras.Model(image, inner(image)[1]), tmp_path, outputs=("used",))
    assert "unused" not in graph


@pytest.mark.parametrize("policy", ["mixed_float16", "mixed_bfloat16", "float16", "bfloat16"])
def test_short_floats_are_read_as_float32(keras: ModuleType, policy: str, tmp_path: Path) -> None:
    model = functional(keras, [keras.layers.Conv2D(4, 3, dtype=policy, name="conv")])
    randomize(model)
    for suffix in FORMATS:
        graph = read_keras(save(model, tmp_path, suffix))
        assert [policy in note for note in graph.notes] == [True]
        for variable, (key, array) in zip(model.weights, graph["conv"].params.items(), strict=True):
            assert array.dtype == np.float32
            np.testing.assert_array_equal(array, np.asarray(variable).astype(np.float32), key)


def test_open_size_needs_input_size(keras: ModuleType, tmp_path: Path) -> None:
    model = block(keras, "open")
    randomize(model)
    images = random_images(1, 14, 14, CHANNELS)
    for suffix in FORMATS:
        path = save(model, tmp_path, suffix)
        with pytest.raises(UsageError, match="--input-size"):
            read_keras(path)
        graph = read_keras(path, input_size=14)
        assert relative_error(onnx_outputs(graph, images)[0], keras_outputs(model, images)[0]) < TOLERANCE


def test_input_size_replaces_the_size_in_the_file(keras: ModuleType, tmp_path: Path) -> None:
    model = functional(keras, [keras.layers.Conv2D(4, 3, strides=2, padding="same", name="conv")])
    path = save(model, tmp_path, ".keras")
    assert read_keras(path).shapes["conv"] == (5, 4, 4)
    assert read_keras(path, input_size=21).shapes["conv"] == (11, 11, 4)


@pytest.mark.parametrize(("size", "reason"), [(12, "dense"), (2, "too small"), (0, "not positive")])
def test_input_size_that_cannot_be(size: int, reason: str, tmp_path: Path) -> None:
    keras = KERAS["keras3"]
    layers = [keras.layers.Conv2D(2, 3), keras.layers.Flatten(), keras.layers.Dense(3, name="dense")]
    path = save(functional(keras, layers), tmp_path, ".keras")
    with pytest.raises(UsageError, match=reason):
        read_keras(path, input_size=size)


def test_many_layers_in_an_inner_model(keras: ModuleType, tmp_path: Path) -> None:
    """Names of weights over 64 KiB are split over several HDF5 attributes."""
    layers = [keras.layers.BatchNormalization(name=f"norm_{n:03d}_" + "x" * 100) for n in range(130)]
    inner_image = keras.Input((2, 2, 3))
    tensor = inner_image
    for layer in layers:
        tensor = layer(tensor)
    image = keras.Input((2, 2, 3))
    model = keras.Model(image, keras.Model(inner_image, tensor, name="inner")(image))
    assert_same(model, tmp_path, (2, 2, 3))
    with h5py.File(tmp_path / "model.h5") as file:
        assert "weight_names1" in file["model_weights/inner"].attrs


def test_reads_without_keras_or_tensorflow(tmp_path: Path) -> None:
    keras = KERAS["keras3"]
    path = save(functional(keras, [keras.layers.Conv2D(2, 3)]), tmp_path, ".keras")
    code = (
        "import sys, pathlib, edgex.graph.read as r; r.read_model(pathlib.Path(sys.argv[1]));"
        "print([m for m in ('keras', 'onnx', 'tensorflow', 'tf_keras') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code, str(path)], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_real_model(shared: Path) -> None:
    graph = read_model(shared / "models" / "xception-cifar10-71.keras")
    assert sum(array.size for node in graph.nodes for array in node.params.values()) == 20_881_970
    assert sum(isinstance(node.op, SeparableConv2D) for node in graph.nodes) == 34
    assert graph.outputs == ("predictions.softmax",)
    assert "block5_sepconv2" in graph
