"""Which channels hang together, and that a graph without some of them computes what it did without reading them."""

from dataclasses import replace

import numpy as np
import pytest
from pruning_cases import (
    CASES,
    IMAGE,
    IMAGES,
    classifier,
    conv,
    demo_xception,
    dense,
    plain,
    some_units,
    unread,
)
from reference import relative_error

from edgex.dataset import open_dataset
from edgex.demo.train import PREPROCESSING
from edgex.execute import logits_name, tensor_values
from edgex.graph.ir import (
    Add,
    Array,
    Concat,
    Flatten,
    GlobalAveragePool,
    Graph,
    Multiply,
    Node,
    Relu,
    Reshape,
    Softmax,
)
from edgex.graph.passes import prepare
from edgex.prune.channels import Coupling, Units, couple, remove
from edgex.prune.importance import gate_tensors

TOLERANCE = 1e-5


def logits(graph: Graph, images: Array = IMAGES) -> Array:
    prepared = prepare(graph)
    return tensor_values(prepared, [logits_name(prepared)])(images)[0]


def sizes(coupling: Coupling) -> dict[str, int]:
    return {width.name: len(width.units) for width in coupling.widths}


# Which hang together


@pytest.mark.parametrize("name", CASES)
def test_widths_are_what_blocks_share(name: str) -> None:
    graph, widths = CASES[name]
    found = couple(graph)
    assert list(sizes(found).items()) == list(widths.items())
    for tensor, units in found.units.items():
        assert len(units) == graph.shapes[tensor][-1]
        assert 0 <= units.min() <= units.max() < found.count


def test_a_width_knows_all_that_make_it() -> None:
    producers = {width.name: width.producers for width in couple(CASES["residual"].graph).widths}
    assert producers == {"stem": ("stem", "outer", "third"), "inner": ("inner",), "shortcut": ("shortcut", "wider")}
    producers = {width.name: width.producers for width in couple(CASES["inception"].graph).widths}
    assert producers == {"stem": ("stem", "up"), "one": ("one",), "three": ("three",), "up": ("up", "left")}
    producers = {width.name: width.producers for width in couple(CASES["doubled"].graph).widths}
    assert producers == {"narrow": ("narrow", "wide"), "last": ("last",)}


def test_depthwise_channels_that_come_of_one_stand_together() -> None:
    units = couple(CASES["doubled"].graph).units
    assert units["wide"].tolist() == np.repeat(units["narrow"], 2).tolist()


def test_units_that_are_in_one_tensor_unequally_often_are_two_widths() -> None:
    """Of nine positions of two channels, one layer makes five times the first and four times the second."""
    graph = classifier(
        "test",
        conv("conv", "image", 3, 2, strides=3),
        plain("flat", Flatten(), "conv"),
        plain("pixel", GlobalAveragePool(), "image"),
        dense("left", "pixel", 3, 9),
        dense("right", "pixel", 3, 9),
        plain("both", Concat(), "left", "right"),
        plain("sum", Add(), "flat", "both"),
        plain("image_again", Reshape((1, 1, 18)), "sum"),
    )
    found = couple(graph)
    assert [(width.producers, len(width.units)) for width in found.widths] == [(("conv", "left", "right"), 1)] * 2
    first, second = found.units["conv"]
    assert found.units["left"].tolist() == [first, second] * 4 + [first]


BEFORE, AFTER = conv("before", "image", 3, 16, bias=True), conv("after", "mixed", 16, 8)
PINNED = {
    "softmax": (plain("mixed", Softmax(), "before"), AFTER),
    "reshaped": (plain("mixed", Reshape((9, 4, 32)), "before"), conv("after", "mixed", 32, 8)),
    "one channel for all": (
        conv("gate", "image", 3, 1),
        plain("mixed", Multiply(), "gate", "before"),
        AFTER,
    ),
    "added to the image": (
        plain("images", Concat(), "image", "image"),
        conv("same", "before", 16, 6),
        plain("mixed", Add(), "same", "images"),
        conv("after", "mixed", 6, 8),
    ),
}


@pytest.mark.parametrize("name", PINNED)
def test_channels_that_depend_on_each_other_are_kept(name: str) -> None:
    found = sizes(couple(classifier(name, BEFORE, *PINNED[name])))
    before = {"before": 16} if name == "added to the image" else {}
    assert found == {**before, "after": 8}


