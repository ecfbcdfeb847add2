"""Each operation of the graph as TFLite operators, in float and in INT8.

The tensors decide: an operation whose inputs are int8 is written in INT8, with int8 weights and an int32 bias. Where
one operation takes several operators, the tensors between them are named ``<node>.<what they hold>``.

Weights of 4 bits are INT4, two to a byte, where XNNPACK runs them as fast as INT8: in dense layers and pointwise
convolutions, which FULLY_CONNECTED does alike. Elsewhere each takes a byte: CONV_2D and DEPTHWISE_CONV_2D know INT4 too
(version 7), but outside XNNPACK, and Xception takes four times as long (LiteRT 2.3).
"""

import math
from collections.abc import Sequence

import numpy as np

from edgex.errors import ModelError
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
    ExplicitPadding,
    Flatten,
    GlobalAveragePool,
    GlobalMaxPool,
    LeakyRelu,
    MaxPool2D,
    Multiply,
    Node,
    Op,
    Pad,
    Padding,
    Pair,
    Relu,
    Reshape,
    Resize,
    Softmax,
)
from edgex.graph.shapes import explicit_padding
from edgex.plan import TIED_OPS, QuantizationParameters, WeightBits, quantize_kernel
from edgex.write.tflite_activations import FUSED_ACTIVATIONS, scalar, write_activation
from edgex.write.tflite_schema import SAME, VALID, ModelBuilder, Tensor

FLOAT_ONLY = (Affine, Elu, Activation)

INT8_SOFTMAX = QuantizationParameters(np.float32(1 / 256), -128)
"""The only output that TFLite's int8 softmax makes."""


def write_node(
    model: ModelBuilder,
    node: Node,
    inputs: Sequence[Tensor],
    output: Tensor,
    activation: Op | None,
    weight_bits: WeightBits,
) -> None:
    """Write what ``node`` computes from ``inputs`` into ``output``, and the ReLU or ReLU6 fused into it.

    Raises:
        ModelError: TFLite has no operators for it.
        ValueError: the plan asks for INT8 where TFLite has none, or ties are not kept.
    """
    x = inputs[0]
    if x.quantization is not None:
        _check_int8(node, inputs, output)
    fused = FUSED_ACTIVATIONS[activation]
    match node.op:
        case Conv2D():
            _conv(model, node, node.op, x, output, fused, weight_bits)
        case DepthwiseConv2D():
            _depthwise(model, node, node.op, x, output, fused, weight_bits)
        case Dense() if x.quantization is None:
            _dense(model, node, x, output, fused)
        case Dense() if _is_packed(x, weight_bits):
            _packed_dense(model, node, x, output, fused)
        case Dense():
            _dense_as_conv(model, node, x, output, fused, weight_bits)
        case Affine():
            _affine(model, x, output, node.params["scale"], node.params["offset"])
        case Relu() | LeakyRelu() | Elu() | Activation():
            write_activation(model, node.op, x, output)
        case Softmax():
            model.operator("SOFTMAX", [x], output, beta=1.0)
        case Add():
            _add(model, inputs, output, fused)
        case Multiply():
            _multiply(model, inputs, output)
        case Concat():
            model.operator("CONCATENATION", inputs, output, axis=len(output.shape))
        case MaxPool2D():
            _max_pool(model, node.op, x, output)
        case AveragePool2D():
            _average_pool(model, node, node.op, x, output)
        case GlobalAveragePool():
            _reduce(model, "MEAN", x, output)
        case GlobalMaxPool():
            _reduce(model, "REDUCE_MAX", x, output)
        case Pad(padding):
            _pad(model, x, output, padding)
        case Crop(((top, _), (left, _))):
            begin = model.constant(f"{output.name}.begin", np.array([0, top, left, 0], np.int32))
            size = model.constant(f"{output.name}.size", np.array([-1, *output.shape], np.int32))
            model.operator("SLICE", [x, begin, size], output)
        case Resize(_, method):
            size = model.constant(f"{output.name}.size", np.array(output.shape[:2], np.int32))
            code = "RESIZE_BILINEAR" if method == "bilinear" else "RESIZE_NEAREST_NEIGHBOR"
            model.operator(code, [x, size], output, version=3, halfPixelCenters=True)
        case Flatten() | Reshape():
            _reshape(model, x, output)
        case _:
            raise ModelError(
                f"{node.name}: TFLite has no operators for {type(node.op).__name__}.",
                fix="Replace the layer by supported ones and export again.",
            )


