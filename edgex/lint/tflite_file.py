"""A TFLite file as its linter sees it: tensors and operators, parsed and checked, never run."""

import struct
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgex.errors import ModelError
from edgex.model_file import read_model_file

FILE_IDENTIFIER = b"TFL3"
FLOATS = {"FLOAT16": np.float16, "FLOAT32": np.float32, "FLOAT64": np.float64}
LEAST_INPUTS = dict.fromkeys(("CONV_2D", "DEPTHWISE_CONV_2D", "FULLY_CONNECTED", "TRANSPOSE_CONV"), 2)
OPTIONAL = -1
"""The index that stands for an operand left out."""

MOST_ENTRIES = 20_000
"""Tensors or operators in a file."""

MOST_OPERANDS = 1_000
"""Operands of an operator, and axes of a tensor. No network has more; a small file can, by lists that overlap, and
would be read forever. So it is with the next two."""

MOST_CHANNELS = 100_000
"""Scales or zero points of a tensor."""

LONGEST_NAME = 4_000
"""Bytes."""


@dataclass(frozen=True, eq=False)
class FileTensor:
    """A tensor; ``scales`` and ``zero_points`` are empty where it is not quantized."""

    name: str
    type: str
    """As the schema names it: FLOAT32, INT8, INT32…"""
    shape: tuple[int, ...]
    scales: NDArray[np.float32]
    zero_points: NDArray[np.int64]
    axis: int
    """That ``scales`` run along, if there are several."""
    is_constant: bool
    is_finite: bool
    """Not a float constant with NaN, or with infinity but as a limit, a single number."""


@dataclass(frozen=True, eq=False)
class FileOperator:
    """An operator; ``inputs`` holds None for an operand left out."""

    code: str
    inputs: tuple[FileTensor | None, ...]
    outputs: tuple[FileTensor, ...]

    @property
    def name(self) -> str:
        """That of the first tensor it makes."""
        return self.outputs[0].name

    @property
    def activations(self) -> tuple[FileTensor, ...]:
        """What it reads and makes, without constants."""
        read = tuple(tensor for tensor in self.inputs if tensor is not None and not tensor.is_constant)
        return read + self.outputs


@dataclass(frozen=True)
class TfliteFile:
    """The one subgraph of a file; operators are in the order in which they run."""

    tensors: tuple[FileTensor, ...]
    operators: tuple[FileOperator, ...]
    inputs: tuple[FileTensor, ...]
    outputs: tuple[FileTensor, ...]


def read_tflite_file(path: Path) -> TfliteFile:
    """Parse ``path``; nothing in it is executed.

    Raises:
        OutputError: it cannot be read.
        ModelError: it is no TFLite model, is damaged, or has more than one subgraph.
    """
    from ai_edge_litert import schema_py_generated as schema

    data = read_model_file(path)
    if data[4:8] != FILE_IDENTIFIER:
        raise ModelError(f"{path} is not a TFLite model: it does not carry the mark TFL3.", fix="Export it again.")
    try:
        return _Parser(schema, schema.Model.GetRootAs(data, 0), len(data)).file()
    except (struct.error, ArithmeticError, AttributeError, LookupError, TypeError, ValueError) as error:
        # what Python raises where an offset in the file leads astray
        raise ModelError(f"{path} is damaged: {error}.", fix="Export it again.") from error


