"""What is kept beside an output, under which keys, and how a sparsity is searched for."""

from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from graphs import tiny_xception

from edgex.errors import UsageError
from edgex.graph.ir import Graph
from edgex.pipeline.latency import TRIALS, sparsity_for
from edgex.pipeline.stages import digest, key_of, unfinished


def test_what_is_finished_goes(tmp_path: Path) -> None:
    with unfinished(tmp_path / "out") as folder:
        assert not folder.exists(), "who writes makes it"
        folder.mkdir()
        (folder / "half").touch()
    assert list(tmp_path.iterdir()) == []


def test_what_is_interrupted_stays(tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt):
        _broken_off(tmp_path / "out", KeyboardInterrupt(), "half")
    assert (tmp_path / ".out.unfinished" / "half").exists()


def test_nothing_begun_leaves_nothing(tmp_path: Path) -> None:
    with pytest.raises(UsageError):
        _broken_off(tmp_path / "out", UsageError("refused"))
    assert list(tmp_path.iterdir()) == []


def _broken_off(output: Path, by: BaseException, *written: str) -> None:
    with unfinished(output) as folder:
        folder.mkdir()
        for name in written:
            (folder / name).touch()
        raise by


def test_a_folder_that_is_given_is_kept(tmp_path: Path) -> None:
    with unfinished(tmp_path / "out", tmp_path / "kept") as folder:
        folder.mkdir()
        (folder / "whole").touch()
    assert (tmp_path / "kept" / "whole").exists()


def test_a_key_is_of_all_parts() -> None:
    assert key_of(a=1, b="x") == key_of(b="x", a=1)
    assert len({key_of(a=1, b="x"), key_of(a=2, b="x"), key_of(a=1), key_of(a=1, b="x", c=None)}) == 4


def test_a_digest_is_of_structure_and_weights() -> None:
    graph = tiny_xception()
    assert digest(graph) == digest(tiny_xception())
    node = next(node for node in graph.nodes if "kernel" in node.params)
    kernel = node.params["kernel"].copy()
    kernel.flat[0] = np.nextafter(kernel.flat[0], np.float32(9))
    assert digest(graph.rewrite({node.name: [node.with_params(kernel=kernel)]})) != digest(graph)


@dataclass(frozen=True)
class Clock:
    """A stopwatch of networks whose latency is what is left of their work, and a fixed part."""

    fixed: float
    original: Graph
    kinds: tuple[str, ...] = ("int8.onnx",)

    def ratio(self, left: float, _kind: str) -> Any:
        return SimpleNamespace(ratio=self.fixed + (1 - self.fixed) * left)


@pytest.mark.parametrize(("latency", "sparsity"), [(0.9, 0.125), (0.6, 0.5), (0.4, 0.75)])
def test_the_least_sparsity_is_found(latency: float, sparsity: float) -> None:
    clock: Any = Clock(0.2, tiny_xception())
    share = sparsity_for(latency, lambda share: 1 - share, clock, lambda *_: None)
    assert 0 <= share - sparsity < 1 / 2**TRIALS
    assert clock.ratio(1 - share, "").ratio <= latency


def test_a_latency_out_of_reach() -> None:
    clock: Any = Clock(0.5, tiny_xception())
    with pytest.raises(UsageError, match=r"0\.3 of its latency"):
        sparsity_for(0.3, lambda share: 1 - share, clock, lambda *_: None)


def test_more_than_there_is_to_take_out_is_not_searched() -> None:
    clock: Any = Clock(0.0, tiny_xception())

    def left(share: float) -> Any:
        if share > 0.3:
            raise UsageError("that is more than there is")
        return 1 - share

    assert sparsity_for(0.8, left, clock, lambda *_: None) == pytest.approx(0.2, abs=1 / 2**TRIALS)
    with pytest.raises(UsageError, match="of its latency"):
        sparsity_for(0.5, left, clock, lambda *_: None)
