"""What a graph computes, in numpy and float64, written straight from the definitions: the oracle of passes and writers.

Slow and short. It shares no code with edgex but the classes of the operations.
"""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgex.graph.ir import (
    Activation,
    Add,
    Affine,
    AveragePool2D,
    BatchNorm,
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
    Pad,
    Padding,
    Pair,
    Relu,
    Reshape,
    Resize,
    SeparableConv2D,
    Softmax,
)

Values = NDArray[np.float64]


def reference(graph: Graph, images: NDArray[np.float32]) -> dict[str, Values]:
    """Every tensor of a graph with one input, (N, *shape), by name."""
    values: dict[str, Values] = {}
    for node in graph.nodes:
        inputs = [values[name] for name in node.inputs]
        values[node.name] = images.astype(np.float64) if isinstance(node.op, Input) else _compute(node, inputs)
    return values


def relative_error(found: NDArray[Any], expected: Values) -> float:
    """Largest difference, relative to the largest expected value."""
    assert found.shape == expected.shape
    return float(np.abs(found - expected).max() / np.abs(expected).max())


def sqnr(found: NDArray[Any], expected: Values) -> float:
    """Power of the signal over that of the error, in dB."""
    assert found.shape == expected.shape
    return float(10 * np.log10(np.square(expected).sum() / np.square(found - expected).sum()))


def _compute(node: Node, inputs: list[Values]) -> Values:
    x = inputs[0]
    params = {key: array.astype(np.float64) for key, array in node.params.items()}
    bias = params.get("bias", np.float64(0))
    match node.op:
        case Conv2D(strides, padding, dilation, groups):
            patches = _patches(x, params["kernel"].shape[:2], strides, padding, dilation)
            parts = zip(np.split(patches, groups, -1), np.split(params["kernel"], groups, -1), strict=True)
            return np.concatenate([np.einsum("nhwklc,klco->nhwo", *part) for part in parts], -1) + bias
        case DepthwiseConv2D(strides, padding, dilation):
            return _depthwise(x, params["kernel"], strides, padding, dilation) + bias
        case SeparableConv2D(strides, padding, dilation):
            return _depthwise(x, params["depthwise"], strides, padding, dilation) @ params["pointwise"][0, 0] + bias
        case Dense():
            return x @ params["kernel"] + bias
        case BatchNorm(epsilon):
            normal = (x - params["mean"]) / np.sqrt(params["variance"] + epsilon)
            return normal * params.get("gamma", np.float64(1)) + params.get("beta", np.float64(0))
        case Affine():
            return x * params["scale"] + params["offset"]
        case Relu(max_value):
            return np.clip(x, 0, max_value)
        case LeakyRelu(slope):
            return np.where(x < 0, x * slope, x)
        case Elu(alpha):
            return np.where(x < 0, alpha * np.expm1(x), x)
        case Activation(function):
            return _activation(function, x)
        case Softmax():
            powers = np.exp(x - x.max(-1, keepdims=True))
            return powers / powers.sum(-1, keepdims=True)
        case Add():
            return np.asarray(sum(inputs))
        case Multiply():
            return inputs[0] * inputs[1]
        case Concat():
            return np.concatenate(inputs, -1)
        case MaxPool2D(pool, strides, padding):
            return _patches(x, pool, strides, padding, fill=-np.inf).max((3, 4))
        case AveragePool2D(pool, strides, padding):
            return np.nanmean(_patches(x, pool, strides, padding, fill=np.nan), (3, 4))
        case GlobalAveragePool(keepdims):
            return x.mean((1, 2), keepdims=keepdims)
        case GlobalMaxPool(keepdims):
            return x.max((1, 2), keepdims=keepdims)
        case Pad(padding):
            return np.pad(x, ((0, 0), *padding, (0, 0)))
        case Crop(((top, bottom), (left, right))):
            return x[:, top : x.shape[1] - bottom, left : x.shape[2] - right]
        case Resize(size, method):
            for axis, extent in enumerate(size, start=1):
                x = _resized(x, axis, extent, method)
            return x
        case Flatten():
            return x.reshape(len(x), -1)
        case Reshape(shape):
            return x.reshape(len(x), *shape)
        case Identity():
            return x
        case other:
            raise AssertionError(f"no reference for {other}")


def _depthwise(x: Values, kernel: Values, strides: Pair, padding: Padding, dilation: Pair) -> Values:
    products = np.einsum("nhwklc,klcm->nhwcm", _patches(x, kernel.shape[:2], strides, padding, dilation), kernel)
    return products.reshape(*products.shape[:3], -1)


def _patches(
    x: Values, kernel: Sequence[int], strides: Pair, padding: Padding, dilation: Pair = (1, 1), fill: float = 0.0
) -> Values:
    """What each position of a window sees: (N, height, width, kernel height, kernel width, channels)."""
    starts = []
    for axis in (0, 1):
        size, reach = x.shape[1 + axis], (kernel[axis] - 1) * dilation[axis] + 1
        if padding == "same":
            total = max((math.ceil(size / strides[axis]) - 1) * strides[axis] + reach - size, 0)
            pad = (total // 2, total - total // 2)
        else:
            pad = (0, 0) if padding == "valid" else padding[axis]
        widths = [pad if at == 1 + axis else (0, 0) for at in range(4)]
        x = np.pad(x, widths, constant_values=fill)
        starts.append(range(0, x.shape[1 + axis] - reach + 1, strides[axis]))
    rows, columns = (
        np.add.outer(np.array(start), np.arange(size) * rate)
        for start, size, rate in zip(starts, kernel, dilation, strict=True)
    )
    return x[:, rows[:, np.newaxis, :, np.newaxis], columns[np.newaxis, :, np.newaxis, :]]


def _resized(x: Values, axis: int, extent: int, method: str) -> Values:
    """Along one axis: as a matrix of what each new pixel takes of each old one."""
    before = x.shape[axis]
    centres = (np.arange(extent) + 0.5) * before / extent - 0.5
    if method == "nearest":
        taken = np.eye(before)[np.floor(centres + 0.5).astype(int).clip(0, before - 1)]
    else:
        centres = centres.clip(0, before - 1)
        taken = np.maximum(1 - np.abs(centres[:, np.newaxis] - np.arange(before)), 0)
    return np.moveaxis(np.tensordot(taken, x, (1, axis)), 0, axis)


def _activation(function: str, x: Values) -> Values:
    match function:
        case "sigmoid":
            return 1 / (1 + np.exp(-x))
        case "tanh":
            return np.tanh(x)
        case "silu":
            return x / (1 + np.exp(-x))
        case "hard_sigmoid":
            return np.clip(x / 6 + 0.5, 0, 1)
        case "hard_silu":
            return x * np.clip(x / 6 + 0.5, 0, 1)
        case "gelu":
            return x * (1 + np.vectorize(math.erf)(x / math.sqrt(2))) / 2
        case "softplus":
            return np.logaddexp(x, 0)
        case other:
            raise AssertionError(f"no reference for {other}")
