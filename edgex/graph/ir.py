"""The graph: a model as immutable data, with Keras' semantics.

A node makes exactly one tensor, and the tensor has the node's name. Tensors are NHWC, without the batch axis in
every shape written down here. Names are those of the Keras layers; where one layer becomes several nodes, the last
carries a suffix or all do: ``block5_sepconv2.depthwise``, ``block5_sepconv2.pointwise``, ``predictions.softmax``.
A layer with a built-in activation becomes ``name`` and ``name.relu``.

Kernels keep Keras' layouts:

=================  =========================================  ==================
operation          ``params``                                 shape
=================  =========================================  ==================
Conv2D             ``kernel``, ``bias``                       (kh, kw, in / groups, out), (out,)
DepthwiseConv2D    ``kernel``, ``bias``                       (kh, kw, in, multiplier), (in * multiplier,)
SeparableConv2D    ``depthwise``, ``pointwise``, ``bias``     (kh, kw, in, m), (1, 1, in * m, out), (out,)
Dense              ``kernel``, ``bias``                       (in, out), (out,)
BatchNorm          ``gamma``, ``beta``, ``mean``, ``variance``  (channels,) each
Affine             ``scale``, ``offset``                      (channels,) each
=================  =========================================  ==================

``bias``, ``gamma`` and ``beta`` are optional; the others are required.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from types import MappingProxyType
from typing import Literal

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float32]
Pair = tuple[int, int]
ExplicitPadding = tuple[Pair, Pair]
"""((top, bottom), (left, right)) in pixels."""
Padding = Literal["same", "valid"] | ExplicitPadding


@dataclass(frozen=True)
class Op:
    """What a node computes. Subclasses hold the attributes; weights live in ``Node.params``."""


@dataclass(frozen=True)
class Input(Op):
    shape: tuple[int, ...]
    """Without the batch axis: (height, width, channels)."""


@dataclass(frozen=True)
class Conv2D(Op):
    strides: Pair = (1, 1)
    padding: Padding = "valid"
    dilation: Pair = (1, 1)
    groups: int = 1


@dataclass(frozen=True)
class DepthwiseConv2D(Op):
    strides: Pair = (1, 1)
    padding: Padding = "valid"
    dilation: Pair = (1, 1)


@dataclass(frozen=True)
class SeparableConv2D(Op):
    strides: Pair = (1, 1)
    padding: Padding = "valid"
    dilation: Pair = (1, 1)


@dataclass(frozen=True)
class Dense(Op):
    pass


@dataclass(frozen=True)
class BatchNorm(Op):
    epsilon: float = 1e-3


@dataclass(frozen=True)
class Affine(Op):
    """``x * scale + offset`` per channel: Keras' Rescaling and Normalization."""


@dataclass(frozen=True)
class Relu(Op):
    max_value: float | None = None


@dataclass(frozen=True)
class LeakyRelu(Op):
    slope: float


@dataclass(frozen=True)
class Elu(Op):
    """``alpha * (exp(x) - 1)`` below zero."""

    alpha: float = 1.0


ActivationFunction = Literal["sigmoid", "tanh", "silu", "hard_sigmoid", "hard_silu", "gelu", "softplus"]


@dataclass(frozen=True)
class Activation(Op):
    """A smooth or piecewise function without parameters, as Keras 3 defines it (``gelu`` is the exact one)."""

    function: ActivationFunction


@dataclass(frozen=True)
class Softmax(Op):
    """Over the last axis."""


@dataclass(frozen=True)
class Add(Op):
    """Two or more inputs of one rank; an axis of size 1 is broadcast."""


@dataclass(frozen=True)
class Multiply(Op):
    """Two inputs of one rank; an axis of size 1 is broadcast."""


@dataclass(frozen=True)
class Concat(Op):
    """Over the last axis."""


@dataclass(frozen=True)
class MaxPool2D(Op):
    pool: Pair
    strides: Pair
    padding: Padding = "valid"


@dataclass(frozen=True)
class AveragePool2D(Op):
    """Padding does not count in the average, as in Keras."""

    pool: Pair
    strides: Pair
    padding: Padding = "valid"


@dataclass(frozen=True)
class GlobalAveragePool(Op):
    keepdims: bool = False


@dataclass(frozen=True)
class GlobalMaxPool(Op):
    keepdims: bool = False


@dataclass(frozen=True)
class Pad(Op):
    """Zeros around height and width."""

    padding: ExplicitPadding


@dataclass(frozen=True)
class Crop(Op):
    cropping: ExplicitPadding


ResizeMethod = Literal["bilinear", "nearest"]


