"""The student: its loss by the definition, on one device or several, in single precision or half."""

import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest
import tf_keras
from numpy.typing import NDArray
from training_support import MINI_SIZE, calibrated, mini, of_onnx, pixels, simulated

from edgex.dataset import open_dataset
from edgex.graph.ir import Array, Graph
from edgex.plan import QuantizationPlan
from edgex.train.batches import Batch
from edgex.train.fake_quant import learned_plan
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


TWO_DEVICES = """
import sys
import numpy as np
import tensorflow as tf

sys.path[:0] = sys.argv[1:]
two = [tf.config.LogicalDeviceConfiguration()] * 2
tf.config.set_logical_device_configuration(tf.config.list_physical_devices("CPU")[0], two)

from training_support import MINI_SIZE, calibrated, mini, pixels
from edgex.dataset import open_dataset
from edgex.train.batches import Batch
from edgex.train.fake_quant import learned_plan, read_weights
from edgex.train.student import Student

dataset = open_dataset("digits", role="training").sample(24)
images = pixels(dataset, MINI_SIZE)
result = calibrated(mini(), images, weight_bits=4)
batches = [Batch(images[start:][:8], dataset.labels[start:][:8]) for start in (0, 8, 16)]
odd = [Batch(images[:5], dataset.labels[:5]), Batch(images[5:6], dataset.labels[5:6])]  # 3 and 2; 1, that both get
seen = []
for devices in (None, ["CPU:0", "CPU:1"]):
    student = Student(
        result.graph, result.plan, result.graph, (1e-3, 100), labelled=True, threads=2, devices=devices
    )
    state = student.state
    judged = [student.evaluate(odd)]
    for batch in batches + odd:
        student.step(batch, follow=True)
    judged.append(student.evaluate(batches))
    weights = [array for pair in read_weights(student.model, result.graph).values() for array in pair]
    seen.append((judged, weights, learned_plan(student.model, result.graph, result.plan).ranges))
    student.restore(state)
    assert all((now == then).all() for now, then in zip(student.state, state, strict=True))

(judged, weights, ranges), (judged_by_two, weights_of_two, ranges_of_two) = seen
np.testing.assert_allclose(judged_by_two, judged, rtol=1e-3)
for one, other in zip(weights, weights_of_two, strict=True):
    np.testing.assert_allclose(other, one, atol=2e-4)
moved = 0.0
for name, span in ranges.items():
    np.testing.assert_allclose(ranges_of_two[name], span, rtol=5e-3, atol=5e-3)
    moved = max(moved, np.abs(np.subtract(span, result.plan.ranges[name])).max())
print("moved", moved, "apart", max(np.abs(a - b).max() for a, b in zip(weights, weights_of_two, strict=True)))
"""


def test_two_devices_do_what_one_does() -> None:
    tests = Path(__file__).parents[1]
    command = [sys.executable, "-c", TWO_DEVICES, tests, tests / "train"]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-2000:]