def _check_int8(node: Node, inputs: Sequence[Tensor], output: Tensor) -> None:
    operation = type(node.op).__name__
    if isinstance(node.op, FLOAT_ONLY):
        raise ValueError(f"{node.name}: {operation} has no INT8 form in TFLite")
    if isinstance(node.op, TIED_OPS) and any(tensor.quantization != output.quantization for tensor in inputs):
        raise ValueError(f"{node.name}: {operation} needs equal ranges on its inputs and its output")
    if isinstance(node.op, Add) and len(inputs) > 2:
        raise ValueError(
            f"{node.name}: {operation} of {len(inputs)} tensors has no ranges for its partial sums in INT8"
        )


def _conv(
    model: ModelBuilder, node: Node, op: Conv2D, x: Tensor, output: Tensor, fused: int, weight_bits: WeightBits
) -> None:
    height, width, _, _ = node.params["kernel"].shape
    x, padding = _padded(model, x, output, op.padding, (height, width), op.strides, op.dilation)
    is_pointwise = (height, width, *op.strides, op.groups) == (1, 1, 1, 1, 1)
    if is_pointwise and _is_packed(x, weight_bits):
        _packed_dense(model, node, x, output, fused)
        return
    kernel, bias = _weights(model, node, x, node.params["kernel"].transpose(3, 0, 1, 2), 0, weight_bits)
    model.operator(
        "CONV_2D",
        [x, kernel, bias],
        output,
        version=1 if op.groups == 1 else 6,
        padding=padding,
        strideH=op.strides[0],
        strideW=op.strides[1],
        dilationHFactor=op.dilation[0],
        dilationWFactor=op.dilation[1],
        fusedActivationFunction=fused,
    )


def _depthwise(
    model: ModelBuilder, node: Node, op: DepthwiseConv2D, x: Tensor, output: Tensor, fused: int, weight_bits: WeightBits
) -> None:
    height, width, channels, multiplier = node.params["kernel"].shape
    x, padding = _padded(model, x, output, op.padding, (height, width), op.strides, op.dilation)
    flat = node.params["kernel"].reshape(1, height, width, channels * multiplier)
    kernel, bias = _weights(model, node, x, flat, 3, weight_bits)
    model.operator(
        "DEPTHWISE_CONV_2D",
        [x, kernel, bias],
        output,
        version=1 if op.dilation == (1, 1) else 2,
        padding=padding,
        strideH=op.strides[0],
        strideW=op.strides[1],
        depthMultiplier=multiplier,
        dilationHFactor=op.dilation[0],
        dilationWFactor=op.dilation[1],
        fusedActivationFunction=fused,
    )


def _dense(model: ModelBuilder, node: Node, x: Tensor, output: Tensor, fused: int) -> None:
    kernel, bias = _weights(model, node, x, node.params["kernel"].T, 0)
    keep_dims = len(x.shape) > 1
    model.operator(
        "FULLY_CONNECTED",
        [x, kernel, bias],
        output,
        version=5 if keep_dims else 1,
        keepNumDims=keep_dims,
        fusedActivationFunction=fused,
    )


