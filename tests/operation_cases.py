"""Every operation of the graph in small graphs with random weights, for whoever writes or builds them."""

import numpy as np

from edgex.graph.ir import (
    Activation,
    Add,
    Affine,
    Array,
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
    Softmax,
)

SHAPE = (10, 9, 6)
RANDOM = np.random.default_rng(0)
IMAGES = RANDOM.normal(0.0, 2.0, (7, *SHAPE)).astype(np.float32)
BIAS = RANDOM.normal(0.0, 0.3, 12).astype(np.float32)
PADS = ((1, 2), (0, 1))


def weights(*shape: int) -> Array:
    return RANDOM.normal(0.0, 0.3, shape).astype(np.float32)


def chain(*nodes: Node) -> Graph:
    return Graph("test", (Node("image", Input(SHAPE)), *nodes), (nodes[-1].name,))


def single(op: Op, **params: Array) -> Graph:
    return chain(Node("node", op, ("image",), params))


def over(before: Op, op: Op, **params: Array) -> Graph:
    """``op`` over what another operation makes of the image."""
    return chain(Node("before", before, ("image",)), Node("node", op, ("before",), params))


def joined(op: Op, *inputs: str) -> Graph:
    """``op`` over several of the image, its ReLU and its pixel."""
    return chain(
        Node("relu", Relu(), ("image",)),
        Node("pixel", GlobalMaxPool(keepdims=True), ("image",)),
        Node("node", op, inputs),
    )


CASES = {
    "conv same stride 2": single(Conv2D((2, 2), "same"), kernel=weights(3, 3, 6, 8), bias=BIAS[:8]),
    "conv valid strides 1 and 2": single(Conv2D((1, 2)), kernel=weights(3, 2, 6, 8)),
    "conv dilated": single(Conv2D(padding="same", dilation=(2, 1)), kernel=weights(3, 3, 6, 8)),
    "conv padded explicitly": single(Conv2D((2, 2), PADS), kernel=weights(3, 3, 6, 8), bias=BIAS[:8]),
    "conv grouped": single(Conv2D(padding="same", groups=3), kernel=weights(3, 3, 2, 9), bias=BIAS[:9]),
    "depthwise same stride 2": single(DepthwiseConv2D((2, 2), "same"), kernel=weights(3, 3, 6, 1)),
    "depthwise padded explicitly": single(DepthwiseConv2D((2, 2), PADS), kernel=weights(3, 3, 6, 1)),
    "depthwise multiplier 2": single(DepthwiseConv2D(), kernel=weights(3, 2, 6, 2), bias=BIAS),
    "depthwise dilated": single(DepthwiseConv2D(padding="same", dilation=(2, 2)), kernel=weights(3, 3, 6, 1)),
    "dense": over(GlobalAveragePool(), Dense(), kernel=weights(6, 5), bias=BIAS[:5]),
    "dense of a flattened image": over(Flatten(), Dense(), kernel=weights(540, 5)),
    "affine": single(Affine(), scale=weights(6), offset=weights(6)),
    "affine of a vector": over(GlobalAveragePool(), Affine(), scale=weights(6), offset=weights(6)),
    "affine of rows": over(Reshape((45, 12)), Affine(), scale=weights(12), offset=weights(12)),
    "relu": single(Relu()),
    "relu 6": single(Relu(6.0)),
    "relu 1.5": single(Relu(1.5)),
    "conv and relu": chain(
        Node("conv", Conv2D(), ("image",), {"kernel": weights(3, 3, 6, 8)}), Node("relu", Relu(6.0), ("conv",))
    ),
    "leaky relu": single(LeakyRelu(0.2)),
    "sigmoid": single(Activation("sigmoid")),
    "tanh": single(Activation("tanh")),
    "silu": single(Activation("silu")),
    "hard sigmoid": single(Activation("hard_sigmoid")),
    "hard silu": single(Activation("hard_silu")),
    "elu": single(Elu()),
    "elu of alpha 0.3": single(Elu(0.3)),
    "gelu": single(Activation("gelu")),
    "softplus": single(Activation("softplus")),
    "softmax of a vector": over(GlobalMaxPool(), Softmax()),
    "softmax of an image": single(Softmax()),
    "softmax that is read on": over(Softmax(), Conv2D(), kernel=weights(1, 1, 6, 3)),
    "softmax of rows": over(Reshape((45, 12)), Softmax()),
    "add": joined(Add(), "image", "relu"),
    "add to itself": joined(Add(), "image", "image"),
    "add three": joined(Add(), "image", "relu", "image"),
    "add a pixel": joined(Add(), "image", "pixel"),
    "multiply": joined(Multiply(), "image", "relu"),
    "multiply by a pixel": joined(Multiply(), "pixel", "image"),
    "concat": joined(Concat(), "image", "relu", "image"),
    "concat rows": chain(
        Node("rows", Reshape((45, 12)), ("image",)),
        Node("relu", Relu(), ("rows",)),
        Node("node", Concat(), ("rows", "relu")),
    ),
    "max pool same": single(MaxPool2D((3, 3), (2, 2), "same")),
    "max pool valid": single(MaxPool2D((3, 2), (2, 1))),
    "max pool padded explicitly": single(MaxPool2D((3, 3), (2, 2), ((1, 1), (0, 1)))),
    "average pool same": single(AveragePool2D((3, 3), (2, 2), "same")),
    "average pool valid": single(AveragePool2D((3, 2), (2, 1))),
    "global average pool": single(GlobalAveragePool()),
    "global average pool as image": single(GlobalAveragePool(keepdims=True)),
    "global max pool": single(GlobalMaxPool()),
    "global max pool as image": single(GlobalMaxPool(keepdims=True)),
    "pad": single(Pad(PADS)),
    "zeros around a max pool": over(Pad(PADS), MaxPool2D((2, 2), (2, 2))),
    "zeros around an average pool": over(Pad(PADS), AveragePool2D((2, 2), (2, 2))),
    "crop": single(Crop(PADS)),
    "resize to twice the size": single(Resize((20, 18))),
    "resize to another shape": single(Resize((7, 12))),
    "resize a pixel": over(GlobalAveragePool(keepdims=True), Resize((5, 4))),
    "resize to the nearest": single(Resize((20, 27), "nearest")),
    "resize to the nearest of another shape": single(Resize((7, 23), "nearest")),
    "resize to the nearest of two as near": single(Resize((3, 6), "nearest")),
    "flatten": single(Flatten()),
    "flatten a vector": over(GlobalAveragePool(), Flatten()),
    "reshape to an image": over(Relu(), Reshape((9, -1, 2))),
    "reshape to a row": single(Reshape((-1, 12))),
    "reshape rows to an image": over(Reshape((45, 12)), Reshape((9, 10, 6))),
    "identity": over(Identity(), Relu()),
}
