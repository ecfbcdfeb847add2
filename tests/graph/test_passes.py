"""Each pass keeps what the graph computes; one that were wrong would show.

Before and after are computed by the numpy reference, and what is ready for it also by ONNX Runtime.
"""

from dataclasses import replace

import numpy as np
import pytest
from numpy.typing import NDArray
from pass_cases import CASES, CONV, PADS, SEPARABLE, SHAPE, affine, graph, layer, norm, spelled_out, weights
from reference import reference, relative_error

from edgex.execute import tensor_values
from edgex.graph.ir import (
    Activation,
    Add,
    Affine,
    BatchNorm,
    Conv2D,
    Dense,
    Flatten,
    Graph,
    Identity,
    Input,
    Multiply,
    Node,
    Pad,
    Relu,
    SeparableConv2D,
    Softmax,
)
from edgex.graph.passes import PREPARATION, prepare
from edgex.graph.passes.fold import fold_affine, fold_padding
from edgex.graph.passes.simplify import merge_separable, recognize_hard_activations, split_separable

TOLERANCE = 1e-5
"""Relative: float32 weights are rounded once more, which costs some 1e-7 each."""

IMAGES = np.random.default_rng(0).normal(0.0, 2.0, (3, *SHAPE)).astype(np.float32)


def outputs(of: Graph) -> list[NDArray[np.float64]]:
    values = reference(of, IMAGES)
    return [values[name] for name in of.outputs]


def largest_error(after: Graph, before: Graph) -> float:
    pairs = zip(outputs(after), outputs(before), strict=True)
    return max(relative_error(found, expected) for found, expected in pairs)


def with_fault(after: Graph) -> Graph | None:
    """The graph with a hundredth added to one of its weights, in the middle of the last node that has any."""
    node = next((node for node in reversed(after.nodes) if node.params), None)
    if node is None:
        return None
    key = next(iter(node.params))
    array = node.params[key].copy()
    array.flat[array.size // 2] += 0.01 * np.abs(array).max()
    return after.rewrite({node.name: [node.with_params(**{key: array})]})


@pytest.mark.parametrize("case", CASES)
def test_a_pass_keeps_the_function(case: str) -> None:
    run, before, changed, kept, operations = CASES[case]
    result = run(before)
    assert largest_error(result.graph, before) < TOLERANCE
    assert (result.changed, result.kept) == (changed, kept)
    assert {type(node.op) for node in result.graph.nodes} == {Input, *operations}


@pytest.mark.parametrize("case", [name for name, case in CASES.items() if with_fault(case.run(case.before).graph)])
def test_one_wrong_weight_shows(case: str) -> None:
    before = CASES[case].before
    faulty = with_fault(CASES[case].run(before).graph)
    assert faulty is not None
    assert largest_error(faulty, before) > TOLERANCE


@pytest.mark.parametrize("pair", [("mean", "variance"), ("gamma", "beta"), ("beta", "mean")], ids="-".join)
def test_swapped_statistics_show(pair: tuple[str, str]) -> None:
    before = graph(CONV, norm("norm", "conv", 8))
    one, other = (before["norm"].params[key] for key in pair)
    swapped = before["norm"].with_params(**{pair[0]: other, pair[1]: one})
    folded = fold_affine(before.rewrite({"norm": [swapped]})).graph
    assert largest_error(folded, before) > 100 * TOLERANCE


def test_padding_folded_the_wrong_way_round_shows() -> None:
    before = CASES["padding into a convolution"].before
    turned = replace(before["pad"], op=Pad((PADS[0][::-1], PADS[1])))
    assert largest_error(fold_padding(before.rewrite({"pad": [turned]})).graph, before) > 100 * TOLERANCE


def test_folding_reads_the_epsilon() -> None:
    before = graph(CONV, norm("norm", "conv", 8, epsilon=1e-2))
    other = graph(CONV, norm("norm", "conv", 8, epsilon=1e-3))
    assert largest_error(fold_affine(other).graph, before) > 100 * TOLERANCE


def test_names_after_a_split() -> None:
    after = split_separable(graph(SEPARABLE, layer("relu", Relu(), "separable"), outputs=("relu", "separable"))).graph
    assert [node.name for node in after.nodes] == ["image", "separable.depthwise", "separable.pointwise", "relu"]
    assert after.outputs == ("relu", "separable.pointwise")
    assert "bias" not in after["separable.depthwise"].params


def test_merging_undoes_the_split() -> None:
    before = network()
    after = merge_separable(split_separable(before).graph).graph
    assert "separable" in after
    assert after.outputs == before.outputs
    for node, same in zip(after.nodes, before.nodes, strict=True):
        assert (node.name, node.op, node.inputs) == (same.name, same.op, same.inputs)
        assert node.params.keys() == same.params.keys()
        assert all((array == same.params[key]).all() for key, array in node.params.items())


def test_a_hard_activation_takes_the_place_of_its_parts() -> None:
    before = graph(*spelled_out(), Node("silu", Multiply(), ("image", "sixth")))
    after = recognize_hard_activations(before).graph
    assert [(node.name, node.op) for node in after.nodes[1:]] == [("silu", Activation("hard_silu"))]


def network() -> Graph:
    """Something of everything that preparation takes away."""
    return graph(
        affine("rescaling", "image", 6),
        layer("pad", Pad(((0, 1), (0, 1))), "rescaling"),
        layer("conv", Conv2D((2, 2)), "pad", kernel=weights(3, 3, 6, 8)),
        norm("norm", "conv", 8),
        layer("relu", Relu(), "norm"),
        layer(
            "separable",
            SeparableConv2D(padding="same"),
            "relu",
            depthwise=weights(3, 3, 8, 1),
            pointwise=weights(1, 1, 8, 8),
        ),
        norm("separable_norm", "separable", 8),
        layer("dense", Dense(), "relu", kernel=weights(8, 8)),
        Node("sum", Add(), ("separable_norm", "relu", "dense")),
        norm("pre_norm", "sum", 8),
        layer("pre_relu", Relu(6.0), "pre_norm"),
        layer("dropout", Identity(), "pre_relu"),
        layer("silu", Activation("silu"), "dropout"),
        layer("flat", Flatten(), "silu"),
        norm("flat_norm", "flat", 128),
        layer("head", Dense(), "flat_norm", kernel=weights(128, 5), bias=weights(5)),
        norm("head_norm", "head", 5),
        layer("softmax", Softmax(), "head_norm"),
        outputs=("softmax", "head_norm"),
    )


def test_preparation_keeps_the_function_in_the_runtime_too() -> None:
    before = network()
    after = prepare(before)
    expected = outputs(before)
    for found, wanted in zip(tensor_values(after, after.outputs)(IMAGES), expected, strict=True):
        assert relative_error(found, wanted) < TOLERANCE
    faulty = after.rewrite({"pre_norm": [after["pre_norm"].with_params(bias=np.zeros(8))]})
    assert relative_error(tensor_values(faulty, faulty.outputs)(IMAGES)[1], expected[1]) > 100 * TOLERANCE


def test_preparation_leaves_only_what_writers_know() -> None:
    after = prepare(network())
    left = {type(node.op) for node in after.nodes}
    assert not left & {Identity, SeparableConv2D, BatchNorm, Pad}
    assert [node.name for node in after.nodes if isinstance(node.op, Affine)] == ["flat_norm"]
    assert all(len(node.inputs) == 2 for node in after.nodes if isinstance(node.op, Add))


def test_preparation_changes_nothing_twice() -> None:
    once = prepare(network())
    assert [run(once).changed for run in PREPARATION] == [()] * len(PREPARATION)