def _dense_as_conv(
    model: ModelBuilder, node: Node, x: Tensor, output: Tensor, fused: int, weight_bits: WeightBits
) -> None:
    """A dense layer as 1x1 convolution, because older runtimes refuse FULLY_CONNECTED with per-channel weights."""
    read, out = node.params["kernel"].shape
    if len(x.shape) != 3:
        positions = math.prod(x.shape[:-1])
        x = _reshape(model, x, model.activation(f"{node.name}.image", (1, positions, read), x.quantization))
    flat = node.params["kernel"].T.reshape(out, 1, 1, read)
    kernel, bias = _weights(model, node, x, flat, 0, weight_bits)
    shape = (*x.shape[:2], out)
    made = output if shape == output.shape else model.activation(f"{node.name}.conv", shape, output.quantization)
    model.operator(
        "CONV_2D", [x, kernel, bias], made, padding=VALID, strideH=1, strideW=1, fusedActivationFunction=fused
    )
    if made is not output:
        _reshape(model, made, output)


def _is_packed(x: Tensor, weight_bits: WeightBits) -> bool:
    """Whether the weights of a dense layer or pointwise convolution that reads ``x`` are stored as INT4.

    XNNPACK wants an even number of inputs; it leaves other layers to kernels that unpack the weights at each run.
    """
    return x.quantization is not None and weight_bits == 4 and x.shape[-1] % 2 == 0


def _packed_dense(model: ModelBuilder, node: Node, x: Tensor, output: Tensor, fused: int) -> None:
    """A dense layer, or a pointwise convolution as one, with INT4 weights.

    FULLY_CONNECTED is the only operator whose INT4 weights XNNPACK takes (LiteRT 2.3). Version 10 is the first that
    has them; tflite-runtime 2.14 knows the version, but refuses the weights.
    """
    keep_dims = len(output.shape) > 1
    flat = node.params["kernel"].reshape(x.shape[-1], -1)
    kernel, bias = _weights(model, node, x, flat.T, 0, 4, packed=True)
    model.operator(
        "FULLY_CONNECTED",
        [x, kernel, bias],
        output,
        version=10,
        keepNumDims=keep_dims,
        fusedActivationFunction=fused,
    )


def _weights(
    model: ModelBuilder,
    node: Node,
    x: Tensor,
    kernel: Array,
    channel_axis: int,
    weight_bits: WeightBits = 8,
    *,
    packed: bool = False,
) -> tuple[Tensor, Tensor]:
    """The constants of a kernel, laid out as in the file, and of its bias; quantized if ``x`` is.

    There is always a bias: a depthwise convolution without one crashes the interpreter.
    """
    names = f"{node.name}.kernel", f"{node.name}.bias"
    bias = node.params.get("bias", np.zeros(kernel.shape[channel_axis], np.float32))
    if x.quantization is None:
        return model.constant(names[0], kernel), model.constant(names[1], bias)
    quantized = quantize_kernel(kernel, (channel_axis,), bias, x.quantization.scale, weight_bits)
    return (
        model.constant(names[0], quantized.values, quantized.scales, axis=channel_axis, packed=packed),
        model.constant(names[1], quantized.bias, quantized.scales * x.quantization.scale),
    )


def _affine(model: ModelBuilder, x: Tensor, output: Tensor, scale: Array, offset: Array) -> None:
    scaled = model.activation(f"{output.name}.scaled", output.shape)
    model.operator("MUL", [x, model.constant(f"{output.name}.scale", scale)], scaled)
    model.operator("ADD", [scaled, model.constant(f"{output.name}.offset", offset)], output)


def _add(model: ModelBuilder, inputs: Sequence[Tensor], output: Tensor, fused: int) -> None:
    total, *others, last = inputs
    for count, term in enumerate(others, start=2):
        shape = np.broadcast_shapes(total.shape, term.shape)
        partial = model.activation(f"{output.name}.sum{count}", shape)
        model.operator("ADD", [total, term], partial)
        total = partial
    model.operator("ADD", [total, last], output, fusedActivationFunction=fused)


def _multiply(model: ModelBuilder, inputs: Sequence[Tensor], output: Tensor) -> None:
    """Version 3 where the product is rescaled by 1 or more, which older kernels cannot."""
    first, second = (tensor.quantization for tensor in inputs)
    version = 1
    if first and second and output.quantization:
        version = 3 if first.scale * second.scale >= output.quantization.scale else 2
    model.operator("MUL", inputs, output, version=version)


