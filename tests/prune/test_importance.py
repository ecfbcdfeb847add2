"""What each measure makes of weights, batch norms and derivatives that are known."""

import numpy as np
import pytest
from pruning_cases import CASES, IMAGES, classifier, conv, norm, plain
from reference import reference

from edgex.errors import ModelError
from edgex.graph.ir import Add, Array, BatchNorm, Graph, Node, Relu
from edgex.prune.channels import couple
from edgex.prune.importance import batch_norm_scale, gate_tensors, taylor, weight_norm


def stream() -> Graph:
    """A width that two layers make, one of them with a batch norm behind, and one of a single layer."""
    return classifier(
        "stream",
        conv("one", "image", 3, 4, 3),
        norm("one_bn", "one", 4),
        conv("two", "image", 3, 4),
        plain("sum", Add(), "one_bn", "two"),
        conv("last", "sum", 4, 3),
        norm("last_bn", "last", 3),
    )


def over_mean(values: Array) -> Array:
    return np.asarray(values / values.mean())


def test_the_weight_norm_is_that_of_filters_over_their_mean() -> None:
    graph = stream()
    coupling = couple(graph)
    norms = {
        name: over_mean(np.sqrt(np.square(graph[name].params["kernel"]).sum(axis=(0, 1, 2))))
        for name in ("one", "two", "last")
    }
    found = weight_norm(graph, coupling)
    assert found.shape == (coupling.count,)
    assert found[coupling.units["sum"]] == pytest.approx(norms["one"] + norms["two"], rel=1e-6)
    assert found[coupling.units["last"]] == pytest.approx(norms["last"], rel=1e-6)


def test_scales_of_batch_norms_count_without_their_sign() -> None:
    graph = stream()
    gamma = np.array([0.5, -2.0, 1.0, 0.1])
    graph = graph.rewrite({"one_bn": [graph["one_bn"].with_params(gamma=gamma)]})
    coupling = couple(graph)
    found = batch_norm_scale(graph, coupling)
    assert found[coupling.units["sum"]] == pytest.approx(over_mean(np.abs(gamma)), rel=1e-6)
    assert found[coupling.units["last"]] == pytest.approx(over_mean(graph["last_bn"].params["gamma"]), rel=1e-6)


def test_a_unit_that_is_there_twice_counts_twice() -> None:
    graph = CASES["doubled"].graph
    coupling = couple(graph)
    norms = {
        name: over_mean(np.linalg.norm(graph[name].params["kernel"].reshape(-1, channels), axis=0))
        for name, channels in (("narrow", 16), ("wide", 32))
    }
    expected = norms["narrow"] + norms["wide"].reshape(16, 2).sum(axis=1)
    assert weight_norm(graph, coupling)[coupling.units["narrow"]] == pytest.approx(expected, rel=1e-6)


@pytest.mark.filterwarnings("error")
def test_a_layer_of_zeros_has_no_importance() -> None:
    graph = stream()
    graph = graph.rewrite({"last": [graph["last"].with_params(kernel=np.zeros((1, 1, 4, 3)))]})
    coupling = couple(graph)
    assert weight_norm(graph, coupling)[coupling.units["last"]].tolist() == [0, 0, 0]


def without_scale(node: Node) -> Node:
    return Node(node.name, BatchNorm(), node.inputs, {k: v for k, v in node.params.items() if k != "gamma"})


def test_a_width_without_a_scale_is_refused() -> None:
    graph = stream()
    unscaled = graph.rewrite({"last_bn": [without_scale(graph["last_bn"])]})
    behind_relu = graph.rewrite({"last_bn": [plain("relu", Relu(), "last"), norm("last_bn", "relu", 3)]})
    for refused in (unscaled, behind_relu):
        with pytest.raises(ModelError, match="right behind last") as caught:
            batch_norm_scale(refused, couple(refused))
        assert "--importance taylor" in caught.value.fix


def test_gates_stand_behind_layers_and_their_batch_norms() -> None:
    graph = stream()
    assert gate_tensors(graph, couple(graph)) == ("one_bn", "two", "last_bn")
    residual = CASES["residual"].graph
    gates = ("stem_bn", "inner_bn", "outer_bn", "third", "shortcut", "wider")
    assert gate_tensors(residual, couple(residual)) == gates


def test_a_batch_norm_that_is_not_alone_is_behind_the_gate() -> None:
    """It reads the channel through the gate, and so do the others."""
    graph = classifier("test", conv("conv", "image", 3, 4), norm("bn", "conv", 4), plain("sum", Add(), "conv", "bn"))
    assert gate_tensors(graph, couple(graph)) == ("conv",)


def losses(graph: Graph) -> Array:
    """Of each image, and far from linear."""
    return np.square(reference(graph, IMAGES)["logits"] - 1.0).sum(axis=1)


def gated(graph: Graph, gates: dict[str, Array]) -> Graph:
    """The graph with factors on the channels of some layers or batch norms."""
    replacements = {}
    for name, factors in gates.items():
        keys = ("gamma", "beta") if isinstance(graph[name].op, BatchNorm) else ("kernel",)
        params = {key: graph[name].params[key] * factors for key in keys}
        replacements[name] = [graph[name].with_params(**params)]
    return graph.rewrite(replacements)


def derivative(graph: Graph, gates: dict[str, Array], step: float = 1e-2) -> Array:
    """Of each image's loss along a direction of gates, (images,), by central differences."""
    ahead, back = (
        losses(gated(graph, {name: 1 + sign * step * along for name, along in gates.items()})) for sign in (1, -1)
    )
    return np.asarray((ahead - back) / (2 * step))


def test_taylor_is_the_derivative_by_all_gates_at_once() -> None:
    graph = stream()
    coupling = couple(graph)
    channels = {name: graph.shapes[name][-1] for name in gate_tensors(graph, coupling)}
    gradients = {
        name: np.stack([derivative(graph, {name: one}) for one in np.eye(count)], axis=1)
        for name, count in channels.items()
    }
    found = taylor(gradients, coupling)
    assert found.shape == (coupling.count,)
    for width in coupling.widths:
        for unit in width.units:
            everywhere = {name: (coupling.units[name] == unit).astype(np.float64) for name in channels}
            assert found[unit] == pytest.approx(np.square(derivative(graph, everywhere)).mean(), rel=1e-3)


def test_places_of_opposite_effect_cancel() -> None:
    """And an image with no effect halves what one with some has."""
    graph = CASES["doubled"].graph
    coupling = couple(graph)
    narrow, wide = np.zeros((2, 16)), np.zeros((2, 32))
    narrow[0, :2] = 3.0
    wide[0, :4] = [-3.0, 0.0, 1.0, 2.0]
    found = taylor({"narrow": narrow, "wide": wide}, coupling)
    assert found[coupling.units["narrow"]][:3].tolist() == [0, 18, 0]
