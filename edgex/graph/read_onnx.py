"""Reading an ONNX file of floats into a graph, as data: https://onnx.ai/onnx/operators/ says what each node does."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgex.errors import ModelError, UsageError
from edgex.graph.building import Nodes
from edgex.graph.ir import Graph, Identity, Input, Node
from edgex.graph.keras_archive import naming
from edgex.graph.limits import LAYER_LIMIT, NAME_LIMIT
from edgex.graph.onnx_call import NCHW, NHWC, Call, Constant, Tensor, Value
from edgex.graph.onnx_operators import read_operator
from edgex.model_file import read_onnx as parse_onnx

if TYPE_CHECKING:
    from onnx import GraphProto, NodeProto, ValueInfoProto

OLDEST_OPSET = 7
"""Broadcasting has been NumPy's since then."""

COLOURS = (1, 3, 4)
EXPORT_AGAIN = "Export the model again, in float and with its weights inside."


def read_onnx(path: Path, *, input_size: int | None = None) -> Graph:
    """Read a float ``.onnx`` file, such as ``torch.onnx.export`` writes.

    Images may have their channels first or last in the file; in the graph they are NHWC. Nodes are named as in the
    file, without a leading slash; where PyTorch has only numbered them, those with weights are named after their
    module. What leads to no output is left out.

    Args:
        path: the file, with its weights inside.
        input_size: height and width to give to the input images, in pixels, instead of those in the file.

    Raises:
        UsageError: the size of the images is open and not given, or the model cannot take the size given.
        ModelError: not an ONNX model, damaged, quantized already, or with something that is not supported; names it.
        OutputError: the file cannot be opened.
    """
    if input_size is not None and input_size < 1:
        raise UsageError(f"The input size {input_size} is not positive.", fix="Give it in pixels, like 299.")
    model = parse_onnx(path)
    with naming(path, EXPORT_AGAIN):
        opsets = [entry.version for entry in model.opset_import if entry.domain in ("", "ai.onnx")]
        if not opsets or opsets[0] < OLDEST_OPSET:
            said = f"opset {opsets[0]}" if opsets else "no opset"
            raise ModelError(f"it is of {said}, and edgex reads {OLDEST_OPSET} and newer", fix=EXPORT_AGAIN)
        return _Builder(opsets[0], input_size).graph(model.graph, path.stem)


@dataclass
class _Builder:
    """Reads a file's nodes in their order, and keeps what each value of the file has become."""

    opset: int
    input_size: int | None
    nodes: Nodes = field(default_factory=Nodes)
    values: dict[str, Value] = field(default_factory=dict)

    def graph(self, source: "GraphProto", name: str) -> Graph:
        if len(source.node) > LAYER_LIMIT:
            raise ModelError(f"it has more than {LAYER_LIMIT} nodes", fix="Build the model from fewer layers.")
        for tensor in source.initializer:
            self.values[tensor.name] = _array(tensor)
        for given in source.input:
            if given.name not in self.values:
                self._input(given, source)
        for node in source.node:
            self._node(node)
        outputs = [self._output(output.name) for output in source.output]
        graph = self.nodes.graph(_printable(source.name) or name, outputs)
        _refuse_same(graph)
        notes = tuple(f"The model has {each} values; they are read as float32." for each in _other_types(source))
        return replace(self._named(source, graph), notes=notes)

    def _input(self, given: "ValueInfoProto", source: "GraphProto") -> None:
        sizes = [dim.dim_value if dim.HasField("dim_value") else 0 for dim in given.type.tensor_type.shape.dim]
        axes = tuple(range(len(sizes)))
        if len(sizes) == 4:
            axes = NCHW if _channels_first(given.name, sizes, source) else NHWC
        within = [sizes[axes.index(axis)] for axis in range(1, len(axes))]
        if len(within) == 3:
            if self.input_size is not None:
                within[:2] = [self.input_size, self.input_size]
            if not all(within[:2]):
                raise UsageError(
                    f"the height and width of its input {given.name!r} are open", fix="Give them with --input-size N."
                )
        if not within or not all(size > 0 for size in within):
            raise ModelError(f"its input {given.name!r} has the shape {sizes}", fix="Export it for images of one size.")
        name = self._free(given.name)
        with self._fitting(given.name, "input"):
            self.nodes.append(Node(name, Input(tuple(within))))
        self.values[given.name] = Tensor(name, axes)

    def _node(self, node: "NodeProto") -> None:
        if node.domain not in ("", "ai.onnx"):
            raise ModelError(
                f"the node {node.name!r} is a {node.op_type} of {node.domain}, and edgex reads the operators of ONNX",
                fix=EXPORT_AGAIN,
            )
        if not node.output:
            return
        inputs = [self._value(name) if name else None for name in node.input]
        name = self._free(_module(node) or node.name or node.output[0])
        call = Call(name, node.op_type, inputs, _attributes(node), self.opset, self.nodes)
        if node.output[0] in self.values:
            raise ModelError(f"it makes {node.output[0]!r} twice", fix=EXPORT_AGAIN)
        with self._fitting(call.name, node.op_type):
            self.values[node.output[0]] = read_operator(call)

    def _value(self, name: str) -> Value:
        if name not in self.values:
            raise ModelError(f"it reads {name!r}, which no earlier node makes", fix=EXPORT_AGAIN)
        return self.values[name]

    def _output(self, name: str) -> str:
        value = self._value(name)
        if not isinstance(value, Tensor) or value.part or value.flattened is not None:
            raise ModelError(f"its output {name!r} is not computed from the image", fix=EXPORT_AGAIN)
        if value.axes not in (NCHW, tuple(range(value.rank))):
            raise ModelError(
                f"its output {name!r} has its axes in the order {value.axes}, height before width and channels last "
                "being (0, 1, 2, 3)",
                fix="Export the model without the Transpose at its end.",
            )
        return value.name

    def _named(self, source: "GraphProto", graph: Graph) -> Graph:
        """Give the tensors at the outputs the names that these have in the file."""
        wanted = {self._output(output.name): _printable(output.name) for output in source.output}
        names = {old: new for old, new in wanted.items() if new not in graph and not isinstance(graph[old].op, Input)}
        renamed = {old: [_renamed(graph[old], new)] for old, new in names.items()}
        return graph.rewrite(renamed, names)

    def _free(self, name: str) -> str:
        """The name without what is before its first letter, or with a number if it is taken."""
        name = _printable(name).lstrip("/") or "node"
        if len(name) > NAME_LIMIT:
            raise ModelError(f"it has a name of {len(name)} characters", fix="Name it in fewer.")
        numbered = (f"{name}_{number}" for number in count(1))
        return name if name not in self.nodes.made else next(each for each in numbered if each not in self.nodes.made)

    @contextmanager
    def _fitting(self, name: str, what: str) -> Iterator[None]:
        """Say which node it is that does not fit, and whose choice that was."""
        try:
            yield
        except ValueError as error:
            problem = f"the node {name!r} ({what}) does not fit: {error}"
            if self.input_size is None:
                raise ModelError(problem, fix=EXPORT_AGAIN) from error
            size = f"{self.input_size}×{self.input_size}"
            raise UsageError(
                f"it cannot take images of {size}: {problem}", fix="Choose another --input-size."
            ) from error


