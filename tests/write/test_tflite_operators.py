"""Each operation in TFLite, run in LiteRT and compared with TensorFlow's own."""

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
import tensorflow as tf
from tflite_support import IN_FLOAT, error, in_float, min_max_plan, operators, pack, parse, run, sqnr, tensors, versions

from edgex.errors import ModelError
from edgex.graph.ir import (
    Activation,
    Add,
    Affine,
    AveragePool2D,
    Concat,
    Conv2D,
    Crop,
    Dense,
    DepthwiseConv2D,
    Elu,
    Flatten,
    GlobalAveragePool,
    GlobalMaxPool,
    Graph,
    Identity,
    Input,
    LeakyRelu,
    MaxPool2D,
    Multiply,
    Node,
    Op,
    Pad,
    Relu,
    Reshape,
    Resize,
    SeparableConv2D,
    Softmax,
)
from edgex.plan import QuantizationPlan, Range, Scheme
from edgex.write.tflite import tflite_model

RNG = np.random.default_rng(0)
HEIGHT, WIDTH, CHANNELS = 10, 9, 6
IMAGES = RNG.normal(0.0, 2.0, (7, HEIGHT, WIDTH, CHANNELS)).astype(np.float32)
TOLERANCE = 2e-6
"""Of float results, relative to the largest; float32 sums of some hundred terms."""

LEAST_SQNR = 30.0
"""Of one INT8 operation on IMAGES, in dB: 8 bits over 8 standard deviations give 41, weights and output add theirs."""


def weights(*shape: int) -> np.ndarray:
    return RNG.normal(0.0, 0.3, shape).astype(np.float32)


def single(op: Op, **params: np.ndarray) -> Graph:
    return chain(Node("node", op, ("image",), params))


def chain(*nodes: Node) -> Graph:
    return Graph("test", (Node("image", Input((HEIGHT, WIDTH, CHANNELS))), *nodes), (nodes[-1].name,))


CONV, GROUPED, DEPTHWISE, MULTIPLIED = (
    weights(3, 3, 6, 8),
    weights(3, 3, 2, 9),
    weights(3, 3, 6, 1),
    weights(3, 2, 6, 2),
)
DENSE, FLAT_DENSE, BIAS = weights(6, 5), weights(HEIGHT * WIDTH * CHANNELS, 5), weights(8)
CHANNEL = weights(4, 6)
VARIANCE = np.abs(CHANNEL[3]) + np.float32(0.5)
PADS = ((0, 0), (1, 2), (0, 1), (0, 0))

