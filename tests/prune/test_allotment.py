"""Which units go, against the same choice by rebuilding graphs."""

import numpy as np
import pytest
from pruning_cases import CASES, all_macs, classifier, conv, plain

from edgex.errors import UsageError
from edgex.graph.ir import Graph, Relu
from edgex.prune.allotment import LEAST_SHARE, choose
from edgex.prune.channels import Coupling, Units, couple, remove
from edgex.prune.importance import Importance


def random_importance(coupling: Coupling) -> Importance:
    return np.random.default_rng(3).uniform(0, 1, coupling.count) ** 2


def by_rebuilding(graph: Graph, importance: Importance, sparsity: float, multiple: int) -> Units:
    """The greedy choice as it is told, from the MACs of one graph after another."""
    coupling = couple(graph)
    left = {width.name: sorted(width.units, key=lambda unit: importance[unit]) for width in coupling.widths}
    least = {name: max(multiple, LEAST_SHARE * len(units)) for name, units in left.items()}
    gone: list[int] = []

    def macs_without(units: list[int]) -> int:
        return all_macs(remove(graph, coupling, np.array([*gone, *units], np.int64)))

    while macs_without([]) > (1 - sparsity) * all_macs(graph):
        rates = {}
        for name, units in left.items():
            chunk = units[: len(units) % multiple or multiple]
            if len(units) - len(chunk) >= least[name]:
                rates[name] = importance[chunk].sum() / (macs_without([]) - macs_without(chunk))
        best = min(rates, key=lambda name: rates[name])
        count = len(left[best]) % multiple or multiple
        gone += left[best][:count]
        left[best] = left[best][count:]
    return np.sort(gone)


@pytest.mark.parametrize("multiple", [4, 6])
@pytest.mark.parametrize("name", CASES)
def test_the_least_importance_for_what_is_saved_goes_first(name: str, multiple: int) -> None:
    graph = CASES[name].graph
    coupling = couple(graph)
    importance = random_importance(coupling)
    found = choose(graph, coupling, importance, 0.45, multiple)
    assert found.tolist() == by_rebuilding(graph, importance, 0.45, multiple).tolist()


def test_what_costs_nothing_goes_before_what_saves_most() -> None:
    graph = classifier("test", conv("one", "image", 3, 32, 3), conv("two", "one", 32, 32, 3))
    coupling = couple(graph)
    importance = np.ones(coupling.count)
    importance[coupling.units["two"][[1, 5, 7, 9, 20, 22, 30, 31]]] = 0
    found = choose(graph, coupling, importance, 0.01, 8)
    assert found.tolist() == coupling.units["two"][[1, 5, 7, 9, 20, 22, 30, 31]].tolist()


def test_widths_come_down_to_whole_multiples_and_not_to_nothing() -> None:
    graph = classifier("test", conv("one", "image", 3, 141, 3), conv("two", "one", 141, 13, 3))
    coupling = couple(graph)
    importance = np.where(np.isin(np.arange(coupling.count), coupling.units["one"]), 0.0, 1.0)
    counts = []
    for sparsity in (0.01, 0.04, 0.5, 0.82, 0.85):
        gone = choose(graph, coupling, importance, sparsity, 8)
        counts.append([int((~np.isin(coupling.units[name], gone)).sum()) for name in ("one", "two")])
    assert counts == [[136, 13], [128, 13], [64, 13], [24, 13], [24, 8]], "an eighth of 141 is more than 16"


@pytest.mark.parametrize("sparsity", [-0.5, 0.0, 1.0, 1.5])
def test_a_sparsity_that_is_no_share_is_refused(sparsity: float) -> None:
    graph = CASES["residual"].graph
    coupling = couple(graph)
    with pytest.raises(UsageError, match="is not between 0 and 1") as caught:
        choose(graph, coupling, random_importance(coupling), sparsity, 8)
    assert caught.value.fix


def test_a_sparsity_out_of_reach_is_refused() -> None:
    graph = CASES["residual"].graph
    coupling = couple(graph)
    least = remove(graph, coupling, np.concatenate([width.units[8:] for width in coupling.widths]))
    reach = 1 - all_macs(least) / all_macs(graph)
    assert len(choose(graph, coupling, random_importance(coupling), reach - 1e-9, 8)) == 8 + 16 + 16
    with pytest.raises(UsageError, match="is more than residual can lose") as caught:
        choose(graph, coupling, random_importance(coupling), reach + 1e-9, 8)
    assert f" {int(100 * reach)} % of its" in caught.value.message


def test_a_graph_without_widths_can_lose_nothing() -> None:
    graph = classifier("test", plain("relu", Relu(), "image"))
    with pytest.raises(UsageError, match="is more than test can lose"):
        choose(graph, couple(graph), np.zeros(3 + 5), 0.5, 8)
