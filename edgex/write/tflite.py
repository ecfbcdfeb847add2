"""Graph and plan to TFLite: float, or INT8 with per-channel weights.

Names are the graph's. A tensor that the plan stores in 8 bits can have a float twin beside it, behind a DEQUANTIZE or
before a QUANTIZE; a suffix tells them apart:

===================  ==============  ==============
tensor               in float        in 8 bits
===================  ==============  ==============
inside the graph     ``name.float``  ``name``
float input, output  ``name``        ``name.int8``
===================  ==============  ==============

The arithmetic is that of the TFLite 8-bit specification (https://ai.google.dev/edge/litert/models/quantization_spec).
"""

from edgex.errors import UsageError
from edgex.graph.fusion import fused_activation, fused_producer
from edgex.graph.ir import Dense, GlobalAveragePool, Graph, Identity, Input, Node, Softmax
from edgex.graph.shapes import Shape
from edgex.plan import QuantizationPlan, WeightBits
from edgex.write.tflite_operators import INT8_SOFTMAX, write_node
from edgex.write.tflite_schema import ModelBuilder, Tensor


def tflite_model(graph: Graph, plan: QuantizationPlan | None = None, *, integer_io: bool = False) -> bytes:
    """Write ``graph`` as a TFLite model; with a plan, in INT8.

    The model takes (N, height, width, channels) for any N, after ``resize_tensor_input``, and gives its outputs as
    Keras does. ReLU and ReLU6 run inside the operation before them where :mod:`edgex.graph.fusion` says so; what the
    plan keeps in float is fenced by DEQUANTIZE and QUANTIZE. Equal arguments give equal bytes.

    Args:
        graph: prepared (see :func:`edgex.graph.passes.prepare`).
        plan: ranges of the tensors to store in 8 bits and the precision of each node; None writes float.
        integer_io: inputs and outputs are int8, softmax included; otherwise they are float32.

    Raises:
        ModelError: TFLite has no operators for a node.
        UsageError: ``integer_io`` where the plan keeps an input or an output in float.
        ValueError: the plan does not fit the graph (a range is missing, ties are not kept).
    """
    identities = {node.name: node.inputs[0] for node in graph.nodes if isinstance(node.op, Identity)}
    if identities:
        graph = graph.rewrite(dict.fromkeys(identities, ()), identities)
    return _Writer(graph, plan, integer_io).write()


class _Writer:
    """Walks the graph once; ``tensors`` are those in the file so far, by name and whether in 8 bits."""

    def __init__(self, graph: Graph, plan: QuantizationPlan | None, integer_io: bool) -> None:
        self.graph = graph
        self.integer_io = integer_io
        self.model = ModelBuilder()
        self.tensors: dict[tuple[str, bool], Tensor] = {}
        self.weight_bits: WeightBits = plan.weight_bits if plan is not None else 8
        self.int8_nodes = {node.name for node in graph.nodes if plan is not None and plan.is_int8(node.name)}
        self.parameters = {name: plan.parameters(name) for name in plan.ranges} if plan is not None else {}
        for node in graph.nodes:
            if isinstance(node.op, Softmax) and self._is_int8_softmax(node):
                self.int8_nodes.add(node.name)
                self.parameters[node.name] = INT8_SOFTMAX

    def write(self) -> bytes:
        for node in self.graph.nodes:
            if isinstance(node.op, Input):
                self._add(node.name, node.op.shape, int8=self.integer_io)
            elif fused_producer(self.graph, node) is None:
                self._write_node(node)
        inputs = [self.tensors[node.name, self.integer_io] for node in self.graph.inputs]
        outputs = [self._tensor(name, int8=self.integer_io) for name in self.graph.outputs]
        return self.model.pack(inputs, outputs)

    def _is_int8_softmax(self, node: Node) -> bool:
        """An integer output takes an int8 softmax even where the plan has none: its range is the format's."""
        is_end = self.integer_io and node.name in self.graph.outputs and node.inputs[0] in self.parameters
        return is_end or node.name in self.int8_nodes

    def _write_node(self, node: Node) -> None:
        int8 = node.name in self.int8_nodes
        inputs = [self._tensor(name, int8) for name in node.inputs]
        activation = fused_activation(self.graph, node)
        output = self._add((activation or node).name, self._shape(node), int8)
        write_node(self.model, node, inputs, output, activation.op if activation else None, self.weight_bits)

    def _shape(self, node: Node) -> Shape:
        """As the graph has it; but a pool that only an INT8 dense layer reads makes the image which that wants."""
        shape = self.graph.shapes[node.name]
        reader = self.graph.sole_consumer(node.name)
        if not isinstance(node.op, GlobalAveragePool) or reader is None or not isinstance(reader.op, Dense):
            return shape
        return (1, 1, shape[-1]) if {node.name, reader.name} <= self.int8_nodes else shape

    def _tensor(self, name: str, int8: bool) -> Tensor:
        """A tensor in the form a reader wants, converted from the other form by the first that asks."""
        if (name, int8) not in self.tensors:
            other = self.tensors[name, not int8]
            self.model.operator("QUANTIZE" if int8 else "DEQUANTIZE", [other], self._add(name, other.shape, int8))
        return self.tensors[name, int8]

    def _add(self, name: str, shape: Shape, int8: bool) -> Tensor:
        is_end = name in self.graph.outputs or isinstance(self.graph[name].op, Input)
        if int8 and name not in self.parameters:
            raise self._missing_range(name, is_end)
        is_float_plain = name not in self.parameters or (is_end and not self.integer_io)
        suffix = "" if int8 != is_float_plain else ".int8" if int8 else ".float"
        tensor = self.model.activation(name + suffix, shape, self.parameters[name] if int8 else None)
        self.tensors[name, int8] = tensor
        return tensor

    def _missing_range(self, name: str, is_end: bool) -> Exception:
        if self.integer_io and is_end:
            return UsageError(
                f"{name} cannot be int8: the layers next to it are kept in float.",
                fix="Leave out --io int8, or keep fewer layers in float.",
            )
        return ValueError(f"the plan has no range for {name}, which an INT8 operation reads or makes")