Reference = Callable[[tf.Tensor], tf.Tensor]
CASES: dict[str, tuple[Graph, Reference]] = {
    "conv same stride 2": (
        single(Conv2D((2, 2), "same"), kernel=CONV, bias=BIAS),
        lambda x: tf.nn.conv2d(x, CONV, 2, "SAME") + BIAS,
    ),
    "conv valid strides 1 and 2": (
        single(Conv2D((1, 2)), kernel=CONV),
        lambda x: tf.nn.conv2d(x, CONV, (1, 2), "VALID"),
    ),
    "conv dilated": (
        single(Conv2D(padding="same", dilation=(2, 1)), kernel=CONV),
        lambda x: tf.nn.conv2d(x, CONV, 1, "SAME", dilations=(2, 1)),
    ),
    "conv padded explicitly": (
        single(Conv2D((2, 2), ((1, 2), (0, 1))), kernel=CONV, bias=BIAS),
        lambda x: tf.nn.conv2d(x, CONV, 2, PADS) + BIAS,
    ),
    "conv grouped": (
        single(Conv2D(padding="same", groups=3), kernel=GROUPED),
        lambda x: tf.concat(
            [tf.nn.conv2d(x[..., 2 * g : 2 * g + 2], GROUPED[..., 3 * g : 3 * g + 3], 1, "SAME") for g in range(3)], -1
        ),
    ),
    "depthwise same stride 2": (
        single(DepthwiseConv2D((2, 2), "same"), kernel=DEPTHWISE),
        lambda x: tf.nn.depthwise_conv2d(x, DEPTHWISE, (1, 2, 2, 1), "SAME"),
    ),
    "depthwise multiplier 2": (
        single(DepthwiseConv2D(), kernel=MULTIPLIED, bias=np.arange(12)),
        lambda x: tf.nn.depthwise_conv2d(x, MULTIPLIED, (1, 1, 1, 1), "VALID") + np.arange(12, dtype=np.float32),
    ),
    "depthwise dilated": (
        single(DepthwiseConv2D(padding="same", dilation=(2, 2)), kernel=DEPTHWISE),
        lambda x: tf.nn.depthwise_conv2d(x, DEPTHWISE, (1, 1, 1, 1), "SAME", dilations=(2, 2)),
    ),
    "dense on an image": (single(Dense(), kernel=DENSE), lambda x: x @ DENSE),
    "dense on a vector": (
        chain(Node("pool", GlobalAveragePool(), ("image",)), Node("node", Dense(), ("pool",), {"kernel": DENSE})),
        lambda x: tf.reduce_mean(x, (1, 2)) @ DENSE,
    ),
    "dense on a flattened image": (
        chain(Node("flat", Flatten(), ("image",)), Node("node", Dense(), ("flat",), {"kernel": FLAT_DENSE})),
        lambda x: tf.reshape(x, (-1, HEIGHT * WIDTH * CHANNELS)) @ FLAT_DENSE,
    ),
    "affine": (single(Affine(), scale=CHANNEL[0], offset=CHANNEL[1]), lambda x: x * CHANNEL[0] + CHANNEL[1]),
    "relu": (single(Relu()), tf.nn.relu),
    "relu 6": (single(Relu(6.0)), tf.nn.relu6),
    "relu 1.5": (single(Relu(1.5)), lambda x: tf.clip_by_value(x, 0, 1.5)),
    "leaky relu": (single(LeakyRelu(0.2)), lambda x: tf.nn.leaky_relu(x, 0.2)),
    "sigmoid": (single(Activation("sigmoid")), tf.nn.sigmoid),
    "tanh": (single(Activation("tanh")), tf.nn.tanh),
    "silu": (single(Activation("silu")), tf.nn.silu),
    "hard sigmoid": (single(Activation("hard_sigmoid")), lambda x: tf.nn.relu6(x + 3) / 6),
    "hard silu": (single(Activation("hard_silu")), lambda x: x * tf.nn.relu6(x + 3) / 6),
    "elu": (single(Elu()), tf.nn.elu),
    "elu of alpha 0.3": (single(Elu(0.3)), lambda x: tf.where(x < 0, 0.3 * tf.nn.elu(x), x)),
    "gelu": (single(Activation("gelu")), tf.nn.gelu),
    "softplus": (single(Activation("softplus")), tf.nn.softplus),
    "softmax": (single(Softmax()), tf.nn.softmax),
    "add": (
        chain(Node("relu", Relu(), ("image",)), Node("node", Add(), ("image", "relu"))),
        lambda x: x + tf.nn.relu(x),
    ),
    "add three": (
        chain(Node("relu", Relu(), ("image",)), Node("node", Add(), ("image", "relu", "image"))),
        lambda x: 2 * x + tf.nn.relu(x),
    ),
    "add a pixel": (
        chain(Node("pool", GlobalMaxPool(keepdims=True), ("image",)), Node("node", Add(), ("pool", "image"))),
        lambda x: x + tf.reduce_max(x, (1, 2), keepdims=True),
    ),
    "multiply by a vector": (
        chain(Node("pool", GlobalMaxPool(keepdims=True), ("image",)), Node("node", Multiply(), ("image", "pool"))),
        lambda x: x * tf.reduce_max(x, (1, 2), keepdims=True),
    ),
    "concat": (
        chain(Node("relu", Relu(), ("image",)), Node("node", Concat(), ("image", "relu"))),
        lambda x: tf.concat([x, tf.nn.relu(x)], -1),
    ),
    "max pool same": (
        single(MaxPool2D((3, 3), (2, 2), "same")),
        lambda x: tf.nn.max_pool2d(x, 3, 2, "SAME"),
    ),
    "max pool valid": (
        single(MaxPool2D((3, 2), (2, 1))),
        lambda x: tf.nn.max_pool2d(x, (3, 2), (2, 1), "VALID"),
    ),
    "max pool padded explicitly": (
        single(MaxPool2D((3, 3), (2, 2), ((1, 2), (0, 1)))),
        lambda x: tf.nn.max_pool2d(tf.pad(x, PADS, constant_values=-np.inf), 3, 2, "VALID"),
    ),
    "average pool same": (
        single(AveragePool2D((3, 3), (2, 2), "same")),
        lambda x: tf.nn.avg_pool2d(x, 3, 2, "SAME"),
    ),
    "average pool valid": (
        single(AveragePool2D((3, 2), (2, 1))),
        lambda x: tf.nn.avg_pool2d(x, (3, 2), (2, 1), "VALID"),
    ),
    "global average pool": (single(GlobalAveragePool()), lambda x: tf.reduce_mean(x, (1, 2))),
    "global average pool as image": (
        single(GlobalAveragePool(keepdims=True)),
        lambda x: tf.reduce_mean(x, (1, 2), keepdims=True),
    ),
    "global max pool": (single(GlobalMaxPool()), lambda x: tf.reduce_max(x, (1, 2))),
    "pad": (single(Pad(((1, 2), (0, 1)))), lambda x: tf.pad(x, PADS)),
    "crop": (single(Crop(((1, 2), (0, 1)))), lambda x: x[:, 1:-2, :-1]),
    "resize": (single(Resize((17, 13))), lambda x: tf.image.resize(x, (17, 13))),
    "resize to the nearest": (
        single(Resize((17, 13), "nearest")),
        lambda x: tf.image.resize(x, (17, 13), "nearest"),
    ),
    "flatten": (single(Flatten()), lambda x: tf.reshape(x, (-1, HEIGHT * WIDTH * CHANNELS))),
    "reshape": (single(Reshape((WIDTH, -1, 2))), lambda x: tf.reshape(x, (-1, WIDTH, HEIGHT * CHANNELS // 2, 2))),
    "identity": (
        chain(
            Node("relu", Relu(), ("image",)),
            Node("dropout", Identity(), ("relu",)),
            Node("node", Softmax(), ("dropout",)),
        ),
        lambda x: tf.nn.softmax(tf.nn.relu(x)),
    ),
}


INT8_CASES = [case for case, (graph, _) in CASES.items() if not isinstance(graph.nodes[-1].op, IN_FLOAT)]
INT8_CASES.remove("add three")  # partial sums have no ranges


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("count", [1, 7])
def test_float_computes_what_tensorflow_does(case: str, count: int) -> None:
    graph, reference = CASES[case]
    images = IMAGES[:count]
    (got,) = run(tflite_model(graph), images).values()
    assert error(got, np.asarray(reference(tf.constant(images)))) < TOLERANCE


def test_the_float_tolerance_sees_one_wrong_weight() -> None:
    graph, reference = CASES["conv same stride 2"]
    wrong = CONV.copy()
    wrong[1, 1, 2, 3] *= 1.0001
    (got,) = run(tflite_model(single(graph["node"].op, kernel=wrong, bias=BIAS)), IMAGES).values()
    assert error(got, np.asarray(reference(tf.constant(IMAGES)))) > TOLERANCE


@pytest.mark.parametrize("scheme", ["asymmetric", "symmetric"])
@pytest.mark.parametrize("case", INT8_CASES)
def test_int8_computes_what_tensorflow_does(case: str, scheme: Scheme) -> None:
    graph, reference = CASES[case]
    model = tflite_model(graph, min_max_plan(graph, IMAGES, scheme))
    (got,) = run(model, IMAGES).values()
    assert sqnr(got, np.asarray(reference(tf.constant(IMAGES)))) > LEAST_SQNR
    assert in_float(model) == set()
    if scheme == "symmetric":
        assert not any(tensor.quantization.zeroPoint.any() for tensor in tensors(model).values() if tensor.quantization)


@pytest.mark.parametrize("kept", ["pool", "node"])
def test_a_dense_layer_and_its_pool_may_differ_in_precision(kept: str) -> None:
    graph, reference = CASES["dense on a vector"]
    model = tflite_model(graph, min_max_plan(graph, IMAGES, keep_float=[kept]))
    (got,) = run(model, IMAGES).values()
    assert sqnr(got, np.asarray(reference(tf.constant(IMAGES)))) > LEAST_SQNR
    assert [name.removesuffix(".float") for name in in_float(model)] == [kept]


def test_the_int8_tolerance_sees_a_wrong_scale() -> None:
    graph, reference = CASES["conv same stride 2"]
    model = parse(tflite_model(graph, min_max_plan(graph, IMAGES)))
    (kernel,) = (tensor for tensor in model.subgraphs[0].tensors if tensor.name == b"node.kernel")
    kernel.quantization.scale = kernel.quantization.scale * np.float32(1.05)
    (got,) = run(pack(model), IMAGES).values()
    assert sqnr(got, np.asarray(reference(tf.constant(IMAGES)))) < LEAST_SQNR


def test_padding_takes_an_operator_only_where_same_is_something_else() -> None:
    # at height 10 and width 9, stride 2, "same" pads a 3x3 kernel below, and on both sides
    same = single(Conv2D((2, 2), ((0, 1), (1, 1))), kernel=CONV)
    assert operators(tflite_model(same)) == [("CONV_2D", "node")]
    other = single(Conv2D((2, 2), ((1, 0), (1, 1))), kernel=CONV)
    assert operators(tflite_model(other)) == [("PAD", "node.pad"), ("CONV_2D", "node")]


def test_operator_versions_are_those_of_the_converter() -> None:
    layers = tf.keras.layers
    image = layers.Input((16, 16, 4))
    x = layers.Conv2D(8, 3, activation="relu")(image)
    x = layers.DepthwiseConv2D(3, padding="same")(x)
    x = layers.Add()([layers.MaxPooling2D(2)(x), layers.AveragePooling2D(2)(x)])
    x = layers.Concatenate()([x, layers.Conv2D(8, 1, groups=2)(x)])
    keras = tf.keras.Model(image, layers.Softmax()(layers.Dense(3)(layers.GlobalAveragePooling2D()(x))))
    nodes = (
        Node("image", Input((16, 16, 4))),
        Node("conv", Conv2D(), ("image",), {"kernel": weights(3, 3, 4, 8)}),
        Node("relu", Relu(), ("conv",)),
        Node("dw", DepthwiseConv2D(padding="same"), ("relu",), {"kernel": weights(3, 3, 8, 1)}),
        Node("max", MaxPool2D((2, 2), (2, 2)), ("dw",)),
        Node("average", AveragePool2D((2, 2), (2, 2)), ("dw",)),
        Node("add", Add(), ("max", "average")),
        Node("groups", Conv2D(groups=2), ("add",), {"kernel": weights(1, 1, 4, 8)}),
        Node("concat", Concat(), ("add", "groups")),
        Node("pool", GlobalAveragePool(), ("concat",)),
        Node("dense", Dense(), ("pool",), {"kernel": weights(16, 3)}),
        Node("softmax", Softmax(), ("dense",)),
    )
    graph = Graph("test", nodes, ("softmax",))
    images = RNG.normal(size=(2, 16, 16, 4)).astype(np.float32)
    converter = tf.lite.TFLiteConverter.from_keras_model(keras)
    assert versions(tflite_model(graph)) == versions(converter.convert())
    converter.optimizations = [tf.lite.Optimize.DEFAULT]
    converter.representative_dataset = lambda: ([image[None]] for image in images)
    plan = min_max_plan(graph, images)
    # only integer ends have an integer softmax, only float ends have conversions; the converter's file has both
    ours = {**versions(tflite_model(graph, plan)), **versions(tflite_model(graph, plan, integer_io=True))}
    theirs = versions(converter.convert())
    assert theirs.pop("FULLY_CONNECTED") == 4, "which is a convolution in ours"
    ours.pop("RESHAPE")
    assert ours == theirs


class TestRefusals:
    def test_average_pool_with_its_own_padding(self) -> None:
        with pytest.raises(ModelError, match=r"node averages with the padding .*\n.*'same' or 'valid'"):
            tflite_model(single(AveragePool2D((3, 3), (2, 2), ((1, 2), (0, 1)))))

    def test_operation_without_operators(self) -> None:
        params = {"depthwise": DEPTHWISE, "pointwise": weights(1, 1, 6, 8)}
        with pytest.raises(ModelError, match="no operators for SeparableConv2D"):
            tflite_model(single(SeparableConv2D(), **params))

    @pytest.mark.parametrize("case", ["sigmoid", "affine", "add three"])
    def test_no_int8_form(self, case: str) -> None:
        graph, _ = CASES[case]
        plan = QuantizationPlan(
            "asymmetric",
            {node.name: Range(-8.0, 8.0) for node in graph.nodes},
            {node.name: "int8" for node in graph.nodes},
        )
        with pytest.raises(ValueError, match=r"^node: "):
            tflite_model(graph, plan)

    @pytest.mark.parametrize("case", ["max pool same", "concat", "pad", "crop", "reshape", "global max pool"])
    def test_tie_not_kept(self, case: str) -> None:
        graph, _ = CASES[case]
        plan = min_max_plan(graph, IMAGES)
        wrong = replace(plan, ranges={**plan.ranges, "node": Range(-1.0, 1.0)})
        with pytest.raises(ValueError, match=r"node: .* needs equal ranges"):
            tflite_model(graph, wrong)

    def test_range_missing(self) -> None:
        graph, _ = CASES["relu"]
        plan = min_max_plan(graph, IMAGES)
        with pytest.raises(ValueError, match="no range for image"):
            tflite_model(graph, replace(plan, ranges={"node": plan.ranges["node"]}))
