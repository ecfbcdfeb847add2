"""Graph and plan to ONNX: float, FP16, or INT8 with QuantizeLinear/DequantizeLinear pairs.

Names are the graph's: node ``block5_sepconv2.depthwise`` makes the value of the same name. A tensor that the plan
stores in 8 bits is three values: ``name.raw`` as computed, ``name.quantized``, and ``name`` itself, dequantized, which
is what all its readers take. Runtimes fuse each operation with the pairs around it (ONNX Runtime's QLinearConv,
TensorRT's INT8 kernels); the operator definitions are those of https://onnx.ai/onnx/operators/.

The input stays NHWC, as in Keras, and is transposed once; inside, images are NCHW. Files with INT4 weights need ONNX
Runtime 1.23 or newer: older ones have no Cast from INT4.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from edgex.errors import ModelError
from edgex.graph.fusion import fused_producer
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
    Pad,
    Pair,
    Relu,
    Reshape,
    Resize,
    Softmax,
)
from edgex.graph.shapes import explicit_padding
from edgex.plan import QuantizationPlan, quantize_kernel
from edgex.write.int4 import pack_int4
from edgex.write.onnx_activations import write_activation
from edgex.write.onnx_form import IR_VERSIONS, OnnxForm
from edgex.write.onnx_images import write_other_size
from edgex.write.onnx_names import check_names

if TYPE_CHECKING:
    from onnx import ModelProto

__all__ = ["OnnxForm", "body_value", "onnx_model"]

NHWC_TO_NCHW = [0, 3, 1, 2]
NCHW_TO_NHWC = [0, 2, 3, 1]


def onnx_model(graph: Graph, plan: QuantizationPlan | None = None, form: OnnxForm | None = None) -> "ModelProto":
    """Write ``graph`` as an ONNX model; with a plan, in INT8.

    The model takes (N, height, width, channels) float32 for any N and gives its outputs as Keras does.
    Equal arguments give equal bytes.

    Raises:
        ModelError: a weight is too large for float16, or a layer is named like a part of another.
        ValueError: an operation that a pass should have replaced (a batch norm) is left, or there is a plan and the
            form asks for half precision.
    """
    form = form or OnnxForm()
    if plan is not None and form.float_type == "float16":
        raise ValueError("QuantizeLinear takes float16 only from opset 19 on, so INT8 models are float32 elsewhere")
    return _Writer(graph, plan, form).model()


def body_value(graph: Graph, tensor: str) -> str:
    """The value that holds a tensor, NCHW, in the body of the float32 model that :func:`onnx_model` writes."""
    image = len(graph.shapes[tensor]) == 3
    if isinstance(graph[tensor].op, Input):
        return f"{tensor}.nchw" if image else tensor
    return f"{tensor}.body" if image and tensor in graph.outputs else tensor


class _Writer:
    """Emits nodes in graph order.

    ``values`` says under which ONNX value each tensor is read inside the body, ``full_precision`` under which one a
    tensor of a half-precision body can be had in float32.
    """

    def __init__(self, graph: Graph, plan: QuantizationPlan | None, form: OnnxForm) -> None:
        self.graph = graph
        self.plan = plan
        self.form = form
        self.values: dict[str, str] = {}
        self.full_precision: dict[str, str] = {}
        self.nodes: list[Any] = []
        self.initializers: dict[str, Any] = {}

    def model(self) -> "ModelProto":
        from onnx import helper

        from edgex import __version__

        inputs = [self._input(node) for node in self.graph.inputs]
        for node in self.graph.nodes:
            if not isinstance(node.op, Input):
                self._store(node.name, self._compute(node))
        outputs = [self._output(name) for name in self.graph.outputs]
        body = helper.make_graph(self.nodes, self.graph.name, inputs, outputs, list(self.initializers.values()))
        check_names(body)
        return helper.make_model(
            body,
            opset_imports=[helper.make_opsetid("", self.form.opset)],
            ir_version=IR_VERSIONS[self.form.opset],
            producer_name="edgex",
            producer_version=__version__,
        )

    # Ends: float32 and NHWC outside, the body's type and NCHW inside

    def _input(self, node: Node) -> Any:
        name, shape = node.name, self.graph.shapes[node.name]
        integer = self.form.integer_io and self._is_stored(name)
        value = name
        if len(shape) == 3:
            value = self._emit("Transpose", [value], f"{name}.nchw", perm=NHWC_TO_NCHW)
        if integer:
            self._dequantize(name, value)
        else:
            if self._half:
                value = self._emit("Cast", [value], f"{name}.half", to=_proto(self.float_dtype))
            self._store(name, value)
        return self._declare(name, integer)

    def _output(self, name: str) -> Any:
        integer = self.form.integer_io and self._is_stored(name)
        value = f"{name}.quantized" if integer else self.full_precision.get(name, self.values[name])
        image = len(self.graph.shapes[name]) == 3
        if self._half and name not in self.full_precision:
            value = self._emit("Cast", [value], f"{name}.float" if image else name, to=_proto(np.dtype(np.float32)))
        if image:
            value = self._emit("Transpose", [value], name, perm=NCHW_TO_NHWC)
        if value != name:
            self._emit("Identity", [value], name)
        return self._declare(name, integer)

    def _declare(self, name: str, integer: bool) -> Any:
        from onnx import helper

        dtype = np.dtype(self.form.activation_type if integer else np.float32)
        return helper.make_tensor_value_info(name, _proto(dtype), ["N", *self.graph.shapes[name]])

    # Tensors

    @property
    def float_dtype(self) -> "np.dtype[Any]":
        return np.dtype(self.form.float_type)

    @property
    def _half(self) -> bool:
        return self.form.float_type == "float16"

    def _is_stored(self, name: str) -> bool:
        """Whether the plan stores this tensor in 8 bits."""
        return self.plan is not None and name in self.plan.ranges

    def _is_of_kept_kernel(self, name: str) -> bool:
        """Whether a layer with weights computes this tensor from another stored one, and stays in float."""
        kernel = fused_producer(self.graph, self.graph[name]) or self.graph[name]
        kept = "kernel" in kernel.params and self.plan is not None and not self.plan.is_int8(kernel.name)
        return kept and self._is_stored(kernel.inputs[0])

    def _body_name(self, name: str) -> str:
        """The tensor's own name, unless the model's declared input or output needs it."""
        is_end = isinstance(self.graph[name].op, Input)
        if name in self.graph.outputs:
            half = self._half and not isinstance(self.graph[name].op, Softmax)
            integer = self.form.integer_io and self._is_stored(name)
            is_end = half or integer or len(self.graph.shapes[name]) == 3
        return f"{name}.body" if is_end else name

    def _store(self, name: str, value: str) -> None:
        """Make a computed value the tensor ``name``, through 8 bits if the plan says so."""
        if not self._is_stored(name):
            self.values[name] = value
            return
        if self._is_of_kept_kernel(name):
            # Between two stored tensors ONNX Runtime quantizes float weights after all, with one scale for all channels
            value = self._emit("Max", [value], f"{name}.float")
        quantized = self._emit("QuantizeLinear", [value, *self._parameters(name)], f"{name}.quantized")
        if self.graph.consumers[name] or not self.form.integer_io:
            self._dequantize(name, quantized)

    def _dequantize(self, name: str, quantized: str) -> None:
        parameters = self._parameters(name)
        self.values[name] = self._emit("DequantizeLinear", [quantized, *parameters], self._body_name(name))

    def _parameters(self, name: str) -> list[str]:
        assert self.plan is not None
        scale, zero_point = self.plan.parameters(name)
        offset = 128 if self.form.activation_type == "uint8" else 0
        byte = np.array(zero_point + offset, self.form.activation_type)
        return [self._constant(f"{name}.scale", np.array(scale)), self._constant(f"{name}.zero_point", byte)]

    # Building blocks

    def _emit(self, op_type: str, inputs: Sequence[str], output: str, **attributes: Any) -> str:
        from onnx import helper

        self.nodes.append(helper.make_node(op_type, inputs, [output], name=output, **attributes))
        return output

    def _constant(self, name: str, array: NDArray[Any]) -> str:
        """An initializer; one of the same name is the same constant."""
        from onnx import numpy_helper

        if name not in self.initializers:
            self.initializers[name] = numpy_helper.from_array(np.asarray(array, order="C"), name)
        return name

    def _float(self, name: str, array: NDArray[Any] | float) -> str:
        if not np.max(np.abs(array)) <= np.finfo(self.float_dtype).max:  # NaN is not larger, either
            raise ModelError(f"{name} holds values too large for {self.float_dtype}.", fix="Write it in float32.")
        return self._constant(name, np.asarray(array, self.float_dtype))

    # Operations

    def _compute(self, node: Node) -> str:
        """Emit the node in float; returns the value it computes."""
        out = f"{node.name}.raw" if self._is_stored(node.name) else self._body_name(node.name)
        inputs = [self.values[name] for name in node.inputs]
        x = inputs[0]
        shape = self.graph.shapes[node.inputs[0]]
        match node.op:
            case Conv2D(strides, padding, dilation, groups):
                weights = self._weights(node, (3,), (3, 2, 0, 1))
                return self._window("Conv", [x, *weights], out, node, padding, strides, dilation, group=groups)
            case DepthwiseConv2D(strides, padding, dilation):
                weights = self._weights(node, (2, 3), (2, 3, 0, 1))
                return self._window("Conv", [x, *weights], out, node, padding, strides, dilation, group=shape[2])
            case Dense() if len(shape) == 1:
                return self._emit("Gemm", [x, *self._weights(node, (1,), (1, 0))], out, transB=1)
            case Affine():
                scaled = self._emit("Mul", [x, self._per_channel(node, "scale")], f"{node.name}.scaled")
                return self._emit("Add", [scaled, self._per_channel(node, "offset")], out)
            case Relu(None):
                return self._emit("Relu", [x], out)
            case Relu(max_value) if max_value is not None:
                low, high = self._float(f"{node.name}.min", 0.0), self._float(f"{node.name}.max", max_value)
                return self._emit("Clip", [x, low, high], out)
            case LeakyRelu(slope):
                return self._emit("LeakyRelu", [x], out, alpha=slope)
            case Elu(alpha):
                return self._emit("Elu", [x], out, alpha=alpha)
            case Activation():
                return write_activation(self._emit, self._float, node.op.function, x, out)
            case Softmax():
                axis = self._channel_axis(node)
                if not self._half:
                    return self._emit("Softmax", [x], out, axis=axis)
                # Half precision makes ties between the best classes
                logits = self._emit("Cast", [x], f"{node.name}.logits", to=_proto(np.dtype(np.float32)))
                self.full_precision[node.name] = self._emit("Softmax", [logits], out, axis=axis)
                if not self.graph.consumers[node.name]:
                    return out
                return self._emit("Cast", [out], f"{node.name}.half", to=_proto(self.float_dtype))
            case Add():
                return self._emit("Add" if len(inputs) == 2 else "Sum", inputs, out)
            case Multiply():
                return self._emit("Mul", inputs, out)
            case Concat():
                return self._emit("Concat", inputs, out, axis=self._channel_axis(node))
            case MaxPool2D(pool, strides, padding):
                return self._window("MaxPool", [x], out, node, padding, strides, kernel_shape=pool)
            case AveragePool2D(pool, strides, padding):
                return self._window(
                    "AveragePool", [x], out, node, padding, strides, kernel_shape=pool, count_include_pad=0
                )
            case GlobalAveragePool(keepdims):
                return self._global_pool("GlobalAveragePool", x, out, keepdims)
            case GlobalMaxPool(keepdims):
                return self._global_pool("GlobalMaxPool", x, out, keepdims)
            case Pad() | Crop() | Resize():
                return write_other_size(self._emit, self._constant, node, shape, x, out, self.float_dtype)
            case Flatten() | Reshape():
                return self._reshape(node, x, out)
            case Identity():
                return self._emit("Identity", [x], out)
            case _:
                raise ValueError(f"{node.name}: {type(node.op).__name__} has no ONNX form; a pass should replace it")

    def _weights(self, node: Node, channel_axes: tuple[int, ...], layout: tuple[int, ...]) -> list[str]:
        """Kernel in ONNX's layout and bias, quantized if the node is."""
        kernel, bias = node.params["kernel"], node.params.get("bias")
        name = f"{node.name}.kernel"

        def arrange(values: NDArray[Any]) -> NDArray[Any]:
            arranged = values.transpose(layout)
            # (in, multiplier, kh, kw) of a depthwise kernel counts its output channels on two axes
            return arranged.reshape(-1, 1, *arranged.shape[2:]) if len(channel_axes) == 2 else arranged

        if self.plan is None or not self.plan.is_int8(node.name):
            values = [self._float(name, arrange(kernel))]
            return values if bias is None else [*values, self._float(f"{node.name}.bias", bias)]
        input_scale = self.plan.parameters(node.inputs[0]).scale
        quantized = quantize_kernel(kernel, channel_axes, bias, input_scale, self.plan.weight_bits)
        packed = self.plan.weight_bits == 4 and self.form.weight_storage == "int4"
        weights = [self._per_output_channel(name, arrange(quantized.values), quantized.scales, packed=packed)]
        if bias is None:
            return weights
        if self.form.bias == "float":
            return [*weights, self._float(f"{node.name}.bias", bias)]
        return [*weights, self._per_output_channel(f"{node.name}.bias", quantized.bias, quantized.scales * input_scale)]

    def _per_output_channel(
        self, name: str, values: NDArray[Any], scales: NDArray[np.float32], *, packed: bool = False
    ) -> str:
        quantized = (self._packed if packed else self._constant)(f"{name}.quantized", values)
        scale = self._constant(f"{name}.scale", scales)
        zero_points = self._constant(f"{name}.zero_point", np.zeros(scales.shape, values.dtype))
        return self._emit("DequantizeLinear", [quantized, scale, zero_points], name, axis=0)

    def _packed(self, name: str, values: NDArray[np.int8]) -> str:
        """Weights of 4 bits, two to a byte, that runtimes cast to INT8 once, as they load the model.

        Without the cast they dequantize them at each run and convolve in float (ONNX Runtime 1.31, OpenVINO 2026.4).
        """
        from onnx import TensorProto, helper

        packed = f"{name}.int4"
        content = pack_int4(values).tobytes()
        self.initializers[packed] = helper.make_tensor(packed, TensorProto.INT4, values.shape, content, raw=True)
        return self._emit("Cast", [packed], name, to=TensorProto.INT8)

    def _window(
        self,
        op_type: str,
        inputs: list[str],
        out: str,
        node: Node,
        padding: Any,
        strides: Pair,
        dilation: Pair = (1, 1),
        **attributes: Any,
    ) -> str:
        """A convolution or pool; padding is written in pixels, because "same" means other pixels at other sizes."""
        kernel = attributes.get("kernel_shape") or node.params["kernel"].shape[:2]
        pads = explicit_padding(padding, self.graph.shapes[node.inputs[0]], kernel, strides, dilation)
        (top, bottom), (left, right) = pads
        attributes |= {"kernel_shape": kernel, "strides": strides, "pads": [top, left, bottom, right]}
        if op_type == "Conv":
            attributes["dilations"] = dilation
        return self._emit(op_type, inputs, out, **attributes)

    def _global_pool(self, op_type: str, x: str, out: str, keepdims: bool) -> str:
        if keepdims:
            return self._emit(op_type, [x], out)
        # ONNX Runtime moves a quantization across Squeeze, but not Flatten, and so averages integers
        axes = self._constant(f"{out}.axes", np.array([2, 3], np.int64))
        return self._emit("Squeeze", [self._emit(op_type, [x], f"{out}.keepdims"), axes], out)

    def _reshape(self, node: Node, x: str, out: str) -> str:
        before, after = self.graph.shapes[node.inputs[0]], self.graph.shapes[node.name]
        if len(before) == 3:
            x = self._emit("Transpose", [x], f"{node.name}.nhwc", perm=NCHW_TO_NHWC)
        shape = self._constant(f"{node.name}.shape", np.array([-1, *after], np.int64))
        if len(after) != 3:
            return self._emit("Reshape", [x, shape], out)
        reshaped = self._emit("Reshape", [x, shape], f"{node.name}.reshaped")
        return self._emit("Transpose", [reshaped], out, perm=NHWC_TO_NCHW)

    def _channel_axis(self, node: Node) -> int:
        rank = len(self.graph.shapes[node.name])
        return 1 if rank == 3 else rank

    def _per_channel(self, node: Node, key: str) -> str:
        """A vector of the node, shaped to meet NCHW images or plain vectors."""
        vector = node.params[key]
        image = len(self.graph.shapes[node.name]) == 3
        # ".scale" alone is how the tensor is quantized
        return self._float(f"{node.name}.channel_{key}", vector.reshape(-1, 1, 1) if image else vector)


def _proto(dtype: "np.dtype[Any]") -> int:
    from onnx import helper

    return int(helper.np_dtype_to_tensor_dtype(dtype))
