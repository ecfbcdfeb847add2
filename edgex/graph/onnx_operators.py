"""What each operator of ONNX becomes in the graph; https://onnx.ai/onnx/operators/ defines them."""

import math
from collections.abc import Callable, Mapping

import numpy as np

from edgex.errors import ModelError
from edgex.graph.ir import (
    Activation,
    ActivationFunction,
    Array,
    BatchNorm,
    Conv2D,
    Dense,
    DepthwiseConv2D,
    Elu,
    GlobalAveragePool,
    GlobalMaxPool,
    Identity,
    LeakyRelu,
    Relu,
    Softmax,
)
from edgex.graph.onnx_arithmetic import (
    CLOSE,
    read_add,
    read_clip,
    read_divide,
    read_erf,
    read_greater,
    read_mish,
    read_multiply,
    read_negative,
    read_parametric_relu,
    read_subtract,
    read_where,
)
from edgex.graph.onnx_call import NCHW, Call, Tensor, Value
from edgex.graph.onnx_constants import (
    compute,
    read_cast,
    read_concatenate,
    read_constant,
    read_constant_of_shape,
    read_gather,
    read_identity,
    read_range,
    read_shape,
    read_slice,
)
from edgex.graph.onnx_resize import read_resize
from edgex.graph.onnx_shapes import read_flatten, read_reshape, read_squeeze, read_transpose, read_unsqueeze
from edgex.graph.onnx_windows import convolution_window, read_average_pool, read_max_pool, read_pad


def read_operator(call: Call) -> Value:
    """What the node makes.

    Raises:
        ModelError: the operator is not supported, or not so configured.
        ValueError: weights or shapes do not fit.
    """
    if call.operator in OPERATORS:
        return OPERATORS[call.operator](call)
    if call.operator in FUNCTIONS:
        return call.emit(Activation(FUNCTIONS[call.operator]), [call.tensor()])
    if call.operator in QUANTIZED:
        raise ModelError(
            f"the node {call.name!r} is a {call.operator}: the file is quantized already",
            fix="Give the float model that it was made from.",
        )
    if call.operator in AFTER_LOGITS:
        raise ModelError(
            f"the node {call.name!r} is a {call.operator}, which edgex does not support",
            fix="Export the model without it: what it reads gives the same classes.",
        )
    known = ", ".join(sorted({*OPERATORS, *FUNCTIONS}))
    raise ModelError(
        f"the node {call.name!r} is a {call.operator}, which edgex does not support", fix=f"It reads {known}."
    )


# With weights