def _max_pool(model: ModelBuilder, op: MaxPool2D, x: Tensor, output: Tensor) -> None:
    padding = _named_padding(op.padding, x, op.pool, op.strides)
    if padding is None:
        pads = explicit_padding(op.padding, x.shape, op.pool, op.strides)
        x, padding = _pad(model, x, _room(model, x, output, pads), pads, lowest=True), VALID
    _pool(model, "MAX_POOL_2D", op, x, output, padding)


def _average_pool(model: ModelBuilder, node: Node, op: AveragePool2D, x: Tensor, output: Tensor) -> None:
    padding = _named_padding(op.padding, x, op.pool, op.strides)
    if padding is None:
        raise ModelError(
            f"{node.name} averages with the padding {op.padding}, for which TFLite has no operator.",
            fix="Use padding 'same' or 'valid' in that layer.",
        )
    _pool(model, "AVERAGE_POOL_2D", op, x, output, padding)


def _pool(
    model: ModelBuilder, code: str, op: MaxPool2D | AveragePool2D, x: Tensor, output: Tensor, padding: int
) -> None:
    model.operator(
        code,
        [x],
        output,
        padding=padding,
        strideH=op.strides[0],
        strideW=op.strides[1],
        filterHeight=op.pool[0],
        filterWidth=op.pool[1],
    )


def _reduce(model: ModelBuilder, code: str, x: Tensor, output: Tensor) -> None:
    """Over height and width; the shape of ``output`` says whether they stay, with size 1."""
    axes = model.constant(f"{output.name}.axes", np.array([1, 2], np.int32))
    model.operator(code, [x, axes], output, keepDims=len(output.shape) == 3)


def _reshape(model: ModelBuilder, x: Tensor, output: Tensor) -> Tensor:
    """To the shape of ``output``, for any batch."""
    shape = np.array([-1, *output.shape], np.int32)
    model.operator("RESHAPE", [x, model.constant(f"{output.name}.shape", shape)], output, newShape=shape)
    return output


# Padding: TFLite knows SAME and VALID; anything else is an operator of its own in front -------------------------------


def _padded(
    model: ModelBuilder, x: Tensor, output: Tensor, padding: Padding, kernel: Pair, strides: Pair, dilation: Pair
) -> tuple[Tensor, int]:
    """What a convolution reads, zero-padded if need be, and the padding that is left to it."""
    named = _named_padding(padding, x, kernel, strides, dilation)
    if named is not None:
        return x, named
    pads = explicit_padding(padding, x.shape, kernel, strides, dilation)
    return _pad(model, x, _room(model, x, output, pads), pads), VALID


def _named_padding(padding: Padding, x: Tensor, kernel: Pair, strides: Pair, dilation: Pair = (1, 1)) -> int | None:
    """SAME or VALID if one of them is that padding at this size."""
    pads = explicit_padding(padding, x.shape, kernel, strides, dilation)
    named: tuple[tuple[Padding, int], ...] = (("valid", VALID), ("same", SAME))
    for name, code in named:
        if pads == explicit_padding(name, x.shape, kernel, strides, dilation):
            return code
    return None


def _room(model: ModelBuilder, x: Tensor, output: Tensor, pads: ExplicitPadding) -> Tensor:
    """A tensor for ``x`` with its padding."""
    height, width, channels = x.shape
    shape = (height + sum(pads[0]), width + sum(pads[1]), channels)
    return model.activation(f"{output.name}.pad", shape, x.quantization)


def _pad(model: ModelBuilder, x: Tensor, output: Tensor, pads: ExplicitPadding, *, lowest: bool = False) -> Tensor:
    """Pad with zeros, or with the value that no maximum takes."""
    paddings = model.constant(f"{output.name}.paddings", np.array([(0, 0), *pads, (0, 0)], np.int32))
    if lowest:
        model.operator("PADV2", [x, paddings, scalar(model, f"{output.name}.value", -np.inf, x)], output)
    else:
        model.operator("PAD", [x, paddings], output)
    return output