def test_what_is_kept_keeps_all_that_it_is_added_to() -> None:
    mixed, _ = PINNED["softmax"]
    other = conv("other", "image", 3, 16)
    graph = classifier("test", BEFORE, mixed, other, plain("sum", Add(), "mixed", "other"), conv("after", "sum", 16, 8))
    assert sizes(couple(graph)) == {"after": 8}


def test_outputs_are_kept() -> None:
    nodes = (IMAGE, BEFORE, plain("relu", Relu(), "before"), conv("after", "relu", 16, 8))
    assert sizes(couple(Graph("test", nodes, ("after",)))) == {"before": 16}
    assert sizes(couple(Graph("test", nodes, ("after", "relu")))) == {}


# Removing them


@pytest.mark.parametrize("name", CASES)
def test_the_rest_computes_what_it_did(name: str) -> None:
    graph = CASES[name].graph
    coupling = couple(graph)
    gone = some_units(coupling)
    found = remove(graph, coupling, gone)
    for node in graph.nodes:
        *positions, _ = graph.shapes[node.name]
        left = int((~np.isin(coupling.units[node.name], gone)).sum())
        assert found.shapes[node.name] == (*positions, left), node.name
    expected = logits(unread(graph, coupling, gone))
    assert relative_error(logits(found), expected) < TOLERANCE
    other = remove(graph, coupling, some_units(coupling, seed=1))
    assert relative_error(logits(other), expected) > 1000 * TOLERANCE, "other channels would not show"
    assert relative_error(logits(graph), expected) > 1000 * TOLERANCE, "those that are gone do not matter"


@pytest.mark.parametrize("name", CASES)
def test_what_is_left_hangs_together_as_before(name: str) -> None:
    graph = CASES[name].graph
    coupling = couple(graph)
    found = couple(remove(graph, coupling, some_units(coupling)))
    assert sizes(found) == {name: count // 2 for name, count in CASES[name].widths.items()}


def closed(graph: Graph, coupling: Coupling, gone: Units) -> Graph:
    """The same graph, with the gates of some units at zero."""
    replacements: dict[str, list[Node]] = {}
    for name in gate_tensors(graph, coupling):
        is_open = ~np.isin(coupling.units[name], gone)
        params = {key: graph[name].params[key] * is_open for key in ("gamma", "beta")}
        replacements[name] = [graph[name].with_params(**params)]
    return graph.rewrite(replacements)


def test_a_channel_that_is_gone_is_one_whose_gates_are_closed() -> None:
    """In Xception, where a depthwise convolution makes zeros of zeros."""
    graph = demo_xception()
    digits = open_dataset("digits", role="evaluation")
    images = np.stack([PREPROCESSING.apply(digits[index]) for index in range(4)])
    coupling = couple(graph)
    gone = some_units(coupling)
    expected = logits(closed(graph, coupling, gone), images)
    assert relative_error(logits(remove(graph, coupling, gone), images), expected) < TOLERANCE
    assert relative_error(logits(closed(graph, coupling, gone[1:]), images), expected) > 100 * TOLERANCE


def test_nothing_gone_is_the_same_graph() -> None:
    graph = CASES["mobile"].graph
    assert remove(graph, couple(graph), np.empty(0, np.int64)) is graph


def test_pinned_units_stay() -> None:
    graph = CASES["mobile"].graph
    coupling = couple(graph)
    (image, *_) = coupling.units["image"]
    with pytest.raises(ValueError, match="cannot be removed"):
        remove(graph, coupling, np.array([coupling.widths[0].units[0], image]))


def test_targets_of_reshapes_follow() -> None:
    graph = CASES["flattened"].graph
    coupling = couple(graph)
    found = remove(graph, coupling, coupling.widths[0].units[:6])
    assert found["rows"].op == Reshape((-1, 10))
    open_ended = graph.rewrite({"rows": [replace(graph["rows"], op=Reshape((9, -1)))]})
    found = remove(open_ended, couple(open_ended), coupling.widths[0].units[:6])
    assert found["rows"].op == Reshape((9, -1))
    assert found.shapes["rows"] == (9, 10)
