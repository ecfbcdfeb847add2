"""Gradients of gates against differences of the loss by its definition, in float64."""

from dataclasses import replace

import numpy as np
import pytest
from numpy.typing import NDArray
from reference import reference
from training_support import MINI_SIZE, normalized, pixels

from edgex.dataset import open_dataset
from edgex.graph.ir import Affine, Array, Graph, Node
from edgex.preprocess import Preprocessing
from edgex.train import gates
from edgex.train.batches import Batch, Batches
from edgex.train.gates import gate_gradients

STEP = 2.0**-18
"""Of a gate: single precision holds it, and it takes hardly a value across the kink of a ReLU."""

TENSORS = ("conv", "relu", "separable.depthwise", "separable_bn", "add", "last", "logits")
"""Before and behind batch norm and ReLU, of two readers, with and without positions."""


GRAPH = normalized()
DATASET = open_dataset("digits", role="training").sample(20)
IMAGES = pixels(DATASET, MINI_SIZE)
LABELS = np.asarray(DATASET.labels)


def another() -> Graph:
    """Answers otherwise."""
    logits = GRAPH["logits"]
    return GRAPH.rewrite({"logits": [logits.with_params(kernel=-logits.params["kernel"])]})


def gated(tensor: str, channel: int, factor: float) -> Graph:
    """The graph with one channel of a tensor scaled, for all that read it."""
    scale = np.ones(GRAPH.shapes[tensor][-1], np.float32)
    scale[channel] = factor
    gate = Node(tensor, Affine(), ("ungated",), {"scale": scale, "offset": np.zeros_like(scale)})
    return GRAPH.rewrite({tensor: [replace(GRAPH[tensor], name="ungated"), gate]})


def log_softmax(logits: NDArray[np.float64]) -> NDArray[np.float64]:
    return logits - np.log(np.exp(logits).sum(axis=1, keepdims=True))


def losses(graph: Graph, teacher: Graph, labelled: bool) -> NDArray[np.float64]:
    """Of each image."""
    answered, taught = (log_softmax(reference(each, IMAGES)[each.outputs[0]]) for each in (graph, teacher))
    truth = LABELS if labelled else taught.argmax(axis=1)
    divergence: NDArray[np.float64] = (np.exp(taught) * (taught - answered)).sum(axis=1)
    return divergence - answered[np.arange(len(truth)), truth]


def found(teacher: Graph = GRAPH, labelled: bool = True, images: slice = slice(None)) -> dict[str, Array]:
    batch = Batch(IMAGES[images], LABELS[images])
    return gate_gradients(GRAPH, TENSORS, [batch], teacher, labelled=labelled, threads=2)


@pytest.mark.parametrize("labelled", [True, False])
@pytest.mark.parametrize("teacher", [GRAPH, another()], ids=["its own teacher", "another"])
def test_they_are_what_closing_a_gate_a_little_changes(teacher: Graph, labelled: bool) -> None:
    gradients = found(teacher, labelled)
    assert list(gradients) == list(TENSORS)
    for name, of_tensor in gradients.items():
        channels = GRAPH.shapes[name][-1]
        assert of_tensor.shape == (len(IMAGES), channels)
        for channel in (0, channels // 2, channels - 1):
            more, less = (losses(gated(name, channel, 1 + step), teacher, labelled) for step in (STEP, -STEP))
            expected = (more - less) / (2 * STEP)
            assert np.abs(of_tensor[:, channel] - expected).max() < 1e-5 * np.abs(of_tensor).max()


def test_a_network_that_is_its_own_teacher_has_some_without_labels() -> None:
    assert all(np.abs(of_tensor).max() > 1e-3 for of_tensor in found(labelled=False).values())


def test_an_image_has_the_same_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever is in its batch, and however many fit into memory."""
    together = found()
    alone = found(images=slice(3, 4))
    monkeypatch.setattr(gates, "MOST_IMAGES", 7)
    in_parts = found()
    for name, of_tensor in together.items():
        most = np.abs(of_tensor).max()
        np.testing.assert_allclose(alone[name], of_tensor[3:4], atol=1e-5 * most)
        np.testing.assert_allclose(in_parts[name], of_tensor, atol=1e-5 * most)


def test_batches_come_in_order_and_are_counted() -> None:
    batches = Batches(DATASET, Preprocessing(size=(MINI_SIZE, MINI_SIZE)), 8)
    counted: list[tuple[int, int]] = []
    gradients = gate_gradients(
        GRAPH,
        ("relu",),
        batches,
        GRAPH,
        labelled=True,
        threads=2,
        progress=lambda _what, done, total: counted.append((done, total)),
    )
    together = found()["relu"]
    np.testing.assert_allclose(gradients["relu"], together, atol=1e-5 * np.abs(together).max())
    assert counted == [(0, 3), (1, 3), (2, 3), (3, 3)]
