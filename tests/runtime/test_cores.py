"""Runs are kept on a core, and let go again."""

import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest

from edgex.runtime import one_core
from edgex.runtime.cores import MOST_HERTZ, fastest_cores

linux = pytest.mark.skipif(
    not hasattr(os, "sched_getaffinity"), reason="the system does not place processes on request"
)


def save_clocks(root: Path, clocks: Mapping[int, str]) -> Path:
    for core, text in clocks.items():
        file = root / MOST_HERTZ.format(core)
        file.parent.mkdir(parents=True)
        file.write_text(text)
    return root


def test_large_cores_are_the_fastest(tmp_path: Path) -> None:
    root = save_clocks(tmp_path, {0: "1800000\n", 1: "2400000\n", 2: "1800000\n", 3: "2400000\n"})
    assert fastest_cores({0, 1, 2, 3}, root) == [1, 3]
    assert fastest_cores({2, 0}, root) == [0, 2]


@pytest.mark.parametrize("clocks", [{}, {0: "unknown\n", 1: ""}])
def test_cores_of_unknown_clock_are_alike(tmp_path: Path, clocks: Mapping[int, str]) -> None:
    assert fastest_cores({1, 0}, save_clocks(tmp_path, clocks)) == [0, 1]


@linux
def test_processes_started_meanwhile_stay_on_one_core() -> None:
    before = os.sched_getaffinity(0)
    fastest = fastest_cores(before)
    for number in range(len(fastest) + 1):
        with one_core(number):
            command = [sys.executable, "-c", "import os; print(*os.sched_getaffinity(0))"]
            child = subprocess.run(command, capture_output=True, text=True, check=True).stdout
        assert child.split() == [str(fastest[number % len(fastest)])]
        assert os.sched_getaffinity(0) == before


@linux
def test_what_fails_lets_go() -> None:
    before = os.sched_getaffinity(0)
    with pytest.raises(KeyError), one_core(0):
        raise KeyError
    assert os.sched_getaffinity(0) == before


@linux
def test_a_system_that_forbids_it_changes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    def forbidden(*_: object) -> None:
        raise PermissionError

    before = os.sched_getaffinity(0)
    monkeypatch.setattr(os, "sched_setaffinity", forbidden)
    with one_core(0):
        assert os.sched_getaffinity(0) == before
