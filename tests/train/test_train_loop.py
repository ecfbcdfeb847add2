"""Training: it wins back what quantization cost, keeps the best, ends in time, and goes on where it stopped."""

import os
import signal
import threading
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest
from graphs import tiny_xception
from training_support import MINI_SIZE, calibrated, mini, of_onnx, pixels, simulated, unlabelled

from edgex.dataset import Dataset, open_dataset
from edgex.errors import UsageError
from edgex.graph.ir import Array, Graph
from edgex.graph.passes import prepare
from edgex.graph.read import read_model
from edgex.logits import snr_db
from edgex.plan import QuantizationPlan
from edgex.preprocess import Preprocessing
from edgex.resources import demo_model
from edgex.train import loop
from edgex.train.batches import hold_out
from edgex.train.loop import FROZEN_FROM, TrainOptions, TrainResult, train
from edgex.train.network import logits_graph
from edgex.train.student import Student

PREPROCESSING = Preprocessing(size=(MINI_SIZE, MINI_SIZE))
SHORT = TrainOptions(epochs=3, batch=24, learning_rate=3e-4)
"""Of 120 images with 6 held out: 4 steps an epoch, 12 in all."""


DIGITS = open_dataset("digits", role="training")
FEW = unlabelled(DIGITS.sample(120))


class Subject(NamedTuple):
    """A graph with weights of 4 bits and its plan; what the float graph says of images that nothing was fitted to."""

    graph: Graph
    plan: QuantizationPlan
    images: Array
    logits: Array

    def snr(self, graph: Graph, plan: QuantizationPlan) -> float:
        """Of the written artifact, in dB."""
        ratio = snr_db(self.logits, of_onnx(graph, plan, self.images))
        assert ratio is not None
        return ratio


def subject(float_graph: Graph) -> Subject:
    graph = logits_graph(float_graph)
    size = graph.shapes[graph.inputs[0].name][0]
    calibration = pixels(open_dataset("digits", role="calibration").sample(40), size)
    images = pixels(open_dataset("digits", role="evaluation").sample(200), size)
    result = calibrated(graph, calibration, "symmetric", weight_bits=4)
    return Subject(result.graph, result.plan, images, of_onnx(graph, None, images))


@pytest.fixture(scope="module")
def tiny() -> Subject:
    return subject(mini())


class Watch:
    """Counts steps; at one of them it does something."""

    def __init__(self, at: int = -1, action: Callable[[], object] = lambda: None) -> None:
        self.at = at
        self.action = action
        self.steps: list[int] = []
        self.lines: list[str] = []

    def __call__(self, what: str, done: int, total: int) -> None:
        assert done <= total
        self.steps.append(done)
        self.lines.append(what)
        if done == self.at:
            self.action()


def trained(
    tiny: Subject,
    checkpoint: Path,
    options: TrainOptions = SHORT,
    dataset: Dataset = FEW,
    watch: Watch | None = None,
    plan: QuantizationPlan | None = None,
) -> TrainResult:
    return train(
        tiny.graph,
        plan or tiny.plan,
        dataset,
        PREPROCESSING,
        options,
        checkpoint=checkpoint,
        key="run",
        threads=2,
        progress=watch or Watch(),
    )


def content(result: TrainResult) -> dict[str, object]:
    """All that training made, to the bit."""
    weights = {
        f"{node.name}.{key}": array.tobytes() for node in result.graph.nodes for key, array in node.params.items()
    }
    assert result.plan is not None
    return {**weights, "plan": result.plan.to_json(), "history": result.history, "steps": result.steps}


@pytest.fixture(scope="module")
def whole(tiny: Subject, tmp_path_factory: pytest.TempPathFactory) -> TrainResult:
    """A short run that nothing interrupted."""
    return trained(tiny, tmp_path_factory.mktemp("whole") / "checkpoint.npz")


def held_out_loss(teacher: Graph, result: TrainResult) -> float:
    """The divergence of what came out of training, by the definition."""
    _, held_out = hold_out(FEW, SHORT.seed, SHORT.batch)
    images = pixels(held_out, MINI_SIZE)
    assert result.plan is not None
    logits = (of_onnx(teacher, None, images), simulated(result.graph, result.plan, images))
    taught, answered = (x - np.log(np.exp(x).sum(axis=1, keepdims=True)) for x in logits)
    return float((np.exp(taught) * (taught - answered)).sum(axis=1).mean())


# What it gains


