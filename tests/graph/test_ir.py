"""The graph as data: immutable, checked when made, rewritten into new ones."""

import dataclasses

import numpy as np
import pytest

from edgex.graph.ir import Add, Conv2D, Graph, Identity, Input, Node, Relu

IMAGE = Node("image", Input((4, 4, 2)))
RELU = Node("relu", Relu(), ("image",))
ADD = Node("add", Add(), ("image", "relu"))
TWICE = Node("twice", Add(), ("relu", "relu"))


def graph(*nodes: Node, outputs: tuple[str, ...]) -> Graph:
    return Graph("test", (IMAGE, *nodes), outputs)


def names(nodes: tuple[Node, ...]) -> list[str]:
    return [node.name for node in nodes]


def test_weights_cannot_be_written() -> None:
    kernel = np.ones((1, 1, 2, 3), np.float64)
    node = Node("conv", Conv2D(), ("image",), {"kernel": kernel})
    assert node.params["kernel"].dtype == np.float32
    with pytest.raises(ValueError, match="read-only"):
        node.params["kernel"][0] = 0
    with pytest.raises(TypeError):
        node.params["kernel"] = kernel  # type: ignore[index]  # that is the point
    with pytest.raises(dataclasses.FrozenInstanceError):
        node.name = "other"  # type: ignore[misc]  # that is the point
    assert kernel.flags.writeable, "the caller's own array is left alone"


def test_new_weights_make_a_new_node() -> None:
    node = Node("conv", Conv2D(), ("image",), {"kernel": np.ones((1, 1, 2, 3))})
    changed = node.with_params(bias=np.zeros(3))
    assert set(node.params) == {"kernel"}
    assert set(changed.params) == {"kernel", "bias"}
    assert changed.params["kernel"] is not None
    assert (changed.name, changed.op, changed.inputs) == (node.name, node.op, node.inputs)


def test_nodes_and_graphs_are_compared_by_identity() -> None:
    one, other = (Node("conv", Conv2D(), ("image",), {"kernel": np.ones((1, 1, 2, 3))}) for _ in range(2))
    assert one != other
    assert len({one, other, one}) == 2
    assert graph(RELU, outputs=("relu",)) != graph(RELU, outputs=("relu",))


@pytest.mark.parametrize(
    ("nodes", "outputs", "message"),
    [
        ((ADD, RELU), ("add",), r"add reads \['relu'\]"),
        ((RELU, RELU), ("relu",), "two nodes are named relu"),
        ((RELU,), ("add",), "outputs .* are not all made"),
        ((RELU,), (), "outputs .* are not all made"),
    ],
    ids=["order", "name", "output", "no output"],
)
def test_graphs_that_cannot_be(nodes: tuple[Node, ...], outputs: tuple[str, ...], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        graph(*nodes, outputs=outputs)


def test_nodes_are_found_by_name() -> None:
    made = graph(RELU, outputs=("relu",))
    assert made["relu"] is RELU
    assert "relu" in made
    assert "add" not in made
    assert made.inputs == (IMAGE,)


def test_consumers() -> None:
    made = graph(RELU, ADD, TWICE, outputs=("add", "twice"))
    assert {name: names(readers) for name, readers in made.consumers.items()} == {
        "image": ["relu", "add"],
        "relu": ["add", "twice"],
        "add": [],
        "twice": [],
    }


def test_sole_consumer() -> None:
    made = graph(RELU, TWICE, outputs=("twice",))
    assert made.sole_consumer("relu") is TWICE, "a node that reads twice is one"
    assert made.sole_consumer("twice") is None
    assert graph(RELU, ADD, outputs=("add",)).sole_consumer("image") is None, "two read it"
    assert graph(RELU, TWICE, outputs=("relu", "twice")).sole_consumer("relu") is None, "so does the caller"


def test_rewrite_replaces_in_place_and_renames_readers_and_outputs() -> None:
    dropout, again = Node("dropout", Identity(), ("relu",)), Node("again", Identity(), ("dropout",))
    before = graph(RELU, dropout, again, Node("add", Add(), ("image", "again")), outputs=("add", "again"))
    halves = [Node("relu.a", Relu(6.0), ("image",)), Node("relu.b", Relu(), ("relu.a",))]
    after = before.rewrite(
        {"dropout": [], "again": [], "relu": halves}, {"again": "dropout", "dropout": "relu", "relu": "relu.b"}
    )
    assert names(after.nodes) == ["image", "relu.a", "relu.b", "add"]
    assert after["add"].inputs == ("image", "relu.b")
    assert after.outputs == ("add", "relu.b")
    assert names(before.nodes) == ["image", "relu", "dropout", "again", "add"]
    assert after["image"] is IMAGE
