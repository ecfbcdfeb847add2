"""The benchmarks run as one command, measure what they say, and judge what they measured."""

import json
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from benchmarks.processes import ROOT, run
from benchmarks.report import Figure, Section, Table, interleave, markdown, ratio

MEGABYTE = 2**20


def benchmarks(*arguments: str) -> "subprocess.CompletedProcess[str]":
    command = [sys.executable, "-m", "benchmarks", *arguments]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)


def test_prints_a_table_with_a_verdict() -> None:
    done = benchmarks("startup", "--quick")
    assert done.returncode == 0, done.stderr
    row = r"\| edgex --help / import typer \| [\d.]+× \| [\d.]+ … [\d.]+ \| ≤ 3.00× \| (PASS|MISS) \|"
    assert re.search(row, done.stdout), done.stdout


def test_prints_one_document() -> None:
    document = json.loads(benchmarks("startup", "--quick", "--json").stdout)
    assert document["schema"] == "edgex.benchmarks/1"
    figures = document["benchmarks"][0]["figures"]
    assert [figure["unit"] for figure in figures] == ["×", "s"]
    for figure in figures:
        assert 0 < figure["low"] <= figure["value"] <= figure["high"]
        assert figure["reached"] == (figure["value"] <= figure["limit"])


def test_says_what_it_could_not_measure(tmp_path: Path) -> None:
    done = benchmarks("accuracy", "memory", "--shared", str(tmp_path))
    assert done.returncode == 0, done.stderr
    assert done.stdout.count(f"Not measured: {tmp_path}") == 2


def test_refuses_an_unknown_benchmark() -> None:
    done = benchmarks("startup", "beauty")
    assert done.returncode == 2
    assert "beauty" in done.stderr


def test_measures_the_program_alone(tmp_path: Path) -> None:
    """The memory of a large parent does not count, as it would if the parent started the program itself."""
    held_here = np.ones(400 * MEGABYTE, np.uint8)
    done = run(
        sys.executable, "-c", f"import time; b'x' * {100 * MEGABYTE}; time.sleep(0.3); print(7)", folder=tmp_path
    )
    assert 100 * MEGABYTE < done.peak_bytes < 150 * MEGABYTE < held_here.nbytes
    assert 0.3 < done.seconds < 5
    assert done.stdout == "7\n"


def test_a_failing_program_is_not_a_measurement(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError, match=r"ended with 3:\n.*no luck"):
        run(sys.executable, "-c", "import sys; print('no luck', file=sys.stderr); sys.exit(3)", folder=tmp_path)


def test_contestants_take_turns() -> None:
    order: list[str] = []

    def contestant(name: str) -> float:
        order.append(name)
        return float(len(order))

    measured = interleave(2, lambda: contestant("a"), lambda: contestant("b"))
    assert order == ["a", "b", "b", "a"]
    assert measured == [[1.0, 4.0], [2.0, 3.0]]


def test_ratios_are_of_neighbours() -> None:
    """A round in which everything takes ten times as long says the same as the others."""
    figure = ratio("a / b", [[2.0, 20.0, 3.0], [1.0, 10.0, 1.0]], limit=2)
    assert (figure.low, figure.value, figure.high) == (2.0, 2.0, 3.0)
    assert figure.reached
    assert not ratio("a / b", [[2.1], [1.0]], limit=2).reached


def test_a_limit_can_be_for_the_lower_end() -> None:
    covers = Figure("latency", 1.1, 1.02, "×", low=1.01, high=1.2, judged="low")
    misses = Figure("latency", 1.1, 1.02, "×", low=1.03, high=1.2, judged="low")
    printed = markdown(Section("latency", (covers, misses), Table(("file", "ms"), (("a", 1.234),))))
    assert "| latency | 1.10× | 1.01 … 1.20 | lower end ≤ 1.02× | PASS |" in printed
    assert "| latency | 1.10× | 1.03 … 1.20 | lower end ≤ 1.02× | MISS |" in printed
    assert "| a | 1.23 |" in printed
