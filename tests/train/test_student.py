"""The student: its loss by the definition, on one device or several, in single precision or half."""

import os
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest
import tf_keras
from numpy.typing import NDArray
from training_support import MINI_SIZE, calibrated, mini, normalized, of_onnx, pixels, simulated

from edgex.dataset import open_dataset
from edgex.graph.ir import Array, Graph
from edgex.graph.passes import prepare
from edgex.plan import QuantizationPlan
from edgex.train.batches import Batch
from edgex.train.fake_quant import learned_plan, read_weights
from edgex.train.student import Student


class Subject(NamedTuple):
    """A graph with weights of 4 bits and its plan; images, and what they show."""

    graph: Graph
    plan: QuantizationPlan
    images: Array
    labels: NDArray[np.int64]

    @property
    def batch(self) -> Batch:
        return Batch(self.images, self.labels)

    def student(self, *, labelled: bool = True, rate: float = 1e-3, half_precision: bool | None = None) -> Student:
        return Student(
            self.graph,
            self.plan,
            self.graph,
            (rate, 100),
            labelled=labelled,
            threads=2,
            half_precision=half_precision,
        )


@pytest.fixture(scope="module")
def subject() -> Subject:
    dataset = open_dataset("digits", role="training").sample(24)
    images = pixels(dataset, MINI_SIZE)
    result = calibrated(mini(), images, "symmetric", weight_bits=4)
    assert dataset.labels is not None
    return Subject(result.graph, result.plan, images, dataset.labels)


def log_softmax(logits: Array) -> NDArray[np.float64]:
    wide = logits.astype(np.float64)
    return wide - np.log(np.exp(wide).sum(axis=1, keepdims=True))


@pytest.mark.parametrize("labelled", [False, True])
def test_the_loss_by_its_definition(subject: Subject, labelled: bool) -> None:
    taught = log_softmax(of_onnx(subject.graph, None, subject.images))
    answered = log_softmax(simulated(subject.graph, subject.plan, subject.images))
    losses = (np.exp(taught) * (taught - answered)).sum(axis=1)
    truth = subject.labels if labelled else taught.argmax(axis=1)
    if labelled:
        losses -= answered[np.arange(len(truth)), truth]
    batches = [Batch(subject.images[start:][:7], subject.labels[start:][:7]) for start in range(0, 24, 7)]
    loss, right = subject.student(labelled=labelled).evaluate(batches)
    assert loss == pytest.approx(losses.mean(), rel=1e-3)
    assert right == pytest.approx((answered.argmax(axis=1) == truth).mean())


def test_the_state_is_all_there_is(subject: Subject) -> None:
    """A new student that takes it over goes on as the old one does."""
    one, other = subject.student(), subject.student()
    for _ in range(3):
        one.step(subject.batch, follow=True)
    other.restore(one.state)
    for student in (one, other):
        student.step(subject.batch, follow=True)
    assert [array.tobytes() for array in one.state] == [array.tobytes() for array in other.state]
    assert any((a != b).any() for a, b in zip(one.weights, subject.student().weights, strict=True))


def test_half_precision_trains_the_same_network(subject: Subject) -> None:
    """Variables and ranges stay in single precision, and no other model of the process hears of it."""
    whole, half = subject.student(half_precision=False), subject.student(half_precision=True)
    assert tf_keras.mixed_precision.global_policy().name == "float32"
    assert half.model(subject.images).dtype == np.float16
    assert {variable.dtype.name for variable in half.model.trainable_variables} == {"float32"}
    before, _ = half.evaluate([subject.batch])
    assert before == pytest.approx(whole.evaluate([subject.batch])[0], rel=0.05)
    for student in (whole, half):
        for _ in range(30):
            student.step(subject.batch, follow=True)
    after, _ = half.evaluate([subject.batch])
    assert after < 0.8 * before
    assert after == pytest.approx(whole.evaluate([subject.batch])[0], rel=0.1)
    spans = learned_plan(half.model, subject.graph, subject.plan).ranges
    for name, span in learned_plan(whole.model, subject.graph, subject.plan).ranges.items():
        assert spans[name] == pytest.approx(span, rel=0.02, abs=0.02)


# Batch norm


def float_student(**options: object) -> Student:
    return Student(normalized(), None, normalized(), (1e-3, 100), labelled=True, threads=2, **options)


def statistics(student: Student) -> dict[str, Array]:
    read = read_weights(student.model, normalized())
    return {
        f"{name}.{param}": read[name][param] for name in read for param in ("mean", "variance") if param in read[name]
    }


def test_running_statistics_follow_and_are_of_the_state(subject: Subject) -> None:
    one, other = float_student(), float_student()
    before = statistics(one)
    assert len(before) == 6
    for _ in range(3):
        one.step(subject.batch, follow=True)
    moved = statistics(one)
    assert all((moved[name] != before[name]).all() for name in before)
    other.restore(one.state)
    for student in (one, other):
        student.step(subject.batch, follow=True)
        student.step(subject.batch, follow=False)
    assert [array.tobytes() for array in one.state] == [array.tobytes() for array in other.state]


def test_running_statistics_stay_where_nothing_is_followed(subject: Subject) -> None:
    student = float_student()
    before = statistics(student)
    student.step(subject.batch, follow=False)
    for name, array in statistics(student).items():
        np.testing.assert_array_equal(array, before[name])


@pytest.mark.parametrize(("follow", "as_folded"), [(False, True), (True, False)])
def test_a_step_that_follows_nothing_is_one_of_the_folded_network(
    subject: Subject, follow: bool, as_folded: bool
) -> None:
    folded = prepare(normalized())
    students = (float_student(), Student(folded, None, folded, (1e-3, 100), labelled=True, threads=2))
    kernels = []
    for student, graph in zip(students, (normalized(), folded), strict=True):
        student.step(subject.batch, follow=follow)
        kernels.append(read_weights(student.model, graph)["logits"]["kernel"])
    apart = np.abs(kernels[0] - kernels[1]) > 1e-4  # a first step of Adam is 1e-3, up or down
    assert (apart.mean() < 0.01) == as_folded


# Several devices


def test_two_devices_do_what_one_does() -> None:
    script = Path(__file__).with_name("two_devices.py")
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[1])}
    done = subprocess.run([sys.executable, script], capture_output=True, text=True, env=environment)
    assert done.returncode == 0, done.stderr[-2000:]
