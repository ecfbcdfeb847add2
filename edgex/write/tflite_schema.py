"""The TFLite flatbuffer: tensors and operators, collected and packed.

A thin layer over the object API of the schema classes that ai-edge-litert ships. It knows the format (which options
and which version belong to an operator, how data is aligned) and nothing of graphs.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgex.graph.shapes import Shape
from edgex.plan import QuantizationParameters
from edgex.write.int4 import pack_int4

SCHEMA_VERSION = 3
FILE_IDENTIFIER = b"TFL3"
BUFFER_ALIGNMENT = 16
"""Of constant data, in bytes; the schema's ``force_align``, which the generated Python packer forgets."""

SAME, VALID = 0, 1
"""Values of the schema's ``Padding``."""

OPTIONS = {
    "ADD": "AddOptions",
    "AVERAGE_POOL_2D": "Pool2DOptions",
    "CONCATENATION": "ConcatenationOptions",
    "CONV_2D": "Conv2DOptions",
    "DEPTHWISE_CONV_2D": "DepthwiseConv2DOptions",
    "FULLY_CONNECTED": "FullyConnectedOptions",
    "GELU": "GeluOptions",
    "LEAKY_RELU": "LeakyReluOptions",
    "MAX_POOL_2D": "Pool2DOptions",
    "MEAN": "ReducerOptions",
    "MUL": "MulOptions",
    "REDUCE_MAX": "ReducerOptions",
    "RESHAPE": "ReshapeOptions",
    "RESIZE_BILINEAR": "ResizeBilinearOptions",
    "RESIZE_NEAREST_NEIGHBOR": "ResizeNearestNeighborOptions",
    "SOFTMAX": "SoftmaxOptions",
}
"""The table that holds an operator's options; operators without options are left out."""

INT8_VERSIONS = {
    "ADD": 2,
    "AVERAGE_POOL_2D": 2,
    "CONCATENATION": 2,
    "CONV_2D": 3,
    "DEPTHWISE_CONV_2D": 3,
    "DEQUANTIZE": 2,
    "MAX_POOL_2D": 2,
    "MEAN": 2,
    "MINIMUM": 2,
    "MUL": 2,
    "PAD": 2,
    "PADV2": 2,
    "REDUCE_MAX": 2,
    "RELU": 2,
    "RELU6": 2,
    "SLICE": 2,
    "SOFTMAX": 2,
}
"""The version from which an operator reads int8 (TensorFlow Lite's ``op_version.cc``); 1 for all others. A runtime
refuses versions that are too new for it, so each operator gets the lowest that says what it needs."""


@dataclass(frozen=True)
class Tensor:
    """A tensor of the file. ``shape`` is without the batch axis, except in constants, which have none."""

    index: int
    name: str
    shape: Shape
    quantization: QuantizationParameters | None = None
    """None: in float, or a constant with its own parameters."""