def _convolution(call: Call) -> Tensor:
    image, weights = call.image(), call.weights(1)
    if weights.ndim != 4:
        raise call.refusal(f"a kernel of shape {weights.shape}")
    outputs, per_group, *kernel = weights.shape
    groups, channels = call.attribute("group", 1), call.nodes.shapes[image.name][2]
    params = {"bias": call.weights(2)} if call.has(2) else {}
    if groups < 1 or outputs % groups:
        raise ValueError(f"{outputs} outputs are not as many in each of {groups} groups")
    _expect_channels(params, outputs)
    strides, dilation, padding = convolution_window(call, image, (kernel[0], kernel[1]))
    if groups == channels > 1 and per_group == 1:
        if outputs % channels:
            raise ValueError(f"{outputs} channels are not so many times {channels}")
        params["kernel"] = weights.reshape(channels, outputs // channels, *kernel).transpose(2, 3, 0, 1)
        return call.emit(DepthwiseConv2D(strides, padding, dilation), [image], params)
    params["kernel"] = weights.transpose(2, 3, 1, 0)
    return call.emit(Conv2D(strides, padding, dilation, groups), [image], params)


def _gemm(call: Call) -> Tensor:
    given, weights = call.tensor(), call.weights(1)
    if any(call.attribute(key, 1.0) != 1.0 for key in ("alpha", "beta")) or call.attribute("transA", 0):
        raise call.refusal("a factor, or its input transposed")
    if given.rank != 2 or weights.ndim != 2:
        raise call.refusal("an input that is no vector")
    kernel = weights.T if call.attribute("transB", 0) else weights
    params = {"bias": np.broadcast_to(call.weights(2).reshape(-1), kernel.shape[1])} if call.has(2) else {}
    return _dense(call, given, kernel, params)


def _matmul(call: Call) -> Tensor:
    given, weights = call.tensor(), call.weights(1)
    if weights.ndim != 2 or given.axes[-1] != given.rank - 1:
        raise call.refusal("other than vectors times a matrix of weights")
    return _dense(call, given, weights, {})


def _dense(call: Call, given: Tensor, kernel: Array, params: Mapping[str, Array]) -> Tensor:
    """Where the vector is an image in another order than the graph's, the rows of the kernel go into that one."""
    if given.flattened is not None:
        rows = np.arange(math.prod(given.flattened)).reshape(given.flattened).transpose(1, 2, 0).reshape(-1)
        if len(rows) != len(kernel):
            raise ValueError(f"the kernel reads {len(kernel)} features of {len(rows)}")
        kernel = kernel[rows]
    return call.emit(Dense(), [given], {"kernel": kernel, **params}, flattened=None)


def _batch_norm(call: Call) -> Tensor:
    if call.attribute("training_mode", 0):
        raise call.refusal("training_mode")
    params = {key: call.weights(position) for position, key in enumerate(("gamma", "beta", "mean", "variance"), 1)}
    given = call.whole()
    if given.axes != NCHW and given.rank != 2:
        raise call.refusal("an input that has its channels elsewhere")
    _expect_channels(params, call.nodes.shapes[given.name][-1])
    return call.emit(BatchNorm(call.attribute("epsilon", 1e-5)), [given], params)


def _expect_channels(params: Mapping[str, Array], channels: int) -> None:
    for key, values in params.items():
        if values.shape != (channels,):
            raise ValueError(f"{key} is of the shape {values.shape}, for {channels} channels")


# Element by element


def _relu(call: Call) -> Tensor:
    return call.emit(Relu(), [call.tensor()])


def _leaky_relu(call: Call) -> Tensor:
    return call.emit(LeakyRelu(call.attribute("alpha", 0.01)), [call.tensor()])


def _elu(call: Call) -> Tensor:
    return call.emit(Elu(call.attribute("alpha", 1.0)), [call.tensor()])


def _hard_sigmoid(call: Call) -> Tensor:
    alpha, beta = call.attribute("alpha", 0.2), call.attribute("beta", 0.5)
    if not math.isclose(alpha, 1 / 6, rel_tol=CLOSE) or beta != 0.5:
        raise call.refusal(f"the slope {alpha:g} and the offset {beta:g}")
    return call.emit(Activation("hard_sigmoid"), [call.tensor()])


def _swish(call: Call) -> Tensor:
    if call.attribute("alpha", 1.0) != 1.0:
        raise call.refusal(f"the factor {call.attribute('alpha', 1.0):g}")
    return call.emit(Activation("silu"), [call.tensor()])


def _dropout(call: Call) -> Tensor:
    if call.has(2) and np.any(call.constant(2)):
        raise call.refusal("training_mode")
    return call.emit(Identity(), [call.tensor()])


def _gelu(call: Call) -> Tensor:
    if call.attribute("approximate", "none") != "none":
        raise call.refusal("the approximation by tanh")
    return call.emit(Activation("gelu"), [call.tensor()])


def _softmax(call: Call) -> Tensor:
    given = call.whole()
    axis = call.axis(call.attribute("axis", 1 if call.opset < 13 else -1), given.rank)
    if given.axes[axis] != given.rank - 1:
        raise call.refusal("an axis that is not that of the channels")
    if call.opset < 13 and math.prod(call.shape(given)[axis + 1 :]) > 1:  # it was over all axes from this one on
        raise call.refusal("more axes than that of the channels, as before opset 13")
    return call.emit(Softmax(), [given])


# Over the whole image


def _global_pool(op: type[GlobalAveragePool | GlobalMaxPool]) -> Callable[[Call], Tensor]:
    return lambda call: call.emit(op(keepdims=True), [call.image()])


def _reduce(op: type[GlobalAveragePool | GlobalMaxPool]) -> Callable[[Call], Tensor]:
    def read(call: Call) -> Tensor:
        given = call.whole()
        axes = call.numbers("axes", 1)
        if given.rank != 4 or axes is None or {given.axes[call.axis(axis, 4)] for axis in axes} != {1, 2}:
            raise call.refusal("axes other than height and width")
        if call.attribute("keepdims", 1):
            return call.emit(op(keepdims=True), [given])
        return call.emit(op(), [given], axes=(0, 1))

    return read


def _arithmetic(read: Callable[[Call], Tensor]) -> Callable[[Call], Value]:
    """Of tensors, or of constants alone."""
    return lambda call: (
        compute(call) if call.inputs and not any(isinstance(value, Tensor) for value in call.inputs) else read(call)
    )


FUNCTIONS: Mapping[str, ActivationFunction] = {
    "HardSwish": "hard_silu",
    "Sigmoid": "sigmoid",
    "Softplus": "softplus",
    "Tanh": "tanh",
}
QUANTIZED = ("QuantizeLinear", "DequantizeLinear", "DynamicQuantizeLinear", "QLinearConv", "ConvInteger")

AFTER_LOGITS = ("ArgMax", "LogSoftmax")

OPERATORS: Mapping[str, Callable[[Call], Value]] = {
    "Add": _arithmetic(read_add),
    "AveragePool": read_average_pool,
    "BatchNormalization": _batch_norm,
    "Cast": read_cast,
    "Clip": read_clip,
    "Concat": read_concatenate,
    "Constant": read_constant,
    "ConstantOfShape": read_constant_of_shape,
    "Conv": _convolution,
    "Div": _arithmetic(read_divide),
    "Dropout": _dropout,
    "Elu": _elu,
    "Erf": read_erf,
    "Flatten": read_flatten,
    "Gather": read_gather,
    "Gelu": _gelu,
    "Gemm": _gemm,
    "GlobalAveragePool": _global_pool(GlobalAveragePool),
    "GlobalMaxPool": _global_pool(GlobalMaxPool),
    "Greater": read_greater,
    "HardSigmoid": _hard_sigmoid,
    "Identity": read_identity,
    "LeakyRelu": _leaky_relu,
    "MatMul": _matmul,
    "MaxPool": read_max_pool,
    "Mish": read_mish,
    "Mul": _arithmetic(read_multiply),
    "Neg": read_negative,
    "PRelu": read_parametric_relu,
    "Pad": read_pad,
    "Range": read_range,
    "ReduceMax": _reduce(GlobalMaxPool),
    "ReduceMean": _reduce(GlobalAveragePool),
    "Relu": _relu,
    "Reshape": read_reshape,
    "Resize": read_resize,
    "Shape": read_shape,
    "Slice": read_slice,
    "Softmax": _softmax,
    "Squeeze": read_squeeze,
    "Sub": _arithmetic(read_subtract),
    "Sum": _arithmetic(read_add),
    "Swish": _swish,
    "Transpose": read_transpose,
    "Unsqueeze": read_unsqueeze,
    "Where": read_where,
}
