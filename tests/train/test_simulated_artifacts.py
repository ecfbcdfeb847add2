"""What training simulates is what the files compute: each layer almost to the bit, and so the answers of networks."""

import re
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pytest
from graphs import tiny_xception
from onnx_support import run as run_onnx
from reference import sqnr
from test_train_network import CASES, IMAGES
from training_support import FORMS, apart, calibrated, of_onnx, of_tflite, pixels, simulated

from edgex.dataset import open_dataset
from edgex.graph.ir import Array, AveragePool2D, Graph, Input, Resize
from edgex.graph.passes import prepare
from edgex.graph.read import read_model
from edgex.plan import QuantizationPlan, Range, Scheme, WeightBits
from edgex.quantize.layout import INT8_OPS
from edgex.resources import demo_model
from edgex.train import fake_quant
from edgex.train.fake_quant import PREFIX, quantize_network
from edgex.train.network import keras_model, layer_name
from edgex.write.onnx import onnx_model

LEAST_SQNR = 30.0
"""Of logits, simulated against computed, in dB. Sums in another order round a few values to the next step, which many
layers later is 34 to 44 dB."""

MOST_ROUNDED_OTHERWISE: dict[WeightBits, float] = {8: 0.01, 4: 0.06}
"""Share of a layer's values, given the same to read; by one step, and no further. Measured are 0.002 and 0.04: files
round biases to steps of the weights' scale, which simulations do not, and with 4 bits those are coarse."""

MOST_TIES = 0.25
"""Share of averages that lie halfway between two steps, and which way those go depends on the processor: TensorFlow
multiplies by the reciprocal where another divides. Of four values one average in four is such a tie, of six one in
six; of pixels halfway between four, one in sixteen."""

INT8_CASES = [case for case, graph in CASES.items() if isinstance(graph.nodes[-1].op, INT8_OPS)]
SCHEMES: tuple[Scheme, ...] = ("asymmetric", "symmetric")


@dataclass(frozen=True)
class Subject:
    """A quantized network that ends at its logits, its simulation, and images for it."""

    graph: Graph
    plan: QuantizationPlan
    model: Any
    images: Array


def subject(
    graph: Graph, scheme: Scheme = "asymmetric", bits: WeightBits = 8, keep_float: str | None = None
) -> Subject:
    size = graph.shapes[graph.inputs[0].name][0]
    images = pixels(open_dataset("digits", role="training").sample(64), size)
    pattern = None if keep_float is None else re.compile(keep_float)
    result = calibrated(graph, images[:24], scheme, weight_bits=bits, keep_float=pattern)
    return Subject(
        result.graph, result.plan, quantize_network(keras_model(result.graph), result.graph, result.plan), images
    )


def rounded_otherwise(subject: Subject, plan: QuantizationPlan) -> tuple[float, float]:
    """Compare each layer of the simulation with the artifact of a plan, both given what the artifact holds.

    Returns:
        The largest difference, in steps of the tensor, and the largest share of a tensor's values that differ.
    """
    stored = [node.name for node in subject.graph.nodes if node.name in plan.ranges and not isinstance(node.op, Input)]
    artifact = onnx_model(replace(subject.graph, outputs=tuple(stored)), plan, FORMS[plan.scheme])
    written = run_onnx(artifact, subject.images)
    layers = {layer.name.removeprefix(PREFIX): layer for layer in subject.model.layers}
    values: dict[str, Any] = {}
    furthest, most = 0.0, 0.0
    for node in subject.graph.nodes:
        inputs = [values[name] for name in node.inputs] or [subject.images]
        made = layers[layer_name(node.name)](inputs if len(inputs) > 1 else inputs[0], training=False)
        values[node.name] = written.get(node.name, made)
        if node.name in written:
            scale = plan.parameters(node.name).scale
            # A file can hold -128 too, where a symmetric plan ends at -127
            lowest = -127 * scale if plan.scheme == "symmetric" else -np.inf
            steps = np.abs(made.numpy() - np.maximum(written[node.name], lowest)) / scale
            furthest, most = max(furthest, steps.max()), max(most, (steps > 0.01).mean())
    return float(furthest), float(most)


