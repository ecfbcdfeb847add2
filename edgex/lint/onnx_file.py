"""An ONNX file as its linter sees it: who makes each value, who reads it, and what is quantized how."""

from collections import Counter
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from edgex.errors import ModelError
from edgex.model_file import read_onnx

if TYPE_CHECKING:
    from onnx import ModelProto, NodeProto, TensorProto

DEFAULT_DOMAINS = ("", "ai.onnx")
CONSTANT_NUMBERS = {"value_float": "f4", "value_floats": "f4", "value_int": "i8", "value_ints": "i8"}
"""Other attributes that the node Constant may have, and their types."""

LEAST_INPUTS = {
    "Cast": 1,
    **dict.fromkeys(("Conv", "ConvTranspose", "DequantizeLinear", "Gemm", "MatMul", "QuantizeLinear"), 2),
}

MOST_NODES = 20_000
"""No network has more. The linter follows values from node to node, and would follow those of a huge file forever."""


class Quantizer(NamedTuple):
    """A QuantizeLinear or DequantizeLinear.

    Attributes:
        node: itself.
        stored: type of its integer side, e.g. ``int8``; None where the file does not say.
        scale: its constant scale; None if it is computed while the model runs.
        zero_point: its constant zero point, 0 if it has none; None if it is computed.
        axis: that ``scale`` runs along, if it is a vector.
        of_constant: what it quantizes is a weight or bias, not an activation.
    """

    node: "NodeProto"
    stored: str | None
    scale: NDArray[Any] | None
    zero_point: NDArray[Any] | None
    axis: int
    of_constant: bool

    @property
    def is_dequantizer(self) -> bool:
        return self.node.op_type == "DequantizeLinear"


@dataclass(frozen=True, eq=False)
class OnnxFile:
    """A model read from ``path``; see :func:`read_onnx_file`."""

    path: Path
    model: "ModelProto"

    @cached_property
    def nodes(self) -> tuple["NodeProto", ...]:
        return tuple(self.model.graph.node)

    @cached_property
    def opset(self) -> int:
        """Of the default domain, 0 if the file imports none."""
        return max((entry.version for entry in self.model.opset_import if entry.domain in DEFAULT_DOMAINS), default=0)

    @cached_property
    def producers(self) -> dict[str, "NodeProto"]:
        """Value → the node that makes it."""
        return {value: node for node in self.nodes for value in node.output if value}

    @cached_property
    def readers(self) -> dict[str, list["NodeProto"]]:
        """Value → the nodes that read it."""
        readers: dict[str, list[NodeProto]] = {}
        for node in self.nodes:
            for value in node.input:
                readers.setdefault(value, []).append(node)
        return readers

    @cached_property
    def constants(self) -> dict[str, "TensorProto"]:
        """Initializers and the outputs of Constant nodes."""
        from onnx import helper, numpy_helper

        constants = {tensor.name: tensor for tensor in self.model.graph.initializer}
        for node in self.nodes:
            for attribute in node.attribute:
                if node.op_type != "Constant" or not node.output:
                    continue
                if attribute.name == "value":
                    constants[node.output[0]] = attribute.t
                elif attribute.name in CONSTANT_NUMBERS:
                    numbers = np.array(helper.get_attribute_value(attribute), CONSTANT_NUMBERS[attribute.name])
                    constants[node.output[0]] = numpy_helper.from_array(numbers, node.output[0])
        return constants

    @cached_property
    def casts(self) -> dict[str, int]:
        """What is cast from a constant → its type there; so are weights of 4 bits, which runtimes unpack on loading."""
        return {
            node.output[0]: next((entry.i for entry in node.attribute if entry.name == "to"), 0)
            for node in self.nodes
            if node.op_type == "Cast" and node.input[0] in self.constants
        }

    def array(self, value: str) -> NDArray[Any] | None:
        """A constant's elements; None if ``value`` is no constant."""
        from onnx import numpy_helper

        if value not in self.constants:
            return None
        try:
            return numpy_helper.to_array(self.constants[value], base_dir=str(self.path.parent))
        except Exception as error:  # whatever onnx raises about a tensor, the file is at fault
            raise ModelError(
                f"{self.path} is damaged: the constant {value!r} cannot be read, {error}.", fix="Export it again."
            ) from error

    @cached_property
    def quantizers(self) -> dict[str, Quantizer]:
        """Output value → the QuantizeLinear or DequantizeLinear that makes it, in the file's order."""
        quantizers: dict[str, Quantizer] = {}
        for node in self.nodes:
            if node.op_type in ("QuantizeLinear", "DequantizeLinear") and node.domain in DEFAULT_DOMAINS:
                source = quantizers.get(node.input[0])
                zero_point = "".join(node.input[2:])  # optional, and the last input
                quantizers[node.output[0]] = Quantizer(
                    node=node,
                    stored=self._stored_type(node, source, zero_point),
                    scale=self._scale(node.input[1]),
                    zero_point=self.array(zero_point) if zero_point else np.zeros((), np.int8),
                    axis=next((entry.i for entry in node.attribute if entry.name == "axis"), 1),
                    of_constant=self._is_plain(node.input[0]) or (source is not None and source.of_constant),
                )
        return quantizers

    def dequantizer(self, value: str) -> Quantizer | None:
        """The DequantizeLinear that makes ``value``, or None if something else does."""
        quantizer = self.quantizers.get(value)
        return quantizer if quantizer is not None and quantizer.is_dequantizer else None

    def is_constant(self, value: str) -> bool:
        """Whether ``value`` is a weight or bias, dequantized or not."""
        return self._is_plain(value) or (value in self.quantizers and self.quantizers[value].of_constant)

    def constant(self, value: str) -> "TensorProto":
        """That a weight or bias is made of, whether cast, quantized, both or neither."""
        while value not in self.constants:
            value = self.producers[value].input[0]
        return self.constants[value]

    def _scale(self, value: str) -> NDArray[Any] | None:
        """A constant scale; of a type that numpy has not, such as bfloat16, as float32."""
        scale = self.array(value)
        if scale is None or scale.dtype.kind == "f":
            return scale
        if scale.dtype.kind not in "iuV":
            raise ModelError(f"{self.path} is damaged: the scale {value!r} is no number.", fix="Export it again.")
        return scale.astype(np.float32)

    def _is_plain(self, value: str) -> bool:
        return value in self.constants or value in self.casts

    def _stored_type(self, node: "NodeProto", source: Quantizer | None, zero_point: str) -> str | None:
        if node.op_type == "QuantizeLinear":
            return self._element_type(zero_point) or "uint8"
        return source.stored if source is not None else self._element_type(node.input[0], zero_point)

    def _element_type(self, *values: str) -> str | None:
        """Of the first that is a constant, or cast from one."""
        from onnx import helper

        for value in values:
            if self._is_plain(value):
                number = self.casts[value] if value in self.casts else self.constants[value].data_type
                try:
                    return str(helper.tensor_dtype_to_np_dtype(number))
                except KeyError:
                    raise ModelError(
                        f"{self.path} is damaged: the constant {value!r} has no type.", fix="Export it again."
                    ) from None
        return None


