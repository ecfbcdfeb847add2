"""Training on masks: they go as their images go, void pixels do not count, and a network learns them."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from shapes import CLASSES, shapes
from training_support import calibrated, pixels, simulated

from edgex.dataset import VOID, Dataset, open_dataset
from edgex.errors import UsageError
from edgex.graph.ir import Array, BatchNorm, Conv2D, Graph, Input, Node, Op, Relu, Resize, Softmax
from edgex.graph.passes import prepare
from edgex.preprocess import Preprocessing
from edgex.train.batches import Batch, Batches, Taught, drawn_move, what_is_taught
from edgex.train.gates import gate_gradients
from edgex.train.loop import TrainOptions, train
from edgex.train.losses import cross_entropy, divergence
from edgex.train.network import logits_graph
from edgex.train.recipes import RECIPES
from edgex.train.student import Student

SIZE = 24
PREPROCESSING = Preprocessing(size=(SIZE, SIZE))


def segmenter(seed: int = 0, size: int = SIZE) -> Graph:
    """Two strided convolutions with batch norm, a 1×1 convolution, and a resize back to the image; not trained."""
    draw = np.random.default_rng(seed)

    def weighted(name: str, op: Op, read: str, *shape: int) -> Node:
        return Node(name, op, (read,), {"kernel": draw.normal(0.0, np.sqrt(2 / np.prod(shape[:-1])), shape)})

    def normalizing(name: str, read: str, channels: int) -> Node:
        ones, zeros = np.ones(channels), np.zeros(channels)
        return Node(name, BatchNorm(), (read,), {"gamma": ones, "beta": zeros, "mean": zeros, "variance": ones})

    nodes = (
        Node("image", Input((size, size, 3))),
        weighted("one", Conv2D((2, 2), "same"), "image", 3, 3, 3, 16),
        normalizing("one_bn", "one", 16),
        Node("one_act", Relu(), ("one_bn",)),
        weighted("two", Conv2D(padding="same"), "one_act", 3, 3, 16, 16),
        normalizing("two_bn", "two", 16),
        Node("two_act", Relu(), ("two_bn",)),
        weighted("classes", Conv2D(), "two_act", 1, 1, 16, len(CLASSES)),
        Node("resize", Resize((size, size)), ("classes",)),
        Node("softmax", Softmax(), ("resize",)),
    )
    return Graph("segmenter", nodes, ("softmax",))


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    file = tmp_path_factory.mktemp("shapes") / "shapes.npz"
    return open_dataset(shapes(96, SIZE, void=True).write_npz(file), role="training")


def log_softmax(logits: NDArray[np.float64]) -> NDArray[np.float64]:
    return logits - np.log(np.exp(logits).sum(axis=-1, keepdims=True))


# Moves


@pytest.mark.parametrize("augment", ["shift", "flip", "none"])
def test_a_mask_moves_as_its_image(augment: str) -> None:
    """Where the image shows itself; what is outside of it is drawn out in the image, and void in the mask."""
    image = np.arange(20 * 30, dtype=np.float32).reshape(20, 30, 1)
    mask = (np.arange(20 * 30) % VOID).astype(np.uint8).reshape(20, 30)
    mirrored, voids = 0, 0
    for number in range(40):
        move = drawn_move((20, 30), augment, np.random.default_rng(number))
        moved_image, moved_mask = move.of_image(image)[..., 0], move.of_mask(mask)
        outside = moved_mask == VOID
        np.testing.assert_array_equal(moved_mask[~outside], moved_image[~outside] % VOID)
        values, counts = np.unique(moved_image[~outside], return_counts=True)
        assert len(values) == np.count_nonzero(~outside), "no pixel of the image is twice within it"
        assert counts.max() == 1
        rows, columns = outside.all(axis=1), outside.all(axis=0)
        np.testing.assert_array_equal(outside, rows[:, None] | columns)
        assert np.count_nonzero(rows) <= 2
        assert np.count_nonzero(columns) <= 3
        mirrored += bool(moved_image[10, 16] < moved_image[10, 15])
        voids += bool(outside.any())
    assert (mirrored > 8) == (augment == "flip")
    assert (voids > 20) == (augment != "none")


def test_batches_have_the_masks_of_their_images(dataset: Dataset) -> None:
    batches = Batches(dataset, PREPROCESSING, 8, "flip", answers=(SIZE, SIZE))
    whole = list(batches.from_step(0, 12))
    for batch in whole:
        assert (batch.images.shape, batch.labels.shape) == ((8, SIZE, SIZE, 3), (8, SIZE, SIZE))
        assert batch.labels.dtype == np.int64
    again = list(batches.from_step(5, 6))
    np.testing.assert_array_equal(again[0].labels, whole[5].labels)
    in_order = np.concatenate([batch.labels for batch in batches])
    np.testing.assert_array_equal(in_order, [dataset.mask(index) for index in range(len(dataset))])


def test_masks_take_the_size_of_answers(dataset: Dataset) -> None:
    first = next(iter(Batches(dataset, PREPROCESSING, 1, answers=(SIZE // 3, SIZE // 3))))
    np.testing.assert_array_equal(first.labels[0], dataset.mask(0)[1::3, 1::3])


def test_images_that_are_not_stretched(dataset: Dataset) -> None:
    with pytest.raises(UsageError, match="'crop'") as refusal:
        Batches(dataset, replace(PREPROCESSING, resize="crop"), 8, answers=(SIZE, SIZE))
    assert refusal.value.fix == "Use --resize stretch."


def test_what_is_taught(dataset: Dataset) -> None:
    digits = open_dataset("digits", role="training")
    assert what_is_taught(segmenter(), dataset) == (True, (SIZE, SIZE))
    assert what_is_taught(segmenter(), digits) == (False, None)
    assert [Taught(labelled, answers).measure for labelled in (True, False) for answers in (None, (SIZE, SIZE))] == [
        "top-1",
        "pixel accuracy",
        "agreement",
        "agreement",
    ]


# Losses


def test_losses_by_their_definition() -> None:
    draw = np.random.default_rng(0)
    logits, others = draw.normal(size=(2, 3, 4, 5, 6)).astype(np.float32) * 2
    labels = draw.integers(0, 6, (3, 4, 5))
    labels[0, :2] = VOID
    labels[2] = VOID
    answered, taught = log_softmax(logits.astype(np.float64)), log_softmax(others.astype(np.float64))
    pixels = -np.take_along_axis(answered, np.where(labels == VOID, 0, labels)[..., None], axis=-1)[..., 0]
    expected = [pixels[0][labels[0] != VOID].mean(), pixels[1].mean(), 0.0]
    import tensorflow as tf

    np.testing.assert_allclose(cross_entropy(tf.constant(labels), tf.constant(logits)), expected, rtol=1e-5)
    apart = (np.exp(taught) * (taught - answered)).sum(axis=-1).mean(axis=(1, 2))
    log_probabilities = tf.constant(taught.astype(np.float32))
    np.testing.assert_allclose(divergence(log_probabilities, tf.constant(logits)), apart, rtol=1e-4)


def test_what_is_right_is_counted_by_pixels(dataset: Dataset) -> None:
    graph = logits_graph(segmenter())
    student = Student(graph, None, None, RECIPES["modern"], labelled=True, threads=2)
    (batch,) = Batches(dataset, PREPROCESSING, 96, answers=(SIZE, SIZE))
    predicted = student.model(batch.images, training=False).numpy().argmax(axis=-1)
    known = batch.labels != VOID
    assert not known.all()
    in_parts = [Batch(batch.images[:50], batch.labels[:50]), Batch(batch.images[50:], batch.labels[50:])]
    _, accuracy = student.evaluate(in_parts)
    assert accuracy == pytest.approx((predicted == batch.labels)[known].mean(), rel=1e-6)


# Learning


def test_a_segmenter_learns_shapes(dataset: Dataset, tmp_path: Path) -> None:
    """More than that most is ground."""
    result = train(
        segmenter(),
        None,
        dataset,
        PREPROCESSING,
        TrainOptions(epochs=12, batch=8, learning_rate=1e-2, augment="flip"),
        checkpoint=tmp_path / "checkpoint.npz",
        key="run",
        threads=2,
        recipe=RECIPES["modern"],
    )
    masks = np.stack([dataset.mask(index) for index in range(len(dataset))])
    ground = np.mean(masks[masks != VOID] == 0)
    assert result.history.measure == "pixel accuracy"
    assert "pixel accuracy there" in str(result.history)
    assert result.history.accuracies[result.history.best] > ground + 0.1


def test_a_quantized_segmenter_answers_as_its_teacher_does(dataset: Dataset, tmp_path: Path) -> None:
    """Pixel by pixel, without masks: what 4-bit weights cost is partly won back."""
    images = pixels(dataset, SIZE)
    graph = prepare(logits_graph(segmenter()))
    result = calibrated(graph, images[:32], "symmetric", weight_bits=4)
    bare = replace(dataset, masks=None, class_names=())
    trained = train(
        result.graph,
        result.plan,
        bare,
        PREPROCESSING,
        TrainOptions(epochs=3, batch=8, learning_rate=1e-3),
        teacher=graph,
        checkpoint=tmp_path / "checkpoint.npz",
        key="run",
        threads=2,
    )
    assert not trained.labelled
    assert trained.plan is not None
    losses = trained.history.losses
    assert losses[trained.history.best] < 0.7 * losses[0]
    answered = simulated(trained.graph, trained.plan, images[:8])
    assert answered.shape == (8, SIZE, SIZE, len(CLASSES))


def test_gates_of_a_segmenter(dataset: Dataset) -> None:
    """By differences of the loss, labels or none."""
    graph = logits_graph(segmenter())
    student = Student(graph, None, graph, (1e-3, 1), labelled=True, threads=2)
    batch = next(iter(Batches(dataset, PREPROCESSING, 4, answers=(SIZE, SIZE))))
    found = gate_gradients(graph, ["one_act"], [batch], graph, labelled=True, threads=2)["one_act"]
    assert found.shape == (4, 16)
    channel, step = int(np.abs(found).sum(axis=0).argmax()), 2.0**-9
    bn = graph["one_bn"].params

    def loss(factor: float) -> float:
        """With the channel scaled: its ReLU lets a positive factor through."""
        gamma, beta = bn["gamma"].copy(), bn["beta"].copy()
        gamma[channel] *= factor
        beta[channel] *= factor
        scaled = graph.rewrite({"one_bn": [graph["one_bn"].with_params(gamma=gamma, beta=beta)]})
        made = Student(scaled, None, graph, (1e-3, 1), labelled=True, threads=2)
        return made.evaluate([batch])[0]

    assert student.evaluate([batch])[0] == pytest.approx(loss(1.0))
    assert (loss(1 + step) - loss(1 - step)) / (2 * step) == pytest.approx(found[:, channel].mean(), rel=0.02)
    unlabelled: Array = gate_gradients(
        graph, ["one_act"], [Batch(batch.images, np.zeros(4, np.int64))], graph, labelled=False, threads=2
    )["one_act"]
    assert np.abs(unlabelled).max() > 1e-4
    assert not np.allclose(unlabelled, found)