def shows(subject: Subject, plan: QuantizationPlan) -> bool:
    """Whether a simulation of another plan is found out."""
    furthest, most = rounded_otherwise(subject, plan)
    return furthest > 1.01 or most > MOST_ROUNDED_OTHERWISE[plan.weight_bits]


def check_answers(subject: Subject) -> None:
    answers = subject.model(subject.images, training=False).numpy()
    for runtime in (of_onnx, of_tflite):
        written = runtime(subject.graph, subject.plan, subject.images)
        assert sqnr(answers, written) > LEAST_SQNR
        assert apart(answers, written) <= 1


@pytest.mark.parametrize("keep_float", [None, "block2_sepconv1|add_1"])
@pytest.mark.parametrize("bits", [8, 4])
@pytest.mark.parametrize("scheme", SCHEMES)
def test_a_small_network(scheme: Scheme, bits: WeightBits, keep_float: str | None) -> None:
    small = subject(tiny_xception(), scheme, bits, keep_float)
    assert not shows(small, small.plan)
    check_answers(small)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("scheme", "bits", "keep_float"), [("asymmetric", 8, "block5_sepconv2|block13_pool"), ("symmetric", 4, None)]
)
def test_the_demo_model(scheme: Scheme, bits: WeightBits, keep_float: str | None) -> None:
    demo = subject(prepare(read_model(demo_model())), scheme, bits, keep_float)
    assert not shows(demo, demo.plan)
    check_answers(demo)


@pytest.mark.parametrize("scheme", SCHEMES)
@pytest.mark.parametrize("case", INT8_CASES)
def test_each_operation(case: str, scheme: Scheme) -> None:
    result = calibrated(CASES[case], IMAGES, scheme, method="minmax", equalize=False)
    found, expected = (run(result.graph, result.plan, IMAGES) for run in (simulated, of_onnx))
    steps = np.abs(found - expected) / result.plan.parameters(result.graph.outputs[0]).scale
    assert steps.max() < 1.01
    averages = isinstance(result.graph.nodes[-1].op, AveragePool2D | Resize)
    assert (steps > 0.01).mean() < (MOST_TIES if averages else MOST_ROUNDED_OTHERWISE[8])


# What must show


@pytest.fixture(scope="module")
def sound() -> Subject:
    return subject(tiny_xception())


def with_range(plan: QuantizationPlan, tensor: str, factor: float) -> QuantizationPlan:
    low, high = plan.ranges[tensor]
    return replace(plan, ranges={**plan.ranges, tensor: Range(factor * low, factor * high)})


WRONG: dict[str, Callable[[QuantizationPlan], QuantizationPlan]] = {
    "a range of another size": lambda plan: with_range(plan, "add", 1.02),
    "a range of a tensor in the middle": lambda plan: with_range(plan, "block3_sepconv2.depthwise", 0.98),
    "a tensor in float": lambda plan: replace(
        plan, ranges={name: span for name, span in plan.ranges.items() if name != "block3_sepconv2.depthwise"}
    ),
    "another scheme": lambda plan: replace(plan, scheme="symmetric"),
    "weights of other bits": lambda plan: replace(plan, weight_bits=4),
}


@pytest.mark.parametrize("wrong", WRONG)
def test_another_plan_shows(sound: Subject, wrong: str) -> None:
    model = quantize_network(keras_model(sound.graph), sound.graph, WRONG[wrong](sound.plan))
    assert shows(replace(sound, model=model), sound.plan)


def test_depthwise_weights_by_their_last_axis_show(sound: Subject, monkeypatch: pytest.MonkeyPatch) -> None:
    """That is what TensorFlow Model Optimization does by itself."""

    class ByLastAxis(fake_quant.KernelQuantizer):
        def __init__(self, bits: WeightBits, *, depthwise: bool) -> None:  # noqa: ARG002  what is wrong about it
            super().__init__(bits, depthwise=False)

    monkeypatch.setattr(fake_quant, "KernelQuantizer", ByLastAxis)
    wrong = replace(sound, model=quantize_network(keras_model(sound.graph), sound.graph, sound.plan))
    assert shows(wrong, sound.plan)
    with pytest.raises(AssertionError):
        check_answers(wrong)