class ModelBuilder:
    """Collects the one subgraph of a model; :meth:`pack` makes the file."""

    def __init__(self) -> None:
        from ai_edge_litert import schema_py_generated as schema

        self._schema = schema
        self._types = {
            np.dtype(np.float32): schema.TensorType.FLOAT32,
            np.dtype(np.int32): schema.TensorType.INT32,
            np.dtype(np.int8): schema.TensorType.INT8,
        }
        self._tensors: list[Any] = []
        self._buffers: list[Any] = [schema.BufferT()]  # the first stays empty: activations point to it
        self._operators: list[Any] = []
        self._codes: dict[tuple[str, int], int] = {}
        self._data_bytes = 0

    def activation(self, name: str, shape: Shape, quantization: QuantizationParameters | None = None) -> Tensor:
        """A tensor that an operator makes, or the input: (N, *shape), float32, or int8 if quantized."""
        tensor = self._schema.TensorT(
            name=name,
            type=self._types[np.dtype(np.float32 if quantization is None else np.int8)],
            shape=np.array((1, *shape), np.int32),
            shapeSignature=np.array((-1, *shape), np.int32),
        )
        if quantization is not None:
            scale, zero_point = quantization
            tensor.quantization = self._quantization(np.array([scale]), np.array([zero_point]), axis=0)
        return self._add(tensor, name, shape, quantization)

    def constant(
        self,
        name: str,
        values: NDArray[Any],
        scales: NDArray[np.float32] | None = None,
        zero_point: int = 0,
        axis: int = 0,
        *,
        packed: bool = False,
    ) -> Tensor:
        """A tensor of known values.

        Args:
            values: float32, int32 or int8.
            scales: one per index of ``axis``, or a single one; None for values that are not quantized.
            packed: store int8 values that have 4 bits as INT4.
        """
        data = pack_int4(values) if packed else np.ascontiguousarray(values).reshape(-1).view(np.uint8)
        self._buffers.append(_aligned(self._schema.BufferT(data=data)))
        self._data_bytes += data.nbytes + BUFFER_ALIGNMENT
        tensor = self._schema.TensorT(
            name=name,
            type=self._schema.TensorType.INT4 if packed else self._types[values.dtype],
            shape=np.array(values.shape, np.int32),
            buffer=len(self._buffers) - 1,
        )
        if scales is not None:
            tensor.quantization = self._quantization(scales, np.full(scales.shape, zero_point), axis)
        return self._add(tensor, name, values.shape, None)

    def operator(
        self, code: str, inputs: Sequence[Tensor], output: Tensor, *, version: int = 1, **options: Any
    ) -> None:
        """Add an operator.

        Args:
            code: its name in the schema's ``BuiltinOperator``.
            inputs: in the order of the operator's definition.
            output: the one tensor that it makes.
            version: what the options ask for; int8 operands raise it by themselves.
            options: fields of its options table; those not given keep the schema's default.
        """
        schema = self._schema
        if inputs[0].quantization is not None:
            version = max(version, INT8_VERSIONS.get(code, 1))
        operator = schema.OperatorT(
            opcodeIndex=self._codes.setdefault((code, version), len(self._codes)),
            inputs=np.array([tensor.index for tensor in inputs], np.int32),
            outputs=np.array([output.index], np.int32),
        )
        if code in OPTIONS:
            operator.builtinOptionsType = getattr(schema.BuiltinOptions, OPTIONS[code])
            operator.builtinOptions = getattr(schema, f"{OPTIONS[code]}T")(**options)
        self._operators.append(operator)

    def pack(self, inputs: Sequence[Tensor], outputs: Sequence[Tensor]) -> bytes:
        """The file, with a signature ``serving_default`` that names inputs and outputs as the tensors are named."""
        import flatbuffers

        schema = self._schema
        subgraph = schema.SubGraphT(
            name="main",
            tensors=self._tensors,
            operators=self._operators,
            inputs=np.array([tensor.index for tensor in inputs], np.int32),
            outputs=np.array([tensor.index for tensor in outputs], np.int32),
        )
        signature = schema.SignatureDefT(
            signatureKey="serving_default",
            inputs=[schema.TensorMapT(tensor.name, tensor.index) for tensor in inputs],
            outputs=[schema.TensorMapT(tensor.name, tensor.index) for tensor in outputs],
        )
        model = schema.ModelT(
            version=SCHEMA_VERSION,
            description="edgex",
            operatorCodes=[self._operator_code(name, version) for name, version in self._codes],
            subgraphs=[subgraph],
            buffers=self._buffers,
            signatureDefs=[signature],
        )
        # roomy from the start: a builder that grows copies everything each time
        builder = flatbuffers.Builder(self._data_bytes + 1024 * (len(self._tensors) + len(self._operators) + 1))
        builder.Finish(model.Pack(builder), FILE_IDENTIFIER)
        return bytes(builder.Output())

    def _add(self, tensor: Any, name: str, shape: Shape, quantization: QuantizationParameters | None) -> Tensor:
        self._tensors.append(tensor)
        return Tensor(len(self._tensors) - 1, name, shape, quantization)

    def _quantization(self, scales: NDArray[np.float32], zero_points: NDArray[np.int64], axis: int) -> Any:
        return self._schema.QuantizationParametersT(
            scale=scales.astype(np.float32), zeroPoint=zero_points.astype(np.int64), quantizedDimension=axis
        )

    def _operator_code(self, name: str, version: int) -> Any:
        code = getattr(self._schema.BuiltinOperator, name)
        # readers older than the wide field look at the narrow one, which ends at 127
        return self._schema.OperatorCodeT(builtinCode=code, deprecatedBuiltinCode=min(code, 127), version=version)


def _aligned(buffer: Any) -> Any:
    """The same buffer, which aligns its data when it is packed."""
    pack = buffer.Pack

    def aligned_pack(builder: Any) -> Any:
        builder.Prep(BUFFER_ALIGNMENT, buffer.data.size)
        return pack(builder)

    buffer.Pack = aligned_pack
    return buffer
