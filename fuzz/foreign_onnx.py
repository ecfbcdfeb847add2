"""A small classifier in ONNX as other exporters write it: channels first, and functions in several nodes."""

import numpy as np
from onnx import TensorProto, helper, numpy_helper

CHANNELS = 4


def foreign_onnx(size: int, classes: int) -> bytes:
    """One of images (N, 3, size, size)."""
    draw = np.random.default_rng(0)

    def weights(*shape: int) -> np.ndarray:
        return draw.normal(0, 0.5, shape).astype(np.float32)

    def whole(*numbers: int) -> np.ndarray:
        return np.array(numbers, np.int64)

    constants = {
        "mean": weights(1, 3, 1, 1),
        "deviation": weights(1, 3, 1, 1) + 3,
        "stem": weights(CHANNELS, 3, 3, 3),
        **{key: weights(CHANNELS) for key in ("gamma", "beta", "average")},
        "variance": weights(CHANNELS) ** 2 + 1,
        "root": np.array(2**0.5, np.float32),
        "one": np.array(1, np.float32),
        "half": np.array(0.5, np.float32),
        "border": whole(0, 0, 1, 0, 0, 0, 1, 2),
        "from": whole(0, 1),
        "to": whole(1 << 40, -1),
        "sides": whole(2, 3),
        "depthwise": weights(CHANNELS, 1, 3, 3),
        "gate_kernel": weights(CHANNELS, CHANNELS),
        "gate_shape": whole(-1, CHANNELS, 1, 1),
        "zero": np.array(0, np.int64),
        "first": whole(0),
        "rest": whole(-1),
        "kernel": weights(classes, 2 * CHANNELS),
        "bias": weights(classes),
    }
    node = helper.make_node
    nodes = [
        node("Sub", ["image", "mean"], ["centred"]),
        node("Div", ["centred", "deviation"], ["normal"]),
        node("Conv", ["normal", "stem"], ["a"], auto_pad="SAME_LOWER", strides=[2, 2]),
        node("BatchNormalization", ["a", "gamma", "beta", "average", "variance"], ["b"]),
        node("Div", ["b", "root"], ["c"]),
        node("Erf", ["c"], ["d"]),
        node("Add", ["d", "one"], ["e"]),
        node("Mul", ["b", "e"], ["f"]),
        node("Mul", ["f", "half"], ["g"]),
        node("Pad", ["g", "border"], ["h"]),
        node("Slice", ["h", "from", "to", "sides"], ["i"]),
        node("Conv", ["i", "depthwise"], ["j"], group=CHANNELS, pads=[1, 1, 1, 1]),
        node("MaxPool", ["j"], ["k"], kernel_shape=[2, 2], strides=[2, 2], ceil_mode=1),
        node("AveragePool", ["k"], ["l"], kernel_shape=[3, 3], pads=[1, 1, 1, 1], count_include_pad=1),
        node("ReduceMean", ["l"], ["m"], axes=[2, 3], keepdims=0),
        node("Gemm", ["m", "gate_kernel"], ["n"]),
        node("Sigmoid", ["n"], ["o"]),
        node("Reshape", ["o", "gate_shape"], ["p"]),
        node("Mul", ["l", "p"], ["q"]),
        node("Transpose", ["q"], ["r"], perm=[0, 2, 3, 1]),
        node("Concat", ["r", "r"], ["s"], axis=3),
        node("Transpose", ["s"], ["t"], perm=[0, 3, 1, 2]),
        node("GlobalAveragePool", ["t"], ["u"]),
        node("Shape", ["u"], ["shape"]),
        node("Gather", ["shape", "zero"], ["batch"]),
        node("Unsqueeze", ["batch", "first"], ["batches"]),
        node("Concat", ["batches", "rest"], ["both"], axis=0),
        node("Reshape", ["u", "both"], ["v"]),
        node("Gemm", ["v", "kernel", "bias"], ["w"], transB=1),
        node("Softmax", ["w"], ["classes"], axis=1),
    ]
    graph = helper.make_graph(
        nodes,
        "foreign",
        [helper.make_tensor_value_info("image", TensorProto.FLOAT, ["N", 3, size, size])],
        [helper.make_tensor_value_info("classes", TensorProto.FLOAT, ["N", classes])],
        [numpy_helper.from_array(array, name) for name, array in constants.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    return bytes(model.SerializeToString())
