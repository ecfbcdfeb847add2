"""Xception of the zoo against ``keras.applications``, and what each of its options changes."""

import os

os.environ.setdefault("KERAS_BACKEND", "tensorflow")
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import keras
import numpy as np
import pytest

from edgex.graph.ir import Graph
from edgex.graph.read import read_model
from edgex.inspection import inspect_graph
from edgex.zoo import build


@pytest.fixture(scope="module")
def published(tmp_path_factory: pytest.TempPathFactory) -> Graph:
    """``keras.applications.Xception`` as a graph."""
    path = tmp_path_factory.mktemp("published") / "xception.keras"
    keras.utils.clear_session()
    keras.applications.Xception(weights=None).save(path)
    return read_model(path)


def test_layers_are_those_of_keras_applications(published: Graph) -> None:
    ours = build("xception")
    assert (ours.name, ours.outputs) == (published.name, published.outputs)
    assert [node.name for node in ours.nodes] == [node.name for node in published.nodes]
    for node in ours.nodes:
        same = published[node.name]
        assert (node.op, node.inputs) == (same.op, same.inputs)
        assert {key: array.shape for key, array in node.params.items()} == {
            key: array.shape for key, array in same.params.items()
        }


def test_it_counts_what_keras_counts(published: Graph) -> None:
    ours, theirs = inspect_graph(build("xception")), inspect_graph(published)
    assert (ours.parameters, ours.trainable_parameters) == (22_910_480, 22_855_952)
    assert ours.macs == theirs.macs


def test_a_seed_gives_the_same_bits() -> None:
    first, same, other = (build("xception", width=0.1, depth=0.1, seed=seed) for seed in (1, 1, 2))
    for node in first.nodes:
        for key, array in node.params.items():
            np.testing.assert_array_equal(array, same[node.name].params[key])
    kernel = "depthwise"
    assert (first["block2_sepconv1"].params[kernel] != other["block2_sepconv1"].params[kernel]).all()
