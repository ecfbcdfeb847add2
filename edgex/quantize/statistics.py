"""What each layer reads on the calibration images: the two moments that the error of its output depends on.

A layer multiplies a *patch*, what one output position reads, by its kernel. So whatever is done to the kernel, the mean
error of the output asks no more of the images than the mean patch, and the mean squared error no more than the mean
outer product of patches. Both take constant memory.

The values of a patch come in the order of the kernel: rows, columns, channels of one group. A depthwise convolution
has as many groups as its input has channels, and a dense layer is a 1×1 convolution. Padding is part of the patches.

Of a large image not all positions are taken, but :data:`POSITIONS` at even distances, other ones in each image:
neighbours tell much the same, and all of them would cost more than the inference.
"""

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from itertools import islice
from typing import NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from edgex.execute import tensor_values
from edgex.graph.ir import Array, Conv2D, Dense, DepthwiseConv2D, ExplicitPadding, Graph, Node, Pair
from edgex.graph.shapes import explicit_padding
from edgex.parallel import ahead
from edgex.plan import QuantizationParameters, QuantizationPlan
from edgex.quantize.layout import WEIGHTED_OPS

POSITIONS = 32
"""Output positions of a layer that an image shows, at most."""

LARGEST_PATCH = 4608
"""Values of the largest patch that gets a moment: what a 3×3 convolution over 512 channels reads. It takes 85 MB."""

BLOCK = 8
"""Images whose patches are multiplied at once: those of one are too few to keep a matrix product busy."""

Progress = Callable[[str, int, int], None]
"""Called with what is done, how much of it is done, and how much there is."""


class NamedImages(Protocol):
    """Names and preprocessed pixels (1, height, width, channels). May turn out to be fewer than its length says."""

    def __iter__(self) -> Iterator[tuple[str, Array]]: ...
    def __len__(self) -> int: ...


@dataclass(frozen=True)
class InputStatistics:
    """Of the patches that a layer reads, over all images.

    Attributes:
        mean: (groups, patch).
        moment: mean of the outer products, (groups, patch, patch); None for patches over :data:`LARGEST_PATCH`.
    """

    mean: Array
    moment: Array | None


def layer_statistics(
    graph: Graph,
    plan: QuantizationPlan,
    images: NamedImages,
    workers: int = 1,
    progress: Progress = lambda *_: None,
) -> Mapping[str, InputStatistics]:
    """Run the float graph on the images, and gather what each layer with a kernel that runs in INT8 reads.

    The values are those of the float graph, clipped and rounded as the plan stores them.

    Args:
        graph: see :func:`edgex.graph.passes.prepare`; one input.
        plan: for this graph.
        images: finite on every tensor, as a plan of them shows.
        workers: images at a time; the result does not depend on it.
        progress: called after every few images.

    Returns:
        Node name → statistics. Nodes that read the same patches share one object.

    Raises:
        ValueError: there are no images.
    """
    layers = [node for node in graph.nodes if isinstance(node.op, WEIGHTED_OPS) and plan.is_int8(node.name)]
    read = {node.name: _patches_of(graph, node) for node in layers}
    sums = {patches: _Sums(patches) for patches in read.values()}
    # The outputs too, since a session has to compute something even where all that is read is the image
    tensors = list(dict.fromkeys([*(patches.tensor for patches in sums), *graph.outputs]))
    run = tensor_values(graph, tensors)

    def gather(numbered: tuple[int, tuple[str, Array]]) -> list[Array]:
        number, (_, image) = numbered
        values = dict(zip(tensors, run(image), strict=True))
        return [
            _as_stored(patches.gather(values[patches.tensor], number), plan.parameters(patches.tensor))
            for patches in sums
        ]

    gathered = ahead(gather, enumerate(images), workers)
    done = 0
    while block := list(islice(gathered, BLOCK)):
        for total, of_images in zip(sums.values(), zip(*block, strict=True), strict=True):
            total.add(np.concatenate(of_images, axis=1))
        done += len(block)
        progress("observe", done, len(images))
    if not done:
        raise ValueError("no calibration images")
    statistics = {patches: total.statistics() for patches, total in sums.items()}
    return {name: statistics[patches] for name, patches in read.items()}