class _Parser:
    """Reads the tables of the schema; raises LookupError or ValueError about what makes no sense."""

    def __init__(self, schema: Any, model: Any, size: int) -> None:
        self.types = {value: name for name, value in vars(schema.TensorType).items() if isinstance(value, int)}
        self.codes = {value: name for name, value in vars(schema.BuiltinOperator).items() if isinstance(value, int)}
        self.model = model
        self.unread = size  # bytes left for buffers; those of more bytes than the file overlap, and take forever
        self.finite: dict[tuple[int, str], bool] = {}
        if model.SubgraphsLength() != 1:
            raise ValueError(f"it has {model.SubgraphsLength()} subgraphs, not one")
        self.graph = model.Subgraphs(0)
        self.tensors = tuple(
            self.read_tensor(self.graph.Tensors(index)) for index in _indices(self.graph.TensorsLength())
        )

    def file(self) -> TfliteFile:
        operators = tuple(
            self.read_operator(self.graph.Operators(index)) for index in _indices(self.graph.OperatorsLength())
        )
        inputs, outputs = self.graph.InputsAsNumpy(), self.graph.OutputsAsNumpy()
        return TfliteFile(self.tensors, operators, self.named(inputs), self.named(outputs))

    def read_tensor(self, tensor: Any) -> FileTensor:
        name = tensor.Name() or b""
        if len(name) > LONGEST_NAME:
            raise ValueError(f"a name is {len(name)} bytes long")
        if not 0 <= tensor.Buffer() < self.model.BuffersLength():
            raise IndexError(f"it has no buffer {tensor.Buffer()}")
        type_name = self.types.get(tensor.Type(), f"type {tensor.Type()}")
        quantization = tensor.Quantization()
        return FileTensor(
            name=name.decode("utf-8", "backslashreplace"),
            type=type_name,
            shape=tuple(_short(tensor.ShapeAsNumpy())),
            scales=_channels(quantization.ScaleAsNumpy() if quantization else 0, np.float32),
            zero_points=_channels(quantization.ZeroPointAsNumpy() if quantization else 0, np.int64),
            axis=quantization.QuantizedDimension() if quantization else 0,
            is_constant=_holds_data(self.model.Buffers(tensor.Buffer())),
            is_finite=self.is_finite(tensor.Buffer(), type_name),
        )

    def is_finite(self, buffer: int, type_name: str) -> bool:
        if type_name not in FLOATS:
            return True
        key = buffer, type_name
        if key not in self.finite:
            content = _vector(self.model.Buffers(buffer).DataAsNumpy(), np.uint8)
            self.unread -= content.size
            if self.unread < 0:
                raise ValueError("its buffers overlap")
            values = content.view(FLOATS[type_name])
            self.finite[key] = bool(np.isfinite(values).all()) or (values.size == 1 and not np.isnan(values[0]))
        return self.finite[key]

    def read_operator(self, operator: Any) -> FileOperator:
        if not 0 <= operator.OpcodeIndex() < self.model.OperatorCodesLength():
            raise IndexError(f"it has no operator code {operator.OpcodeIndex()}")
        code = self.model.OperatorCodes(operator.OpcodeIndex())
        number = max(code.BuiltinCode(), code.DeprecatedBuiltinCode())
        name = self.codes.get(number, f"operator {number}")
        read, made = _short(operator.InputsAsNumpy()), self.named(operator.OutputsAsNumpy())
        if len(read) < LEAST_INPUTS.get(name, 0) or not made:
            raise ValueError(f"a {name} reads {len(read)} tensors and makes {len(made)}")
        inputs = tuple(None if index == OPTIONAL else self.tensor(index) for index in read)
        return FileOperator(name, inputs, made)

    def named(self, indices: Any) -> tuple[FileTensor, ...]:
        return tuple(self.tensor(index) for index in _short(indices))

    def tensor(self, index: int) -> FileTensor:
        if not 0 <= index < len(self.tensors):
            raise IndexError(f"it has no tensor {index}")
        return self.tensors[index]


def _indices(count: int) -> range:
    if count > MOST_ENTRIES:
        raise ValueError(f"it has a list of {count} entries")
    return range(count)


def _holds_data(buffer: Any) -> bool:
    """Inside the flatbuffer, or behind it as ai-edge-quantizer has it."""
    return _vector(buffer.DataAsNumpy(), np.uint8).size > 0 or buffer.Size() > 0


def _vector(found: Any, dtype: type[Any]) -> NDArray[Any]:
    """What a generated ``…AsNumpy`` found: a view of the file, or 0 where there is no list."""
    return found if isinstance(found, np.ndarray) else np.zeros(0, dtype)


def _channels(found: Any, dtype: type[Any]) -> NDArray[Any]:
    values = _vector(found, dtype)
    if values.size > MOST_CHANNELS:
        raise ValueError(f"it has a list of {values.size} scales or zero points")
    return values


def _short(found: Any) -> list[int]:
    values = _vector(found, np.int32)
    if values.size > MOST_OPERANDS:
        raise ValueError(f"it has a list of {values.size} operands or axes")
    return [int(value) for value in values]
