"""One node of an ONNX file, and what it reads: values, each a constant or a tensor with its axes.

ONNX knows no layout: images are (N, channels, height, width) by the habit of convolutions, and a Transpose may change
that anywhere. The graph is NHWC throughout, so a tensor carries which of its axes is which.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgex.errors import ModelError
from edgex.graph.building import Nodes
from edgex.graph.ir import Array, Node, Op, Pair
from edgex.graph.limits import EXTENT_LIMIT
from edgex.graph.shapes import Shape

NHWC = (0, 1, 2, 3)
NCHW = (0, 3, 1, 2)
BATCH = -(1 << 40)
"""How many images a tensor has, in a constant that is made of its shape; no number that a file means."""
ROW = "all values in a row"
"""A part of PyTorch's ``as_strided``, which takes them apart again."""


@dataclass(frozen=True)
class Tensor:
    """A tensor of the graph, as the file sees it.

    Attributes:
        name: in the graph.
        axes: for each axis in the file, the number that it has in the graph, the batch being 0.
        flattened: (channels, height, width) of the image that it was in the file's order, where the graph's vector is
            in another.
        part: it stands for a part of a function, and is not in the graph; see :mod:`edgex.graph.onnx_arithmetic`.
    """

    name: str
    axes: tuple[int, ...]
    flattened: Shape | None = None
    part: str = ""

    @property
    def rank(self) -> int:
        """With the batch."""
        return len(self.axes)


class PerImage(np.ndarray[Any, np.dtype[Any]]):
    """A constant with a part for each image, as it is for two of them; sums and products of it are such, too."""


Constant = NDArray[Any]
Value = Tensor | Constant


@dataclass(frozen=True)
class Call:
    """One node of the file.

    Attributes:
        name: for what it makes, free in the graph.
        operator: its type.
        inputs: what it reads; None for what is left out.
        attributes: by name.
        opset: the version that the operator is of.
        nodes: of the graph so far.
    """

    name: str
    operator: str
    inputs: Sequence[Value | None]
    attributes: Mapping[str, Any]
    opset: int
    nodes: Nodes = field(repr=False)

    def refusal(self, what: str) -> ModelError:
        return ModelError(
            f"the node {self.name!r} ({self.operator}) has {what}, which edgex does not support",
            fix="Export the model without it.",
        )

    # What it reads

    def has(self, position: int) -> bool:
        return position < len(self.inputs) and self.inputs[position] is not None

    def tensor(self, position: int = 0) -> Tensor:
        """ModelError if it is a constant, or is not there."""
        value = self.inputs[position] if position < len(self.inputs) else None
        if not isinstance(value, Tensor):
            raise self.refusal(f"a constant as input {position}")
        if value.part:
            raise self.refusal(f"{value.part} as its input")
        return value

    def whole(self, position: int = 0) -> Tensor:
        """A tensor that the graph has as the file has it, but for the order of its axes."""
        tensor = self.tensor(position)
        if tensor.flattened is not None:
            raise self.refusal("a flattened image as its input")
        return tensor

    def image(self, position: int = 0) -> Tensor:
        """A tensor (N, channels, height, width)."""
        tensor = self.whole(position)
        if tensor.axes != NCHW:
            raise self.refusal("an input that is no image with its channels first")
        return tensor

    def shape(self, tensor: Tensor) -> Shape:
        """As the file sees it, the batch being 1."""
        within = (1, *self.nodes.shapes[tensor.name])
        return tuple(within[axis] for axis in tensor.axes)

    def constant(self, position: int, *, per_image: bool = False) -> Constant:
        """ModelError if it is computed from the image, or is not there; or is one per image, unless that is said."""
        value = self.inputs[position] if position < len(self.inputs) else None
        if value is None or isinstance(value, Tensor) or (isinstance(value, PerImage) and not per_image):
            raise self.refusal(f"no constant as input {position}")
        return value

    def weights(self, position: int) -> Array:
        """A constant in float32. ModelError if it is not finite."""
        with np.errstate(over="ignore"):
            array = self.constant(position).astype(np.float32)
        if not array.size:
            raise self.refusal(f"no number in input {position}")
        if not np.isfinite(array).all():
            raise ModelError(
                f"the weights of the node {self.name!r} hold NaN or infinity in float32",
                fix="Train the model again, or from a checkpoint.",
            )
        return array

    def numbers(self, key: str, position: int | None = None) -> list[int] | None:
        """Whole numbers, given as an attribute or, by newer operators, as an input; None if they are left out."""
        if key in self.attributes:
            return [int(number) for number in np.atleast_1d(self.attributes[key])]
        if position is None or not self.has(position):
            return None
        return [int(number) for number in self.constant(position).reshape(-1)]

    def axis(self, number: int, rank: int) -> int:
        """A number of an axis, counted from the front. ModelError if there is no such axis."""
        if not -rank <= number < rank:
            raise self.refusal(f"the axis {number} of {rank}")
        return number % rank

    # Attributes

    def attribute(self, key: str, default: Any) -> Any:
        return self.attributes.get(key, default)

    def pair(self, key: str, default: Sequence[int] | None = (1, 1)) -> Pair:
        """Along height and width. ValueError if it is no pair of positive numbers."""
        first, second = (int(extent) for extent in self.attribute(key, default))
        if not all(0 < extent <= EXTENT_LIMIT for extent in (first, second)):
            raise ValueError(f"{key} is {first, second}")
        return first, second

    # What it makes

    def emit(self, op: Op, read: Sequence[Tensor], params: Mapping[str, Array] | None = None, **said: Any) -> Tensor:
        """Add a node to the graph under this one's name; the tensor keeps the axes of the first that it reads."""
        self.nodes.append(Node(self.name, op, tuple(tensor.name for tensor in read), dict(params or {})))
        return replace(read[0], name=self.name, **said)
