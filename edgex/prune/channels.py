"""Which channels hang together, and removing them.

Channels that can only go together are one *unit*: those that an Add or a Multiply joins element by element, all that a
depthwise convolution, a batch norm or an activation makes of them, and those at one place in each group of a grouped
convolution, whose groups stay alike. So a residual stream is one set of units
over all the blocks that add to it, and the widths inside a block are its own. This is the dependency graph of DepGraph
(Fang et al. 2023, arXiv:2301.12900), kept for every channel instead of every layer, so that concatenations need no
rules of their own.

All of it works on the *pruning form* of a graph: identities dropped, separable convolutions split, batch norm in place.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

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
    LeakyRelu,
    MaxPool2D,
    Multiply,
    Node,
    Pad,
    Relu,
    Reshape,
    Resize,
)

Units = NDArray[np.int64]
"""Ids of units, 0 and up."""

CHANNELWISE_OPS = (
    Activation,
    Affine,
    AveragePool2D,
    BatchNorm,
    Crop,
    Elu,
    GlobalAveragePool,
    GlobalMaxPool,
    LeakyRelu,
    MaxPool2D,
    Pad,
    Relu,
    Resize,
)
"""Each channel that they make comes of the same one that they read."""


@dataclass(frozen=True, eq=False)
class Width:
    """Units that are alike: each is in the same tensors, the same number of times.

    Attributes:
        name: of the first layer that makes them.
        producers: all layers that make them, in graph order: convolutions that are not depthwise, and dense layers.
        units: in order.
    """

    name: str
    producers: tuple[str, ...]
    units: Units


@dataclass(frozen=True, eq=False)
class Coupling:
    """The units of a graph.

    Attributes:
        units: tensor → the unit of each channel, (channels,).
        count: units in all.
        widths: those that may be pruned, in graph order.
    """

    units: Mapping[str, Units]
    count: int
    widths: tuple[Width, ...]


def couple(graph: Graph) -> Coupling:
    """Find the units of a graph in pruning form.

    Never pruned are the units of inputs and outputs, and of all that nodes read and make whose channels depend on each
    other: softmax, sums with a tensor of one channel, reshapes that change the last axis.
    """
    channels = _Channels()
    numbers: dict[str, Units] = {}
    for node in graph.nodes:
        read = [numbers[name] for name in node.inputs]
        numbers[node.name] = _made(node, read, graph.shapes, channels)
    for name in graph.outputs:
        channels.pin(numbers[name])
    unit_of = channels.units()
    units = {name: unit_of[of_tensor] for name, of_tensor in numbers.items()}
    pinned = unit_of[channels.pinned()]
    count = int(unit_of.max()) + 1
    return Coupling(units, count, _widths(graph, units, count, pinned))


def remove(graph: Graph, coupling: Coupling, gone: Units) -> Graph:
    """The graph without some of its units: weights are sliced, and so are the targets of reshapes.

    It computes what ``graph`` does when no convolution or dense layer reads the channels that are gone.

    Args:
        graph: in pruning form.
        coupling: of this graph.
        gone: some units of each width, never all.

    Raises:
        ValueError: one of them is in no width.
    """
    prunable = np.concatenate([np.empty(0, np.int64), *(width.units for width in coupling.widths)])
    if not np.isin(gone, prunable).all():
        raise ValueError(f"units {np.setdiff1d(gone, prunable)} cannot be removed")
    stays = np.ones(coupling.count, np.bool_)
    stays[gone] = False
    kept = {name: stays[units] for name, units in coupling.units.items()}
    touched = [node for node in graph.nodes if not all(kept[name].all() for name in (*node.inputs, node.name))]
    return graph.rewrite({node.name: [_sliced(node, kept)] for node in touched})


class _Channels:
    """Numbers channels as they are made, and remembers which are one unit and which are pinned."""

    def __init__(self) -> None:
        self._count = 0
        self._united: list[tuple[Units, Units]] = []
        self._pinned: list[Units] = []

    def fresh(self, count: int) -> Units:
        self._count += count
        return np.arange(self._count - count, self._count)

    def unite(self, one: Units, other: Units) -> None:
        self._united.append((one, other))

    def pin(self, numbers: Units) -> None:
        self._pinned.append(numbers)

    def pinned(self) -> Units:
        return np.concatenate(self._pinned)

    def units(self) -> Units:
        """The unit of each number; units are in the order of their first channels."""
        nothing = np.empty((2, 0), np.int64)
        one, other = np.concatenate([nothing, *(np.stack(pair) for pair in self._united)], axis=1)
        unit = np.arange(self._count)
        # All channels hook onto the lowest that they have heard of, until nobody hears anything new
        while True:
            lowest = np.minimum(unit[one], unit[other])
            hooked = unit.copy()
            np.minimum.at(hooked, unit[one], lowest)
            np.minimum.at(hooked, unit[other], lowest)
            hooked = hooked[hooked]
            if np.array_equal(hooked, unit):
                return np.unique(unit, return_inverse=True)[1]
            unit = hooked


def _made(node: Node, read: Sequence[Units], shapes: Mapping[str, tuple[int, ...]], channels: _Channels) -> Units:
    """The numbers of the channels that a node makes of those that it reads."""
    count = shapes[node.name][-1]
    match node.op:
        case Conv2D(groups=groups):
            made = channels.fresh(count)
            for of_groups in (np.split(read[0], groups), np.split(made, groups)):
                for of_group in of_groups[1:]:
                    channels.unite(of_groups[0], of_group)
            return made
        case Dense():
            return channels.fresh(count)
        case DepthwiseConv2D():
            return np.repeat(read[0], node.params["kernel"].shape[3])
        case Concat():
            return np.concatenate(read)
        case Flatten():
            return np.tile(read[0], math.prod(shapes[node.inputs[0]][:-1]))
        case Add() | Multiply() if all(len(numbers) == count for numbers in read):
            for other in read[1:]:
                channels.unite(read[0], other)
            return read[0]
        case Reshape() if len(read[0]) == count:
            return read[0]
        case op if isinstance(op, CHANNELWISE_OPS):
            return read[0]
        case _:
            made = channels.fresh(count)
            for numbers in (*read, made):
                channels.pin(numbers)
            return made


def _widths(graph: Graph, units: Mapping[str, Units], count: int, pinned: Units) -> tuple[Width, ...]:
    kinds = _kinds(units, count)
    producers: dict[int, list[str]] = {}
    for node in graph.nodes:
        if isinstance(node.op, Conv2D | Dense):
            for kind in dict.fromkeys(kinds[units[node.name]].tolist()):
                producers.setdefault(kind, []).append(node.name)
    # Whole tensors are pinned, so units that are alike are pinned together
    free = producers.keys() - set(kinds[pinned].tolist())
    return tuple(
        Width(names[0], tuple(names), np.flatnonzero(kinds == kind))
        for kind, names in producers.items()
        if kind in free
    )


def _kinds(units: Mapping[str, Units], count: int) -> Units:
    """A number for each unit, the same for units that are alike."""
    kinds = np.zeros(count, np.int64)
    highest = 0
    for of_tensor in units.values():
        present, times = np.unique(of_tensor, return_counts=True)
        # Units that were alike so far stay so if this tensor has them equally often
        described = kinds[present] * (times.max() + 1) + times
        kinds[present] = highest + 1 + np.unique(described, return_inverse=True)[1]
        highest = int(kinds[present].max())
    return kinds


def _sliced(node: Node, kept: Mapping[str, NDArray[np.bool_]]) -> Node:
    """A node that reads and makes only the channels that are kept."""
    read, made = kept[node.inputs[0]], kept[node.name]
    params = {key: array[made] for key, array in node.params.items() if key != "kernel"}
    match node.op:
        case Conv2D(groups=groups):
            params["kernel"] = node.params["kernel"][..., np.split(read, groups)[0], :][..., made]
        case Dense():
            params["kernel"] = node.params["kernel"][..., read, :][..., made]
        case DepthwiseConv2D():
            params["kernel"] = node.params["kernel"][:, :, read]
        case Reshape(shape) if shape[-1] != -1:
            return replace(node, op=Reshape((*shape[:-1], int(made.sum()))))
    return node.with_params(**params)
