"""Graphs as ``.keras`` files, as Keras opens them and as edgex reads them back."""

import os
from pathlib import Path
from typing import Any

os.environ.setdefault("KERAS_BACKEND", "tensorflow")
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import keras

from edgex.graph.ir import Graph
from edgex.graph.passes.fold import fold_padding
from edgex.graph.passes.simplify import drop_identities, merge_separable, split_separable
from edgex.graph.read import read_model
from edgex.write.keras import keras_file

RECORD = {"schema": "test/1", "sparsity": 0.5, "widths": [8, 16], "ä": {"none": None}}


def written(graph: Graph, folder: Path) -> Path:
    path = folder / "model.keras"
    path.write_bytes(keras_file(graph))
    return path


def opened(path: Path) -> Any:
    return keras.saving.load_model(path, compile=False, safe_mode=True)


def as_written(graph: Graph) -> Graph:
    """The graph in a form that does not tell whether zeros around images have a layer of their own."""
    for run in (drop_identities, split_separable, fold_padding, merge_separable):
        graph = run(graph).graph
    return graph


def contents(graph: Graph) -> dict[str, Any]:
    """All that an output depends on and the inputs, but for their order, with weights as bits."""
    needed = {*graph.outputs, *(node.name for node in graph.inputs)}
    for node in reversed(graph.nodes):
        needed.update(node.inputs if node.name in needed else ())
    return {
        node.name: (node.op, node.inputs, {key: (a.shape, a.tobytes()) for key, a in node.params.items()})
        for node in graph.nodes
        if node.name in needed
    }


def assert_reads_back(graph: Graph, path: Path) -> None:
    found, expected = as_written(read_model(path)), as_written(graph)
    assert contents(found) == contents(expected)
    assert (found.name, found.outputs, found.notes) == (expected.name, expected.outputs, ())
