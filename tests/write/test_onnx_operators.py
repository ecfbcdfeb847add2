"""Each operation in ONNX, run in ONNX Runtime and compared with numpy."""

from dataclasses import replace
from itertools import product
from typing import Any

import numpy as np
import pytest
from onnx_support import min_max_plan, run
from operation_cases import BIAS, CASES, IMAGES, chain, single, weights
from reference import reference, relative_error, sqnr

from edgex.graph.ir import (
    Activation,
    Affine,
    Array,
    BatchNorm,
    Concat,
    Conv2D,
    Dense,
    GlobalAveragePool,
    Graph,
    Input,
    Node,
    Op,
    Relu,
    Reshape,
    SeparableConv2D,
)
from edgex.plan import QuantizationPlan, Range, Scheme
from edgex.quantize.layout import INT8_OPS
from edgex.write.onnx import OnnxForm, onnx_model

TOLERANCE = 2e-6
"""Relative, of float32 sums of some hundred terms."""

HALF_TOLERANCE = 4e-3
"""Relative, of float16: 11 bits, rounded at each step."""

LEAST_SQNR = 30.0
"""Of one INT8 operation, in dB: 8 bits over 8 standard deviations give 41, weights and output add their noise."""

FORMS: dict[str, tuple[Scheme, OnnxForm]] = {
    "U8S8": ("asymmetric", OnnxForm()),
    "S8S8": ("asymmetric", OnnxForm(activation_type="int8")),
    "S8S8 for TensorRT": ("symmetric", OnnxForm(activation_type="int8", bias="float")),
}


INT8_CASES = [case for case, graph in CASES.items() if isinstance(graph.nodes[-1].op, INT8_OPS)]


def computed(graph: Graph, images: Array = IMAGES, plan: QuantizationPlan | None = None, **form: Any) -> Array:
    (found,) = run(onnx_model(graph, plan, OnnxForm(**form)), images).values()
    return found


def expected(graph: Graph, images: Array = IMAGES) -> Array:
    return reference(graph, images)[graph.outputs[0]]


@pytest.mark.parametrize("opset", [13, 17, 21])
@pytest.mark.parametrize("case", CASES)
def test_float_computes_what_numpy_does(case: str, opset: int) -> None:
    graph = CASES[case]
    found = computed(graph, opset=opset)
    assert found.dtype == np.float32
    assert relative_error(found, expected(graph)) < TOLERANCE
    assert relative_error(computed(graph, IMAGES[:1], opset=opset), found[:1]) < TOLERANCE


@pytest.mark.parametrize("case", CASES)
def test_a_thousandth_shows(case: str) -> None:
    graph = CASES[case]
    assert relative_error(computed(graph), expected(graph, IMAGES * 1.001)) > 10 * TOLERANCE


@pytest.mark.parametrize("opset", [13, 17, 21])
@pytest.mark.parametrize("case", CASES)
def test_half_precision_is_close(case: str, opset: int) -> None:
    graph = CASES[case]
    found = computed(graph, opset=opset, float_type="float16")
    assert found.dtype == np.float32
    assert relative_error(found, expected(graph)) < HALF_TOLERANCE
    assert relative_error(found, expected(graph, IMAGES * 1.1)) > HALF_TOLERANCE


def test_same_padding_at_all_sizes() -> None:
    for size, kernel, stride, rate in product((7, 8), (1, 2, 3, 4), (1, 2, 3), (1, 2)):
        op = Conv2D((stride, 1), "same", (rate, 1))
        node = Node("node", op, ("image",), {"kernel": weights(kernel, 3, 6, 4)})
        graph = Graph("test", (Node("image", Input((size, 9, 6))), node), ("node",))
        assert relative_error(computed(graph, IMAGES[:, :size]), expected(graph, IMAGES[:, :size])) < TOLERANCE


def test_the_odd_pixel_on_the_wrong_side_shows() -> None:
    kernel = weights(3, 3, 6, 8)
    same, wrong = (single(Conv2D((2, 1), padding), kernel=kernel) for padding in ("same", ((1, 0), (1, 1))))
    assert relative_error(computed(wrong), expected(same)) > 100 * TOLERANCE


# INT8


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("case", INT8_CASES)
def test_int8_is_close(case: str, form: str) -> None:
    graph = CASES[case]
    scheme, onnx_form = FORMS[form]
    (found,) = run(onnx_model(graph, min_max_plan(graph, IMAGES, scheme), onnx_form), IMAGES).values()
    assert sqnr(found, expected(graph)) > LEAST_SQNR


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("case", INT8_CASES)
def test_int8_with_a_wrong_range_is_not(case: str, form: str) -> None:
    graph = CASES[case]
    scheme, onnx_form = FORMS[form]
    plan = min_max_plan(graph, IMAGES, scheme)
    low, high = plan.ranges[graph.outputs[0]]
    faulty = replace(plan, ranges={**plan.ranges, graph.outputs[0]: Range(low / 4, high / 4)})
    (found,) = run(onnx_model(graph, faulty, onnx_form), IMAGES).values()
    assert sqnr(found, expected(graph)) < LEAST_SQNR


def test_float_neighbours_of_int8_nodes() -> None:
    """A vector's affine has a scale of its own, which is not that of its tensor."""
    graph = chain(
        Node("pool", GlobalAveragePool(), ("image",)),
        Node("norm", Affine(), ("pool",), {"scale": weights(6), "offset": weights(6)}),
        Node("dense", Dense(), ("norm",), {"kernel": weights(6, 5), "bias": BIAS[:5]}),
        Node("silu", Activation("silu"), ("dense",)),
        Node("both", Concat(), ("norm", "silu")),
    )
    plan = min_max_plan(graph, IMAGES)
    assert plan.kept_float == ("norm", "silu", "both")
    assert set(plan.ranges) == {"image", "pool", "norm", "dense"}
    assert sqnr(computed(graph, plan=plan), expected(graph)) > LEAST_SQNR


# Names, refusals


@pytest.mark.parametrize("name", ["zero", "gelu", "half", "scale"])
@pytest.mark.parametrize("op", [Activation("gelu"), Relu(6.0), Reshape((9, 10, 6)), Activation("hard_silu")])
def test_layers_may_have_any_name(name: str, op: Op) -> None:
    graph = chain(Node(name, op, ("image",)), Node(f"{name}_1", op, (name,)))
    assert relative_error(computed(graph), expected(graph)) < TOLERANCE


@pytest.mark.parametrize(
    "graph",
    [
        single(BatchNorm(), **{key: np.ones(6, np.float32) for key in ("gamma", "beta", "mean", "variance")}),
        single(SeparableConv2D(), depthwise=weights(3, 3, 6, 1), pointwise=weights(1, 1, 6, 4)),
        single(Dense(), kernel=weights(6, 4)),
    ],
    ids=["batch norm", "separable convolution", "dense over an image"],
)
def test_what_a_pass_should_have_replaced_is_refused(graph: Graph) -> None:
    with pytest.raises(ValueError, match=r"^node: .* has no ONNX form; a pass should replace it"):
        onnx_model(graph)


def test_a_plan_in_half_precision_is_refused() -> None:
    graph = CASES["relu"]
    with pytest.raises(ValueError, match="float16"):
        onnx_model(graph, min_max_plan(graph, IMAGES), OnnxForm(float_type="float16"))