@dataclass(frozen=True)
class Resize(Op):
    """An image at another size, as TensorFlow 2 and Keras resize: centres of pixels are at halves, nothing is smoothed.

    ``bilinear`` repeats the pixels of the border beyond it; of two that are as near, ``nearest`` takes the later.
    """

    size: Pair
    method: ResizeMethod = "bilinear"


@dataclass(frozen=True)
class Flatten(Op):
    pass


@dataclass(frozen=True)
class Reshape(Op):
    shape: tuple[int, ...]
    """Without the batch axis; at most one -1."""


@dataclass(frozen=True)
class Identity(Op):
    """What Dropout and its kin are at inference."""


@dataclass(frozen=True, eq=False)
class Node:
    """One operation and the tensor of the same name that it makes. Compared by identity."""

    name: str
    op: Op
    inputs: tuple[str, ...] = ()
    params: Mapping[str, Array] = field(default_factory=dict)

    def __post_init__(self) -> None:
        arrays = {}
        for key, value in self.params.items():
            array = np.asarray(value, dtype=np.float32).view()
            array.flags.writeable = False
            arrays[key] = array
        object.__setattr__(self, "params", MappingProxyType(arrays))

    def with_params(self, **params: Array) -> "Node":
        """A copy with some weights replaced or added."""
        return replace(self, params={**self.params, **params})


class RepeatedNameError(ValueError):
    """Two nodes of a graph would have one name."""


@dataclass(frozen=True, eq=False)
class Graph:
    """Nodes in topological order, inputs first. Compared by identity.

    Attributes:
        outputs: names of the tensors that the model gives.
        notes: sentences about what a reader did to the model that its owner should know.

    Raises:
        ValueError: a name is used twice (RepeatedNameError), or an input is not made by an earlier node. Readers turn
            what a file does wrong into ModelError before it comes here.
    """

    name: str
    nodes: tuple[Node, ...]
    outputs: tuple[str, ...]
    notes: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        made: set[str] = set()
        for node in self.nodes:
            missing = [name for name in node.inputs if name not in made]
            if missing:
                raise ValueError(f"{node.name} reads {missing}, which no earlier node makes")
            if node.name in made:
                raise RepeatedNameError(f"two nodes are named {node.name}")
            made.add(node.name)
        if not self.outputs or not set(self.outputs) <= made:
            raise ValueError(f"outputs {self.outputs} are not all made by a node")

    def __getitem__(self, name: str) -> Node:
        return self._by_name[name]

    def __contains__(self, name: str) -> bool:
        return name in self._by_name

    @cached_property
    def _by_name(self) -> dict[str, Node]:
        return {node.name: node for node in self.nodes}

    @cached_property
    def inputs(self) -> tuple[Node, ...]:
        return tuple(node for node in self.nodes if isinstance(node.op, Input))

    @cached_property
    def consumers(self) -> Mapping[str, tuple[Node, ...]]:
        """For each tensor the nodes that read it, in order; a graph output has no consumer for being one."""
        readers: dict[str, list[Node]] = {node.name: [] for node in self.nodes}
        for node in self.nodes:
            for name in dict.fromkeys(node.inputs):
                readers[name].append(node)
        return {name: tuple(nodes) for name, nodes in readers.items()}

    @cached_property
    def shapes(self) -> Mapping[str, tuple[int, ...]]:
        """For each tensor its shape without the batch axis; see :func:`edgex.graph.shapes.infer_shapes`."""
        from edgex.graph.shapes import infer_shapes

        return infer_shapes(self)

    def sole_consumer(self, name: str) -> Node | None:
        """The only node that reads a tensor, or None if there are several, none, or it is a graph output."""
        readers = self.consumers[name]
        return readers[0] if len(readers) == 1 and name not in self.outputs else None

    def rewrite(
        self,
        replacements: Mapping[str, Iterable[Node]],
        renamed: Mapping[str, str] | None = None,
    ) -> "Graph":
        """A new graph in which some nodes give way to others, in place.

        Args:
            replacements: node name → the nodes that take its place, possibly none.
            renamed: old tensor name → the tensor that its readers read from now on.

        Returns:
            The new graph; outputs are renamed too.
        """
        if not replacements:
            return self
        renamed = renamed or {}

        def current(name: str) -> str:
            while name in renamed:
                name = renamed[name]
            return name

        nodes: list[Node] = []
        for old in self.nodes:
            for node in replacements.get(old.name, (old,)):
                inputs = tuple(current(name) for name in node.inputs)
                nodes.append(node if inputs == node.inputs else replace(node, inputs=inputs))
        return replace(self, nodes=tuple(nodes), outputs=tuple(current(name) for name in self.outputs))
