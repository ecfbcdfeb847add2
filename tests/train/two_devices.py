"""Trains on one device and on two, and compares; a process of its own, as a CPU is split before TensorFlow starts."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import tensorflow as tf
from training_support import MINI_SIZE, calibrated, mini, normalized, pixels, with_zeros

from edgex.dataset import open_dataset
from edgex.graph.ir import Graph
from edgex.plan import QuantizationPlan
from edgex.train.batches import Batch
from edgex.train.fake_quant import learned_plan, read_weights
from edgex.train.sparsity import Sparsity
from edgex.train.student import Student

DEVICES = (None, ["CPU:0", "CPU:1"])

UNBIASED = 0.01
"""One device estimates the variance of which a batch is a sample, several take that of the batch itself."""


def trained(
    graph: Graph, plan: QuantizationPlan | None, devices: list[str] | None, options: Mapping[str, Any]
) -> tuple[Student, list[tuple[float, float]]]:
    """A student after some steps, and its loss and accuracy before and after."""
    dataset = open_dataset("digits", role="training").sample(24)
    images = pixels(dataset, MINI_SIZE)
    assert dataset.labels is not None
    batches = [Batch(images[start:][:8], dataset.labels[start:][:8]) for start in (0, 8, 16)]
    odd = [Batch(images[:5], dataset.labels[:5]), Batch(images[5:6], dataset.labels[5:6])]  # 3 and 2; 1, that both get
    student = Student(graph, plan, graph, (1e-3, 6), labelled=True, threads=2, devices=devices, **options)
    state = student.state
    student.restore(state)
    assert all((now == then).all() for now, then in zip(student.state, state, strict=True))
    judged = [student.evaluate(odd)]
    for batch in batches + odd:
        student.step(batch, follow=True)
    student.step(batches[0], follow=False)
    return student, [*judged, student.evaluate(batches)]


def check(graph: Graph, plan: QuantizationPlan | None = None, **options: object) -> None:
    (one, judged), (other, judged_by_two) = (trained(graph, plan, devices, options) for devices in DEVICES)
    np.testing.assert_allclose(judged_by_two, judged, rtol=5e-3)
    weights_of_two = read_weights(other.model, graph)
    for name, params in read_weights(one.model, graph).items():
        for param, array in params.items():
            furthest = UNBIASED * array.max() if param == "variance" else 2e-4
            np.testing.assert_allclose(weights_of_two[name][param], array, atol=furthest, err_msg=f"{name}.{param}")
            np.testing.assert_array_equal(weights_of_two[name][param] == 0, array == 0, err_msg=f"{name}.{param}")
    if plan is not None:
        ranges_of_two = learned_plan(other.model, graph, plan).ranges
        for name, span in learned_plan(one.model, graph, plan).ranges.items():
            np.testing.assert_allclose(ranges_of_two[name], span, rtol=5e-3, atol=5e-3, err_msg=name)


def check_masks(graph: Graph, sparsity: Sparsity) -> None:
    """Of what is pruned before training."""
    one, other = (
        Student(graph, None, graph, (1e-3, 6), labelled=True, threads=2, devices=devices, sparsity=sparsity)
        for devices in DEVICES
    )
    for mine, theirs in zip(one.weights, other.weights, strict=True):
        np.testing.assert_array_equal(mine, theirs)


def main() -> None:
    two = [tf.config.LogicalDeviceConfiguration()] * 2
    tf.config.set_logical_device_configuration(tf.config.list_physical_devices("CPU")[0], two)
    dataset = open_dataset("digits", role="training").sample(24)
    quantized = calibrated(with_zeros(mini()), pixels(dataset, MINI_SIZE), weight_bits=4)
    check(quantized.graph, quantized.plan, keep_zeros=True)
    check_masks(normalized(), Sparsity("2:4", 0.5))
    check(normalized(), sparsity=Sparsity("magnitude", 0.6))


if __name__ == "__main__":
    main()