def label(node: "NodeProto") -> str:
    """A node's name, or if it has none that of what it makes."""
    return str(node.name or node.output[0])


def read_onnx_file(path: Path, *, external_data: bool = False) -> OnnxFile:
    """Parse ``path``; nothing in it is executed.

    Args:
        external_data: it may keep weights in plain files beside itself.

    Raises:
        OutputError: it cannot be read.
        ModelError: it is no ONNX model, it is damaged, or it keeps weights where it may not.
    """
    file = OnnxFile(path, read_onnx(path, external_data=external_data))
    _refuse_incomplete(file)
    return file


def _refuse_incomplete(file: OnnxFile) -> None:
    """A cut-off file can still parse: what it reads is then nowhere made.

    As ONNX wants it, every value is made once, and before it is read. So there are no circles.
    """
    graph = file.model.graph
    stored = [tensor.name for tensor in graph.initializer]
    stored += [tensor.values.name for tensor in graph.sparse_initializer]
    made = {value.name for value in graph.input}.union(stored)
    missing: list[str] = []
    again = [name for name, count in Counter(stored).items() if count > 1]
    for node in file.nodes:
        missing += [value for value in node.input if value and value not in made]
        for value in filter(None, node.output):
            if value in made:
                again.append(value)
            made.add(value)
    missing += [value.name for value in graph.output if value.name not in made]
    if missing:
        fault = f"nothing makes {', '.join(map(str, missing[:5]))} before it is read"
    elif again:
        fault = f"{', '.join(map(str, again[:5]))} is made twice"
    elif not graph.output or not file.opset or not all(node.output for node in file.nodes):
        fault = "it has no operator set, or something without an output"
    elif len(file.nodes) > MOST_NODES:
        fault = f"it has {len(file.nodes)} nodes"
    elif short := [label(node) for node in file.nodes if not _is_whole(node)]:
        fault = f"{short[0]} reads or makes too little"
    else:
        return
    raise ModelError(f"{file.path} is not an ONNX model, or is damaged: {fault}.", fix="Export it again.")


def _is_whole(node: "NodeProto") -> bool:
    """Whether a node has the operands and the output that the linter counts on, none of them left out."""
    least = LEAST_INPUTS.get(node.op_type, 0)
    return len(node.input) >= least and all((*node.input[:least], node.output[0] or not least))
