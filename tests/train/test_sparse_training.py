"""Pruning of single weights: the right ones go, in time; they stay away, through training, interruptions and QAT."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from test_train_loop import Watch, interrupt
from training_support import MINI_SIZE, calibrated, mini, normalized, pixels, unlabelled, with_zeros

from edgex.dataset import open_dataset
from edgex.graph.ir import Array, Conv2D, Graph, Node
from edgex.lint.sparsity import is_two_four_sparse
from edgex.plan import QuantizationPlan, WeightBits
from edgex.preprocess import Preprocessing
from edgex.prune.layer_shares import lamp_shares
from edgex.train import loop
from edgex.train.batches import Batch
from edgex.train.fake_quant import read_weights
from edgex.train.loop import TrainOptions, TrainResult, train
from edgex.train.network import keras_model, trained_graph
from edgex.train.sparsity import MOVES, Sparsity, sparse_network
from edgex.train.student import LEAST_ZEROS, Student

TWO_FOUR = Sparsity("2:4", 0.5)
MAGNITUDE = Sparsity("magnitude", 0.8)
GRAPH = normalized()
DEPTHWISE = "separable.depthwise"
SHARES = {DEPTHWISE: 0.0} | lamp_shares(
    {node.name: node.params["kernel"] for node in GRAPH.nodes if MAGNITUDE.applies_to(node)}, MAGNITUDE.share
)
DIGITS = open_dataset("digits", role="training")


@pytest.fixture(scope="module")
def batch() -> Batch:
    dataset = DIGITS.sample(24)
    assert dataset.labels is not None
    return Batch(pixels(dataset, MINI_SIZE), dataset.labels)


def student(
    graph: Graph, plan: QuantizationPlan | None = None, *, steps: int = 8, rate: float = 1e-3, **options: Any
) -> Student:
    return Student(graph, plan, graph, (rate, steps), labelled=True, threads=2, **options)


def kernels(model: Any, graph: Graph) -> dict[str, Array]:
    return {name: params["kernel"] for name, params in read_weights(model, graph).items() if "kernel" in params}


def zeros(kernels: Mapping[str, Array]) -> dict[str, NDArray[np.bool_]]:
    return {name: kernel == 0 for name, kernel in kernels.items()}


def share(kernel: Array) -> float:
    return float((kernel == 0).mean())


# 2:4

ELIGIBLE = {"separable.pointwise", "shortcut", "last"}
"""Not the first convolution, which reads three channels, the depthwise one, or the dense layer."""


def test_of_four_input_channels_the_smaller_two_go_before_training() -> None:
    for name, kernel in kernels(student(GRAPH, sparsity=TWO_FOUR).model, GRAPH).items():
        before = GRAPH[name].params["kernel"]
        if name not in ELIGIBLE:
            np.testing.assert_array_equal(kernel, before)
            continue
        height, width, inputs, outputs = kernel.shape
        groups = before.reshape(height, width, inputs // 4, 4, outputs)
        smaller = np.argsort(np.argsort(np.abs(groups), axis=3), axis=3) < 2
        np.testing.assert_array_equal(kernel, np.where(smaller, 0, groups).reshape(kernel.shape))


def test_the_pattern_stays_while_the_rest_is_trained(batch: Batch) -> None:
    trained = student(GRAPH, sparsity=TWO_FOUR)
    before = kernels(trained.model, GRAPH)
    for step in range(8):
        trained.step(batch, follow=step < 6)
    for name, kernel in kernels(trained.model, GRAPH).items():
        np.testing.assert_array_equal(kernel == 0, before[name] == 0)
        assert ((kernel != before[name]) | (kernel == 0)).mean() > 0.99
        if name in ELIGIBLE:
            assert is_two_four_sparse(kernel.transpose(3, 2, 0, 1))  # as ONNX has it


def test_grouped_convolutions_are_left_alone() -> None:
    grouped = Node("node", Conv2D(groups=2), (), {"kernel": np.ones((1, 1, 4, 8), np.float32)})
    assert not TWO_FOUR.applies_to(grouped)
    assert not MAGNITUDE.applies_to(grouped)


# Magnitude


@pytest.mark.parametrize("steps", [1, 2, 3, 9, 90, 101])
def test_the_share_is_reached_at_a_quarter_of_the_steps(batch: Batch, steps: int) -> None:
    """Gradually, and no mask moves afterwards."""
    network = sparse_network(keras_model(GRAPH, biases=False), GRAPH, MAGNITUDE, steps)
    settled = MAGNITUDE.settled_after(steps)
    assert settled == max(1, steps // 4)
    shares = [0.0]
    for _ in range(settled):
        network(batch.images[:1], training=True)
        shares.append(share(kernels(network, GRAPH)["last"]))
    gained = np.diff(shares)
    assert shares[-1] == pytest.approx(SHARES["last"], abs=1e-3)
    assert min(settled, 4) <= np.count_nonzero(gained) <= MOVES
    assert (gained >= 0).all()
    assert gained.max() == gained[np.flatnonzero(gained)[0]], "most go first"
    after = kernels(network, GRAPH)
    for name, kernel in after.items():
        assert share(kernel) == pytest.approx(SHARES[name], abs=2e-3)
    for wrapped in network.layers:
        for kernel, _, _ in getattr(wrapped, "pruning_vars", ()):
            kernel.assign(np.random.default_rng(0).normal(size=kernel.shape))
    for _ in range(3):
        network(batch.images[:1], training=True)
    moved = kernels(network, GRAPH)
    assert all((zero == (moved[name] == 0)).all() for name, zero in zeros(after).items())


def test_the_smallest_go(batch: Batch) -> None:
    pruned = student(GRAPH, steps=2, rate=0.0, sparsity=MAGNITUDE)
    pruned.step(batch, follow=True)
    for name, kernel in kernels(pruned.model, GRAPH).items():
        before = np.abs(GRAPH[name].params["kernel"])
        least = np.sort(before, axis=None)[-round((1 - SHARES[name]) * before.size)]
        np.testing.assert_array_equal(kernel, np.where(before >= least, GRAPH[name].params["kernel"], 0))


def test_weights_are_pruned_in_single_precision() -> None:
    """In half precision their wrappers would write each weight back rounded."""
    assert student(GRAPH, half_precision=True).model.output.dtype == "float16"
    assert student(GRAPH, half_precision=True, sparsity=MAGNITUDE).model.output.dtype == "float32"


def test_quantized_weights_are_not_pruned(batch: Batch) -> None:
    result = calibrated(mini(), batch.images)
    with pytest.raises(ValueError, match="in float"):
        student(result.graph, result.plan, sparsity=MAGNITUDE)


# Runs of training

SHORT = TrainOptions(epochs=3, batch=24, learning_rate=1e-3)
"""Of 120 images with 6 held out: 4 steps an epoch, 12 in all."""


def trained(
    checkpoint: Path, sparsity: Sparsity | None, options: TrainOptions = SHORT, graph: Graph = GRAPH, **more: Any
) -> TrainResult:
    return train(
        graph,
        None,
        unlabelled(DIGITS.sample(120)),
        Preprocessing(size=(MINI_SIZE, MINI_SIZE)),
        options,
        checkpoint=checkpoint,
        key="run",
        threads=2,
        sparsity=sparsity,
        **more,
    )


def test_a_control_has_been_trained(tmp_path: Path) -> None:
    """Though nothing were better than what there was before."""
    wild = replace(SHORT, learning_rate=0.5)
    assert trained(tmp_path / "any", None, wild).history.best == 0
    assert trained(tmp_path / "control", None, wild, earliest=1).history.best >= 1


def content(result: TrainResult) -> dict[str, object]:
    params = {(node.name, key): array.tobytes() for node in result.graph.nodes for key, array in node.params.items()}
    return {**params, "history": result.history}


@pytest.mark.parametrize(
    ("sparsity", "steps"), [(None, (6,)), (TWO_FOUR, (6,)), (MAGNITUDE, (2, 10))], ids=["dense", "2:4", "magnitude"]
)
def test_the_same_bits_interrupted_or_not(
    tmp_path: Path, sparsity: Sparsity | None, steps: tuple[int, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    """While masks move, and where they and batch norm have come to rest."""
    monkeypatch.setattr(loop, "PATIENCE", SHORT.epochs)
    logits = GRAPH["logits"]
    teacher = GRAPH.rewrite({"logits": [logits.with_params(bias=logits.params["bias"] + np.eye(10)[3] * 4)]})
    whole = trained(tmp_path / "whole.npz", sparsity, teacher=teacher)
    for step in steps:
        with pytest.raises(KeyboardInterrupt):
            trained(tmp_path / "part.npz", sparsity, teacher=teacher, progress=Watch(step, interrupt))
    resumed = trained(tmp_path / "part.npz", sparsity, teacher=teacher)
    assert resumed.resumed == steps[-1] + 1
    assert content(resumed) == content(whole)


def test_no_node_gains_or_loses_weights(tmp_path: Path) -> None:
    result = trained(tmp_path / "checkpoint.npz", TWO_FOUR)
    for node in result.graph.nodes:
        assert {key: array.shape for key, array in node.params.items()} == {
            key: array.shape for key, array in GRAPH[node.name].params.items()
        }
    norm = result.graph["conv_bn"].params
    assert all((norm[key] != GRAPH["conv_bn"].params[key]).any() for key in norm)


@pytest.mark.parametrize("epochs", [1, 2, 5])
def test_weights_that_are_not_sparse_yet_are_no_result(tmp_path: Path, epochs: int) -> None:
    """Though pruning only costs at this rate, and it has no answers closer to the teacher's than its own."""
    options = TrainOptions(epochs=epochs, batch=24, learning_rate=1e-6)
    result = trained(tmp_path / "checkpoint.npz", MAGNITUDE, options)
    assert result.history.losses[0] < 1e-5 < min(result.history.losses[1:])
    assert result.history.best >= result.history.earliest == -(-epochs // 4)
    for node in result.graph.nodes:
        if MAGNITUDE.applies_to(node):
            assert share(node.params["kernel"]) == pytest.approx(SHARES[node.name], abs=2e-3)


def test_pruning_is_trained_for(tmp_path: Path) -> None:
    options = TrainOptions(epochs=4, batch=16, learning_rate=3e-3)
    result = trained(tmp_path / "checkpoint.npz", TWO_FOUR, options)
    assert result.history.losses[result.history.best] < 0.5 * result.history.losses[0]


# Zeros that are kept


@pytest.mark.parametrize("keep_zeros", [True, False])
@pytest.mark.parametrize("bits", [8, 4, None])
def test_zeros_stay_where_they_are_wanted(batch: Batch, bits: WeightBits | None, keep_zeros: bool) -> None:
    graph, plan = with_zeros(mini() if bits else GRAPH), None
    if bits:
        result = calibrated(graph, batch.images, "symmetric", weight_bits=bits)
        graph, plan = result.graph, result.plan
    one = student(graph, plan, keep_zeros=keep_zeros)
    before = kernels(one.model, graph)
    for step in range(3):
        one.step(batch, follow=step < 2)
    for name, kernel in kernels(one.model, graph).items():
        assert share(before[name]) > 0.5
        assert (kernel != before[name]).any()
        assert (kernel[before[name] == 0] == 0).all() == keep_zeros


def test_zeros_by_accident_do_not_stay(batch: Batch) -> None:
    graph = with_zeros(GRAPH, LEAST_ZEROS / 2)
    one = student(graph, keep_zeros=True)
    one.step(batch, follow=True)
    kernel = kernels(one.model, graph)["logits"]
    assert 0 < share(graph["logits"].params["kernel"]) < LEAST_ZEROS
    assert share(kernel) < 0.01


@pytest.mark.parametrize("keep_zeros", [True, False])
def test_zeros_stay_through_a_run(tmp_path: Path, keep_zeros: bool) -> None:
    pruned = trained_graph(GRAPH, read_weights(student(GRAPH, sparsity=TWO_FOUR).model, GRAPH))
    result = trained(tmp_path / "checkpoint.npz", None, graph=pruned, teacher=GRAPH, keep_zeros=keep_zeros)
    assert result.history.best > 0
    assert is_two_four_sparse(result.graph["last"].params["kernel"].transpose(3, 2, 0, 1)) == keep_zeros