def grouped_kernel(node: Node) -> Array:
    """A node's kernel as matrices, (groups, patch, output channels of a group)."""
    kernel = node.params["kernel"]
    groups = _groups(node)
    inputs = kernel.shape[:2] if isinstance(node.op, DepthwiseConv2D) else kernel.shape[:-1]
    return kernel.reshape(math.prod(inputs), groups, -1).swapaxes(0, 1)


def with_grouped_kernel(node: Node, matrices: Array) -> Node:
    """The node with another kernel; the inverse of :func:`grouped_kernel`."""
    return node.with_params(kernel=matrices.swapaxes(0, 1).reshape(node.params["kernel"].shape))


def _groups(node: Node) -> int:
    match node.op:
        case Conv2D(groups=groups):
            return groups
        case DepthwiseConv2D():
            return int(node.params["kernel"].shape[2])
        case _:
            return 1


class _Patches(NamedTuple):
    """Which patches of a tensor a node reads; equal for nodes that read the same."""

    tensor: str
    image: tuple[int, ...]
    window: Pair
    strides: Pair
    padding: ExplicitPadding
    dilation: Pair
    groups: int
    positions: Pair

    @property
    def size(self) -> int:
        """Values in one."""
        return self.window[0] * self.window[1] * self.image[2] // self.groups

    def gather(self, values: Array, number: int) -> Array:
        """Those of one image at some positions, (groups, positions, patch).

        Args:
            values: (1, height, width, channels), or (1, features).
            number: of the image, which tells the positions.
        """
        padded = np.pad(values.reshape(self.image), (*self.padding, (0, 0)))
        height, width = self.positions
        places = divmod(_spread(height * width, number), width)
        rows, columns = (
            np.add.outer(at * stride, np.arange(taps) * rate)
            for at, stride, taps, rate in zip(places, self.strides, self.window, self.dilation, strict=True)
        )
        patches = padded[rows[:, :, np.newaxis], columns[:, np.newaxis, :]]
        by_group = patches.reshape(len(rows), math.prod(self.window), self.groups, -1).transpose(2, 0, 1, 3)
        return by_group.reshape(self.groups, len(rows), self.size)


def _patches_of(graph: Graph, node: Node) -> _Patches:
    (tensor,) = node.inputs
    shape = graph.shapes[tensor]
    if isinstance(node.op, Dense):
        return _Patches(tensor, (1, 1, shape[0]), (1, 1), (1, 1), ((0, 0), (0, 0)), (1, 1), 1, (1, 1))
    assert isinstance(node.op, Conv2D | DepthwiseConv2D)
    strides, dilation = node.op.strides, node.op.dilation
    window = node.params["kernel"].shape[:2]
    padding = explicit_padding(node.op.padding, shape, window, strides, dilation)
    height, width, _ = graph.shapes[node.name]
    return _Patches(tensor, shape, window, strides, padding, dilation, _groups(node), (height, width))


def _spread(count: int, number: int) -> NDArray[np.intp]:
    """Up to :data:`POSITIONS` of ``count`` positions; the golden ratio spreads those of all images evenly."""
    if count <= POSITIONS:
        return np.arange(count)
    phase = number * (math.sqrt(5) - 1) / 2 % 1
    return ((np.arange(POSITIONS) + phase) * (count / POSITIONS)).astype(np.intp)


def _as_stored(values: Array, parameters: QuantizationParameters) -> Array:
    """What reading the tensor back from its bytes gives. Zeros stay zeros, so padding does."""
    scale, zero_point = parameters
    stored: Array = (
        np.clip(np.rint(values / scale), np.float32(-128 - zero_point), np.float32(127 - zero_point)) * scale
    )
    return stored


class _Sums:
    """Over the patches seen so far."""

    def __init__(self, patches: _Patches) -> None:
        self._count = 0
        self._sum = np.zeros((patches.groups, patches.size), np.float32)
        has_moment = patches.size <= LARGEST_PATCH
        self._products = np.zeros((patches.groups, patches.size, patches.size), np.float32) if has_moment else None

    def add(self, values: Array) -> None:
        """(groups, positions, patch)"""
        self._count += values.shape[1]
        self._sum += values.sum(axis=1)
        if self._products is not None:
            self._products += values.swapaxes(1, 2) @ values

    def statistics(self) -> InputStatistics:
        count = np.float32(self._count)
        return InputStatistics(self._sum / count, None if self._products is None else self._products / count)
