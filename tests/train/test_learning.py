"""Training from labels alone: a network learns digits, goes on where it stopped, and logs what it saw."""

import math
import os
import signal
from pathlib import Path

import numpy as np
import pytest
from training_support import MINI_SIZE, normalized, of_onnx, pixels, unlabelled

from edgex.dataset import Dataset, open_dataset
from edgex.graph.ir import BatchNorm, Graph
from edgex.graph.passes import prepare
from edgex.preprocess import Preprocessing
from edgex.train.batches import Batch
from edgex.train.head import classes_of, head, with_classes
from edgex.train.loop import TrainOptions, TrainResult, train
from edgex.train.recipes import RECIPES, Run
from edgex.train.student import Student

PREPROCESSING = Preprocessing(size=(MINI_SIZE, MINI_SIZE))
DIGITS = open_dataset("digits", role="training")


def fresh(seed: int = 0) -> Graph:
    """The small network with weights that nothing was fitted to, its batch norm as before any image."""
    draw = np.random.default_rng(seed)
    graph = normalized()
    for node in graph.nodes:
        if isinstance(node.op, BatchNorm):
            begins = {"gamma": 1.0, "beta": 0.0, "mean": 0.0, "variance": 1.0}
            params = {key: np.full_like(array, begins[key]) for key, array in node.params.items()}
        elif "kernel" in node.params:
            shape = node.params["kernel"].shape
            spread = math.prod(shape[:2]) if node.name.endswith("depthwise") else math.prod(shape[:-1])
            params = {"kernel": draw.normal(0, math.sqrt(2 / spread), shape)}
        else:
            continue
        graph = graph.rewrite({node.name: [node.with_params(**params)]})
    return graph


def trained(
    folder: Path,
    recipe: str = "modern",
    *,
    dataset: Dataset = DIGITS,
    stop_at: int | None = None,
    logs: Path | None = None,
    **options: object,
) -> TrainResult:
    def progress(_what: str, done: int, _total: int) -> None:
        if done == stop_at:
            os.kill(os.getpid(), signal.SIGINT)

    chosen = RECIPES[recipe]
    return train(
        fresh(),
        None,
        dataset,
        PREPROCESSING,
        TrainOptions(**{"epochs": 3, "batch": 24, "augment": chosen.augment, **options}),
        checkpoint=folder / "checkpoint.npz",
        key="run",
        threads=2,
        progress=progress,
        recipe=chosen,
        logs=logs,
    )


def content(result: TrainResult) -> dict[str, object]:
    weights = {
        f"{node.name}.{key}": array.tobytes() for node in result.graph.nodes for key, array in node.params.items()
    }
    return {**weights, "history": result.history, "steps": result.steps}


@pytest.mark.parametrize(
    ("recipe", "options", "least"),
    [
        ("modern", {"epochs": 10, "batch": 32}, 0.85),
        ("imagenet", {"epochs": 10, "batch": 32}, 0.75),
        ("jft", {"epochs": 10, "batch": 32}, 0.85),
    ],
)
def test_digits_are_learned_from_nothing(tmp_path: Path, recipe: str, options: dict[str, object], least: float) -> None:
    """On images that training never saw, of a network that knew nothing before."""
    test = open_dataset("digits", role="evaluation")
    images = pixels(test, MINI_SIZE)

    def accuracy(graph: Graph) -> float:
        return float(np.mean(of_onnx(prepare(graph), None, images).argmax(axis=1) == test.labels))

    assert accuracy(fresh()) < 0.3
    result = trained(tmp_path, recipe, **options)
    assert len(result.history.losses) == 11, "no epoch is left out, whatever its loss"
    assert result.history.best > 5
    assert accuracy(result.graph) > least


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> TrainResult:
    return trained(tmp_path_factory.mktemp("whole"), "imagenet", dataset=DIGITS.sample(120))


@pytest.mark.parametrize("step", [1, 3, 9])
def test_what_was_interrupted_goes_on(tmp_path: Path, whole: TrainResult, step: int) -> None:
    """With momentum and dropout. Within an epoch, at its end, and within the last."""
    few = DIGITS.sample(120)
    with pytest.raises(KeyboardInterrupt, match=f"step {step + 1} of 12"):
        trained(tmp_path, "imagenet", dataset=few, stop_at=step)
    resumed = trained(tmp_path, "imagenet", dataset=few)
    assert resumed.resumed == step + 1
    assert content(resumed) == content(whole)


def test_no_step_is_frozen(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Batch norm follows to the last one."""
    followed = []
    step = Student.step

    def counted(student: Student, batch: Batch, *, follow: bool) -> float:
        followed.append(follow)
        return step(student, batch, follow=follow)

    monkeypatch.setattr(Student, "step", counted)
    trained(tmp_path, dataset=DIGITS.sample(120))
    assert followed == [True] * 12


def test_labels_are_needed(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="neither a teacher nor labels"):
        trained(tmp_path, dataset=unlabelled(DIGITS.sample(120)))


# Logs


def test_logs_are_what_tensorflow_reads(tmp_path: Path) -> None:
    import tensorflow as tf

    few = DIGITS.sample(120)
    with pytest.raises(KeyboardInterrupt):
        trained(tmp_path, dataset=few, stop_at=5, logs=tmp_path / "new" / "logs")
    result = trained(tmp_path, dataset=few, logs=tmp_path / "new" / "logs")
    found: dict[str, dict[int, float]] = {}
    files = sorted((tmp_path / "new" / "logs").iterdir())
    assert len(files) == 2, "one of each run"
    for file in files:
        for event in tf.compat.v1.train.summary_iterator(str(file)):
            for value in event.summary.value:
                steps = found.setdefault(value.tag, {})
                assert event.step not in steps, "nothing is said twice"
                steps[event.step] = float(tf.make_ndarray(value.tensor))
                if value.HasField("metadata"):
                    assert value.metadata.plugin_data.plugin_name == "scalars"
    run = Run(steps=12, per_epoch=4, batch=24)
    assert set(found) == {"train/loss", "train/learning_rate", "held_out/loss", "held_out/top-1"}
    assert list(found["train/loss"]) == list(range(12))
    rates = {step: RECIPES["modern"].rate(step, run) for step in range(12)}
    assert found["train/learning_rate"] == pytest.approx(rates, rel=1e-6)
    assert list(found["held_out/loss"]) == [0, 4, 8, 12]
    assert [*found["held_out/loss"].values()] == pytest.approx(result.history.losses, rel=1e-6)
    assert [*found["held_out/top-1"].values()] == pytest.approx(result.history.accuracies, rel=1e-6)


# Heads


def test_another_head_leaves_all_else() -> None:
    graph = fresh()
    made = with_classes(graph, 4, seed=3)
    assert (classes_of(graph), classes_of(made)) == (10, 4)
    assert head(made).name == "logits"
    assert not made["logits"].params["bias"].any()
    assert np.abs(made["logits"].params["kernel"]).max() <= math.sqrt(6 / (128 + 4))
    for node in graph.nodes:
        if node.name != "logits":
            assert made[node.name] is node
    again = with_classes(graph, 4, seed=3)
    np.testing.assert_array_equal(again["logits"].params["kernel"], made["logits"].params["kernel"])