def test_four_bits_win_back_without_labels(tmp_path: Path) -> None:
    """Measured: from 12.0 to 14.6 dB."""
    tiny = subject(tiny_xception(size=24))
    result = train(
        tiny.graph,
        tiny.plan,
        unlabelled(DIGITS.sample(600)),
        Preprocessing(size=(24, 24)),
        TrainOptions(),
        checkpoint=tmp_path / "checkpoint.npz",
        key="run",
        threads=2,
    )
    assert not result.labelled
    assert result.plan is not None
    assert result.steps == 2 * (570 // 32)
    assert result.history.losses[result.history.best] < 0.7 * result.history.losses[0]
    assert tiny.snr(result.graph, result.plan) > tiny.snr(tiny.graph, tiny.plan) + 1.5


@pytest.mark.slow
def test_the_demo_model_wins_back_with_labels(tmp_path: Path) -> None:
    """Measured: from 15.6 to 16.7 dB."""
    demo = subject(prepare(read_model(demo_model())))
    preprocessing = Preprocessing(size=(48, 48))
    result = train(
        demo.graph,
        demo.plan,
        DIGITS,
        preprocessing,
        TrainOptions(),
        checkpoint=tmp_path / "checkpoint.npz",
        key="run",
        threads=2,
    )
    assert result.labelled
    assert result.plan is not None
    assert result.history.losses[result.history.best] < 0.8 * result.history.losses[0]
    assert demo.snr(result.graph, result.plan) > demo.snr(demo.graph, demo.plan) + 0.5


def test_labels_count(tiny: Subject, tmp_path: Path) -> None:
    """The float network knows no digits; with labels the other one learns some."""
    options = TrainOptions(epochs=3, batch=16, learning_rate=1e-2, augment="none")
    result = trained(tiny, tmp_path / "checkpoint.npz", options, DIGITS.sample(320))
    assert result.labelled
    assert result.history.measure == "top-1"
    assert max(result.history.accuracies) > result.history.accuracies[0] + 0.2


def test_a_float_network_trains_too(tiny: Subject, tmp_path: Path) -> None:
    result = train(
        tiny.graph,
        None,
        DIGITS.sample(40),
        PREPROCESSING,
        SHORT,
        checkpoint=tmp_path / "checkpoint.npz",
        key="control",
        threads=2,
    )
    assert result.plan is None
    assert result.history.best > 0
    assert (result.graph["logits"].params["bias"] != tiny.graph["logits"].params["bias"]).any()


def test_another_teacher_is_followed(tiny: Subject, tmp_path: Path) -> None:
    """Where weights were adapted to their grid, the float network that they come from is the one to answer as."""
    logits = tiny.graph["logits"]
    shifted = logits.with_params(bias=logits.params["bias"] + np.eye(10, dtype=np.float32)[3] * 4)
    teacher = tiny.graph.rewrite({"logits": [shifted]})
    result = train(
        tiny.graph,
        tiny.plan,
        FEW,
        PREPROCESSING,
        replace(SHORT, learning_rate=3e-3),
        teacher=teacher,
        checkpoint=tmp_path / "checkpoint.npz",
        key="run",
        threads=2,
    )
    untrained = replace(result, graph=tiny.graph, plan=tiny.plan)
    assert result.history.losses[0] == pytest.approx(held_out_loss(teacher, untrained), rel=1e-3)
    assert result.history.losses[0] > 2 * held_out_loss(tiny.graph, untrained)
    assert held_out_loss(teacher, result) < 0.7 * result.history.losses[0]


# What it keeps


@pytest.mark.parametrize(("learning_rate", "best"), [(3e-4, 3), (1e-4, 1), (0.05, 0)])
def test_the_weights_of_the_best_epoch_are_kept(tiny: Subject, tmp_path: Path, learning_rate: float, best: int) -> None:
    result = trained(tiny, tmp_path / "checkpoint.npz", replace(SHORT, learning_rate=learning_rate))
    losses = result.history.losses
    assert result.history.best == best
    assert min(abs(losses[best] - loss) for epoch, loss in enumerate(losses) if epoch != best) > 1e-4
    assert held_out_loss(tiny.graph, result) == pytest.approx(losses[best], abs=2e-5)


def test_it_stops_when_nothing_improves(tiny: Subject, tmp_path: Path) -> None:
    result = trained(tiny, tmp_path / "checkpoint.npz", replace(SHORT, epochs=9, learning_rate=0.05))
    assert len(result.history.losses) == 1 + loop.PATIENCE
    assert result.steps == loop.PATIENCE * 4


def test_a_learning_rate_of_zero_is_one(tiny: Subject, tmp_path: Path) -> None:
    """Ranges follow all the same."""
    result = trained(tiny, tmp_path / "checkpoint.npz", replace(SHORT, epochs=1, learning_rate=0.0))
    for node in tiny.graph.nodes:
        if "kernel" in node.params:
            np.testing.assert_array_equal(result.graph[node.name].params["kernel"], node.params["kernel"])


def test_ranges_stay_for_the_last_part(
    tiny: Subject, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, whole: TrainResult
) -> None:
    followed = []
    step = Student.step

    def counted(student: Student, batch: object, *, follow: bool) -> None:
        followed.append(follow)
        step(student, batch, follow=follow)

    monkeypatch.setattr(Student, "step", counted)
    trained(tiny, tmp_path / "checkpoint.npz")
    assert followed == [True] * int(12 * FROZEN_FROM) + [False] * int(12 * (1 - FROZEN_FROM))
    assert whole.plan is not None
    assert whole.plan.ranges != tiny.plan.ranges


def test_progress_counts_to_the_end(tiny: Subject, tmp_path: Path) -> None:
    watch = Watch()
    trained(tiny, tmp_path / "checkpoint.npz", watch=watch)
    assert watch.steps == list(range(13))
    assert "epoch 1 of 3" in watch.lines[3]
    assert "epoch 2 of 3" in watch.lines[4]
    assert "agreement" in watch.lines[0]


def test_without_labels_agreement_is_measured(whole: TrainResult) -> None:
    assert not whole.labelled
    assert whole.history.measure == "agreement"


# Where it stopped


def test_the_same_seed_gives_the_same_bits(tiny: Subject, tmp_path: Path, whole: TrainResult) -> None:
    again = trained(tiny, tmp_path / "checkpoint.npz")
    assert content(again) == content(whole)
    assert again.resumed == 0
    other = trained(tiny, tmp_path / "other.npz", replace(SHORT, seed=1))
    assert content(other) != content(whole)


def interrupt() -> None:
    os.kill(os.getpid(), signal.SIGINT)


@pytest.mark.parametrize("step", [0, 3, 5, 10])
def test_what_was_interrupted_goes_on(tiny: Subject, tmp_path: Path, whole: TrainResult, step: int) -> None:
    """At the first step, at the end of an epoch, within one, and where ranges stay."""
    file = tmp_path / "checkpoint.npz"
    before = signal.getsignal(signal.SIGINT)
    watch = Watch(step, interrupt)
    with pytest.raises(KeyboardInterrupt, match=f"step {step + 1} of 12"):
        trained(tiny, file, watch=watch)
    assert watch.steps[-1] == step, "the step ends before training does"
    assert signal.getsignal(signal.SIGINT) is before
    resumed = trained(tiny, file)
    assert resumed.resumed == step + 1
    assert content(resumed) == content(whole)


def test_a_second_interrupt_does_not_wait(tiny: Subject, tmp_path: Path) -> None:
    """The checkpoint is then that of the epoch before."""
    file = tmp_path / "checkpoint.npz"
    watch = Watch(6, lambda: (interrupt(), interrupt()))
    with pytest.raises(KeyboardInterrupt) as stopped:
        trained(tiny, file, watch=watch)
    assert str(stopped.value) == ""
    assert trained(tiny, file).resumed == 4


def test_what_was_killed_goes_on_from_the_last_checkpoint(tiny: Subject, tmp_path: Path, whole: TrainResult) -> None:
    """One is left after each epoch, and every two minutes; here one dies in the third."""
    file = tmp_path / "checkpoint.npz"

    def die() -> None:
        raise MemoryError("as if killed")

    with pytest.raises(MemoryError):
        trained(tiny, file, watch=Watch(10, die))
    resumed = trained(tiny, file)
    assert resumed.resumed == 8
    assert content(resumed) == content(whole)


def test_work_is_saved_by_time_as_well(tiny: Subject, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(loop, "CHECKPOINT_SECONDS", 0.0)
    file = tmp_path / "checkpoint.npz"
    watch = Watch(3, lambda: seen.append(file.exists()))
    seen: list[bool] = []
    trained(tiny, file, replace(SHORT, epochs=1), watch=watch)
    assert seen == [True]


def test_what_ended_is_not_trained_again(tiny: Subject, tmp_path: Path, whole: TrainResult) -> None:
    file = tmp_path / "checkpoint.npz"
    trained(tiny, file)
    watch = Watch()
    again = trained(tiny, file, watch=watch)
    assert again.resumed == 12
    assert watch.steps == [12]
    assert content(again) == content(whole)


def test_images_that_cannot_be_read_change_nothing_else(tiny: Subject, tmp_path: Path) -> None:
    """A run that goes on has the same images at the same steps, whichever of them are broken."""
    from PIL import Image

    folder = tmp_path / "images"
    folder.mkdir()
    for number in range(40):
        file = folder / f"{number:02}.png"
        Image.fromarray(FEW[number][..., 0]).save(file)
        if number % 5 == 0:
            file.write_bytes(b"no image")
    dataset = open_dataset(folder, role="training", max_bad=8)
    options = replace(SHORT, batch=2, epochs=1)
    whole = trained(tiny, tmp_path / "whole.npz", options, dataset)
    assert len(dataset.log.unreadable) == 8
    with pytest.raises(KeyboardInterrupt):
        trained(tiny, tmp_path / "part.npz", options, dataset, Watch(9, interrupt))
    assert content(trained(tiny, tmp_path / "part.npz", options, dataset)) == content(whole)


def test_it_can_be_called_from_any_thread(tiny: Subject, tmp_path: Path, whole: TrainResult) -> None:
    """Signals are the main thread's alone."""
    results: list[TrainResult] = []
    thread = threading.Thread(target=lambda: results.append(trained(tiny, tmp_path / "checkpoint.npz")))
    thread.start()
    thread.join()
    assert content(results[0]) == content(whole)


def test_too_few_images(tiny: Subject, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="114 images to train on, less than a batch of 115"):
        trained(tiny, tmp_path / "checkpoint.npz", replace(SHORT, batch=115))
