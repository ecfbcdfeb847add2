"""A graph that is written as ONNX and read again is the same: every node, attribute, weight and name."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from graphs import tiny_xception
from operation_cases import CASES

from edgex.graph.ir import Elu, Graph, LeakyRelu, Node, Op, Reshape
from edgex.graph.passes import prepare
from edgex.graph.read import read_model
from edgex.graph.shapes import explicit_padding
from edgex.write.onnx import onnx_model

GRAPHS = {**CASES, "xception": tiny_xception()}
DOES_NOTHING = {"flatten a vector"}
"""What is left out of the graph that is read."""


def written_and_read(graph: Graph, folder: Path) -> Graph:
    path = folder / "model.onnx"
    path.write_bytes(onnx_model(graph).SerializeToString())
    return prepare(read_model(path))


def prepared(name: str) -> Graph:
    """As writers get it, without what leads to no output."""
    graph = prepare(GRAPHS[name])
    used = {read for each in graph.nodes for read in each.inputs} | {*graph.outputs}
    return replace(graph, nodes=tuple(each for each in graph.nodes if each.name in used))


def spelled_out(graph: Graph, node: Node) -> Op:
    """What a node does, in the one way in which ONNX says it: borders in pixels, sizes as numbers, float32."""
    op = node.op
    if isinstance(op, LeakyRelu):
        return LeakyRelu(float(np.float32(op.slope)))
    if isinstance(op, Elu):
        return Elu(float(np.float32(op.alpha)))
    if isinstance(op, Reshape):
        return Reshape(graph.shapes[node.name])
    if getattr(op, "padding", None) in ("same", "valid"):
        kernel = getattr(op, "pool", None) or node.params["kernel"].shape[:2]
        size = graph.shapes[node.inputs[0]]
        changes: dict[str, Any] = {
            "padding": explicit_padding(op.padding, size, kernel, op.strides, getattr(op, "dilation", (1, 1)))
        }
        return replace(op, **changes)
    return op


def content(graph: Graph) -> list[tuple[Any, ...]]:
    """All that a graph consists of, with weights bit by bit."""
    return [
        (
            node.name,
            spelled_out(graph, node),
            node.inputs,
            {key: (array.shape, array.tobytes()) for key, array in node.params.items()},
        )
        for node in graph.nodes
    ]


@pytest.mark.parametrize("name", sorted(GRAPHS.keys() - DOES_NOTHING))
def test_graph_to_onnx_to_graph_is_the_identity(tmp_path: Path, name: str) -> None:
    graph = prepared(name)
    again = written_and_read(graph, tmp_path)
    assert content(again) == content(graph)
    assert (again.name, again.outputs) == (graph.name, graph.outputs)


@pytest.mark.parametrize("name", sorted(GRAPHS.keys() - DOES_NOTHING))
def test_onnx_to_graph_to_onnx_is_the_identity(tmp_path: Path, name: str) -> None:
    """The same bytes."""
    again = written_and_read(prepared(name), tmp_path)
    assert onnx_model(again).SerializeToString() == (tmp_path / "model.onnx").read_bytes()


Change = Callable[[Node], Node]


@pytest.mark.parametrize(
    ("name", "change"),
    [
        ("dense", lambda node: node.with_params(bias=np.nextafter(node.params["bias"], np.float32(9)))),
        ("depthwise multiplier 2", lambda node: node.with_params(kernel=node.params["kernel"][..., ::-1])),
        ("conv same stride 2", lambda node: replace(node, op=replace(node.op, padding=((1, 1), (1, 1))))),
    ],
)
def test_can_fail(tmp_path: Path, name: str, change: Change) -> None:
    """A weight off by its last bit, two channels that changed places, borders at the other end."""
    graph = prepared(name)
    (last,) = graph.outputs
    changed = graph.rewrite({last: [change(graph[last])]})
    assert content(written_and_read(changed, tmp_path)) != content(graph)
