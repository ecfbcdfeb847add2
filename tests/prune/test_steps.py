"""Pruning in steps, and what of them an earlier run has kept; with training that changes nothing."""

from pathlib import Path
from typing import Any

import pytest
from pruning_cases import all_macs, demo_xception

import edgex
from edgex.dataset import open_dataset
from edgex.errors import UsageError
from edgex.graph.ir import Graph
from edgex.pipeline import pruning
from edgex.pipeline.calibration import read_model_file
from edgex.pipeline.options import PruneOptions, QuantizeOptions
from edgex.pipeline.pruning import Pruned, check_prunable, prune_model
from edgex.resources import demo_model
from edgex.target import TargetProfile, load_target
from edgex.train.checkpoint import History
from edgex.train.loop import TrainResult


@pytest.fixture
def trained(monkeypatch: pytest.MonkeyPatch) -> list[tuple[Graph, int]]:
    """The graphs that are trained, and for how many epochs."""
    seen: list[tuple[Graph, int]] = []

    def nothing(graph: Graph, _plan: None, _dataset: Any, _preprocessing: Any, options: Any, **_: Any) -> TrainResult:
        seen.append((graph, options.epochs))
        return TrainResult(graph, None, History((1.0,), (0.5,)), 0, 0, labelled=True)

    monkeypatch.setattr(pruning, "train", nothing)
    return seen


def pruned(
    folder: Path,
    sparsity: float | None,
    steps: int,
    latency: float | None = None,
    target: TargetProfile | None = None,
) -> Pruned:
    prune = PruneOptions(sparsity=sparsity, latency=latency, steps=steps, importance="norm")
    options = QuantizeOptions(prune=prune, threads=1)
    source = read_model_file(demo_model(), options)
    images = open_dataset("digits", role="training").sample(80)
    return prune_model(source, images, target, options, folder, lambda *_: None)


def test_each_step_cuts(tmp_path: Path, trained: list[tuple[Graph, int]]) -> None:
    result = pruned(tmp_path / "kept", 0.5, steps=2)
    left = [all_macs(graph) / all_macs(demo_xception()) for graph, _ in trained]
    assert left[1] <= 0.5 < left[0] <= 0.5**0.5
    assert [epochs for _, epochs in trained] == [1, 2]
    assert all_macs(result.graph) == all_macs(trained[1][0])


@pytest.mark.parametrize("steps", [2, 8])
def test_a_step_that_took_more_than_its_share_leaves_the_next_uncut(
    tmp_path: Path, trained: list[tuple[Graph, int]], steps: int
) -> None:
    """Widths go by whole multiples of 8. What is left uncut is not trained again, but for the last time."""
    result = pruned(tmp_path / "kept", 0.05, steps)
    assert [each for _, each in trained] == [1, 2]
    assert all_macs(trained[-1][0]) == all_macs(trained[-2][0]) == all_macs(result.graph)
    assert result.record.macs[1] <= 0.95 * result.record.macs[0]


def test_what_another_version_kept_is_not_taken(
    tmp_path: Path, trained: list[tuple[Graph, int]], monkeypatch: pytest.MonkeyPatch
) -> None:
    pruned(tmp_path / "kept", 0.5, steps=1)
    pruned(tmp_path / "kept", 0.5, steps=1)
    assert len(trained) == 1
    monkeypatch.setattr(edgex, "__version__", "9.9")
    pruned(tmp_path / "kept", 0.5, steps=1)
    assert len(trained) == 2


def test_what_was_timed_for_another_target_is_not_taken(
    tmp_path: Path, trained: list[tuple[Graph, int]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of the same name: a profile is a file, which may be edited."""
    monkeypatch.setattr(pruning, "_sparsity", lambda _job: 0.5)
    cpu = load_target("cpu")
    edited = cpu.model_copy(update={"artifacts": tuple(reversed(cpu.artifacts))})
    for target in (cpu, cpu, edited):
        pruned(tmp_path / "kept", None, 1, latency=0.6, target=target)
    assert len(trained) == 2


def test_a_target_without_integers_has_no_latency_to_get_to() -> None:
    cpu = load_target("cpu")
    floats = cpu.model_copy(update={"artifacts": tuple(kind for kind in cpu.artifacts if kind.precision != "int8")})
    source = read_model_file(demo_model(), QuantizeOptions())
    with pytest.raises(UsageError, match="The target cpu has no INT8 artifacts"):
        check_prunable(source, floats, PruneOptions(latency=0.5))
    check_prunable(source, floats, PruneOptions(sparsity=0.5))