def _refuse_same(graph: Graph) -> None:
    """ModelError if an output is an input, or another output."""
    found: dict[str, str] = {}
    for output in graph.outputs:
        name = output
        while isinstance(graph[name].op, Identity):
            name = graph[name].inputs[0]
        if isinstance(graph[name].op, Input):
            raise ModelError(f"its output {output!r} is its input", fix="Export the model without that output.")
        if name in found:
            raise ModelError(
                f"its outputs {found[name]!r} and {output!r} are the same", fix="Export the model with one of them."
            )
        found[name] = output


def _other_types(source: "GraphProto") -> list[str]:
    """Names of the types other than float32 that its weights and inputs have, where they are floats."""
    from onnx import TensorProto

    odd = {TensorProto.FLOAT16: "float16", TensorProto.BFLOAT16: "bfloat16", TensorProto.DOUBLE: "float64"}
    types = {tensor.data_type for tensor in source.initializer}
    types |= {given.type.tensor_type.elem_type for given in source.input}
    return [name for each, name in odd.items() if each in types]


def _printable(name: str) -> str:
    """A name that does no more to a terminal than to stand there."""
    return "".join(sign if sign.isprintable() else "_" for sign in name)


def _module(node: "NodeProto") -> str:
    """The module of PyTorch that a node's weights are named after, where torch.onnx has only numbered the node."""
    weights = node.input[1] if len(node.input) > 1 else ""
    return weights.removesuffix(".weight") if node.name.startswith("node_") and weights.endswith(".weight") else ""


def _renamed(node: Node, name: str) -> Node:
    return Node(name, node.op, node.inputs, node.params)


def _channels_first(name: str, sizes: Sequence[int], source: "GraphProto") -> bool:
    """Whether an input (N, ?, ?, ?) has its channels before height and width.

    They are where there are as many as colours; if that says nothing, last if a Transpose is all that reads them.
    """
    if (sizes[1] in COLOURS) != (sizes[3] in COLOURS):
        return sizes[1] in COLOURS
    readers = [node for node in source.node if name in node.input]
    return not (readers and all(node.op_type == "Transpose" for node in readers))


def _attributes(node: "NodeProto") -> Mapping[str, Any]:
    from onnx import AttributeProto, helper

    found: dict[str, Any] = {}
    for attribute in node.attribute:
        value = helper.get_attribute_value(attribute)
        if attribute.type == AttributeProto.STRING:
            value = value.decode("utf-8", "replace")
        elif attribute.type == AttributeProto.TENSOR:
            value = _array(value)
        found[attribute.name] = value
    return found


def _array(tensor: Any) -> Constant:
    from onnx import numpy_helper

    array: Constant = numpy_helper.to_array(tensor)
    return array
