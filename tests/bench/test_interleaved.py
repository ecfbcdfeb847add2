"""Files take turns in fresh processes, and a report says what was measured, and how surely."""

import csv
import os
import subprocess
import sys
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import pytest
from command import edgex, refused
from graphs import tiny_xception

from edgex.bench import BenchOptions, BenchReport, BenchResult, Ratio, bench, interleaved, self_check
from edgex.bench.block import Contender
from edgex.bench.interval import Interval
from edgex.errors import ExitCode, ModelError, UsageError
from edgex.runtime import physical_cores
from edgex.runtime.cores import fastest_cores
from edgex.write.onnx import onnx_model
from edgex.write.tflite import tflite_model

USUAL = ("litert", "onnxruntime")
ONNXRUNTIME = BenchOptions(runtimes=("onnxruntime",), threads=1)
Latency = Callable[[Contender], float]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("models")
    (folder / "small.tflite").write_bytes(tflite_model(tiny_xception(32)))
    (folder / "small.onnx").write_bytes(onnx_model(tiny_xception(32)).SerializeToString())
    (folder / "large.onnx").write_bytes(onnx_model(tiny_xception(160)).SerializeToString())
    return folder


def allowed_cores() -> set[int]:
    """None where the system does not place processes on request."""
    return os.sched_getaffinity(0) if hasattr(os, "sched_getaffinity") else set()


class Processes:
    """In place of processes: latencies that are made up, and the order in which they were started and asked."""

    def __init__(self, latency: Latency = lambda _: 1.0, spread: float = 0.0) -> None:
        self.started: list[str] = []
        self.cores: list[set[int]] = []
        self.asked: list[str] = []
        self.latency, self.spread = latency, spread
        self.random = np.random.default_rng(0)

    def __call__(self, contender: Contender) -> "MadeUp":
        return MadeUp(self, contender)


class MadeUp(nullcontext[Any]):
    """One of them: what it takes is its contender's latency and some luck of its own."""

    def __init__(self, processes: Processes, contender: Contender) -> None:
        super().__init__(self)
        self._name, self._asked = contender.path.name, processes.asked
        processes.started.append(self._name)
        processes.cores.append(allowed_cores())
        self.usual_ms = processes.latency(contender)
        self.init_ms, self.first_ms = 10 * self.usual_ms, 2 * self.usual_ms
        self._steady = self.usual_ms * (1 + processes.spread * processes.random.normal())

    def burst(self, runs: int) -> np.ndarray:
        self._asked.extend([self._name] if runs else [])
        return np.full(runs, self._steady)


@pytest.fixture
def made_up(monkeypatch: pytest.MonkeyPatch) -> Callable[..., Processes]:
    def replace_processes(*arguments: Any, **options: Any) -> Processes:
        processes = Processes(*arguments, **options)
        monkeypatch.setattr(interleaved, "Entry", processes)
        return processes

    return replace_processes


# Measured


def test_reports_every_file_in_order(folder: Path) -> None:
    paths = [folder / name for name in ("small.tflite", "large.onnx", "small.onnx")]
    seen: list[tuple[int, int]] = []
    options = BenchOptions(runtimes=USUAL, threads=1, runs=3)
    report = bench(paths, options, progress=lambda *counts: seen.append(counts))
    assert [result.path for result in report.results] == paths
    assert [result.runtime for result in report.results] == ["litert", "onnxruntime", "onnxruntime"]
    for result in report.results:
        assert (result.threads, result.runs, len(result.samples), len(result.blocks)) == (1, 3, 3, 3)
        assert result.median_ms == np.median(result.samples)
        assert result.p90_ms == np.percentile(result.samples, 90)
        assert result.init_ms == median(block.init_ms for block in result.blocks) > 0
        assert result.first_ms == median(block.first_ms for block in result.blocks) > 0
    one, other, third = report.results
    assert [(ratio.a, ratio.b) for ratio in report.ratios] == [(one, other), (one, third), (other, third)]
    assert seen == [(1, 3), (2, 3), (3, 3)]
    assert report.notes == ()


def test_a_larger_model_takes_longer(folder: Path) -> None:
    """25 times the pixels: even on a busy machine the interval is far from 1."""
    report = bench([folder / "large.onnx", folder / "small.onnx"], replace(ONNXRUNTIME, runs=100))
    large, small = report.results
    (ratio,) = report.ratios
    assert ratio.ratio == pytest.approx(large.median_ms / small.median_ms, rel=0.5)
    assert 4 < ratio.interval.low < ratio.ratio < ratio.interval.high
    assert report.fastest is small
    assert report.noisy is None


def test_every_runtime_that_is_here_takes_the_file(folder: Path) -> None:
    pytest.importorskip("openvino", reason="OpenVINO is an extra")
    report = bench([folder / "small.onnx", folder / "small.tflite"], BenchOptions(runs=1, threads=1))
    assert [(result.path.suffix, result.runtime) for result in report.results] == [
        (".onnx", "onnxruntime"),
        (".onnx", "openvino"),
        (".tflite", "litert"),
        (".tflite", "openvino"),
    ]


def test_never_imports_tensorflow_nor_a_runtime(folder: Path) -> None:
    program = """
import sys
from pathlib import Path
from edgex.bench import BenchOptions, bench
report = bench([Path(name) for name in sys.argv[1:]], BenchOptions(runtimes=("litert", "onnxruntime"), runs=1))
heavy = ("tensorflow", "onnxruntime", "ai_edge_litert", "openvino")
print(len(report.results), [name for name in heavy if name in sys.modules])
"""
    command = [sys.executable, "-c", program, str(folder / "small.tflite"), str(folder / "small.onnx")]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "2 []"


def test_every_run_is_saved(folder: Path) -> None:
    files = ("small.tflite", "small.onnx")
    arguments = ("--runtime", "litert", "--runtime", "onnxruntime", "--runs", 13, "--threads", 1, "--save", "runs.csv")
    document = edgex("bench", *files, *arguments, "--json", cwd=folder).document
    with (folder / "runs.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    for result in document["results"]:
        own = [row for row in rows if (row["path"], row["runtime"]) == (result["path"], result["runtime"])]
        of = {
            phase: [float(row["milliseconds"]) for row in own if row["phase"] == phase]
            for phase in ("init", "first", "steady")
        }
        assert [len(values) for values in of.values()] == [10, 10, 13]
        assert {row["threads"] for row in own} == {"1"}
        assert {int(row["block"]) for row in own} == set(range(10))
        assert median(of["steady"]) == pytest.approx(result["median_ms"], rel=1e-12)
        assert median(of["init"]) == pytest.approx(result["init_ms"], rel=1e-12)
        assert median(of["first"]) == pytest.approx(result["first_ms"], rel=1e-12)
        assert np.percentile(of["steady"], 90) == pytest.approx(result["p90_ms"], rel=1e-12)
    assert len(rows) == 2 * (10 + 10 + 13)


def test_samples_that_cannot_be_saved(folder: Path) -> None:
    arguments = ("--runtime", "litert", "--runs", 1, "--save", "nowhere/runs.csv")
    outcome = edgex("bench", "small.tflite", *arguments, cwd=folder)
    refused(outcome, ExitCode.INPUT_OUTPUT, "nowhere/runs.csv")
    assert "bench" not in outcome.err.partition("error:")[0], "nothing is measured for a place that cannot be written"


# Planned, with latencies made up


def test_turns_are_mirrored(folder: Path, made_up: Callable[..., Processes]) -> None:
    processes = made_up()
    forth = ["small.onnx", "small.tflite"]
    bench([folder / name for name in forth], BenchOptions(runtimes=USUAL, runs=320))
    back = forth[::-1]
    assert processes.started == [*forth, *back] * 5
    asked = [tuple(processes.asked[at : at + 4]) for at in range(0, len(processes.asked), 4)]
    assert len(asked) == 10 * 4
    assert set(asked) == {(*forth, *back), (*back, *forth)}
    assert 10 < asked.count((*forth, *back)) < 30, "neither is the rule"


@pytest.mark.skipif(not allowed_cores(), reason="the system does not place processes on request")
def test_files_on_one_thread_share_a_core(folder: Path, made_up: Callable[..., Processes]) -> None:
    """No two cores of a shared machine are equally fast. Each round has the next one."""
    path, before = folder / "small.onnx", allowed_cores()
    processes = made_up()
    bench([path, path], ONNXRUNTIME)
    fastest = fastest_cores(before)
    assert processes.cores == [{fastest[number // 2 % len(fastest)]} for number in range(20)]
    processes = made_up()
    bench([path, path], replace(ONNXRUNTIME, threads=2))
    assert processes.cores == [before] * 20
    assert allowed_cores() == before


@pytest.mark.parametrize(
    ("runs", "sizes"),
    [
        (1, [0, 0, 0, 0, 0, 0, 0, 1]),
        (7, [0, 0, 0, 0, 0, 0, 0, 7]),
        (9, [0, 0, 0, 5, 0, 0, 0, 4]),
        (12, [0, 0, 4, 0, 0, 4, 0, 4]),
        (200, [25] * 8),
        (35, [5, 5, 5, 4, 4, 4, 4, 4]),
    ],
)
def test_runs_are_spread_over_the_turns(runs: int, sizes: list[int]) -> None:
    """Files of unlike speed have unlike bursts, and the last turn in common."""
    assert interleaved.burst_sizes(runs) == sizes


@pytest.mark.parametrize("runs", [1, 7, 10, 25, 999])
def test_runs_are_exact(folder: Path, made_up: Callable[..., Processes], runs: int) -> None:
    made_up()
    (result,) = bench([folder / "small.onnx"], replace(ONNXRUNTIME, runs=runs)).results
    assert result.runs == len(result.samples) == runs
    lengths = [len(block.steady) for block in result.blocks]
    assert len(lengths) == min(runs, 10)
    assert max(lengths) - min(lengths) <= 1


@pytest.mark.parametrize(("latency", "runs"), [(0.01, 2000), (10.0, 300), (1e5, 30)])
def test_as_many_runs_as_fit(folder: Path, made_up: Callable[..., Processes], latency: float, runs: int) -> None:
    made_up(lambda _: latency)
    (result,) = bench([folder / "small.onnx"], replace(ONNXRUNTIME, seconds=3.0)).results
    assert result.runs == runs


def test_p99_needs_a_thousand_runs(folder: Path, made_up: Callable[..., Processes]) -> None:
    made_up(spread=0.1)
    short, long = (bench([folder / "small.onnx"], replace(ONNXRUNTIME, runs=runs)).results[0] for runs in (999, 1000))
    assert short.p99_ms is None
    assert long.p99_ms == np.percentile(long.samples, 99) >= long.p90_ms >= long.median_ms


def test_threads_are_the_physical_cores(folder: Path, made_up: Callable[..., Processes]) -> None:
    made_up()
    (result,) = bench([folder / "small.onnx"], BenchOptions(runtimes=USUAL, runs=1)).results
    assert result.threads == physical_cores() >= 1


def test_until_goes_on_until_the_interval_is_narrow(folder: Path, made_up: Callable[..., Processes]) -> None:
    options = replace(ONNXRUNTIME, runs=10)
    processes = made_up(spread=0.05)
    (before,) = bench([folder / "small.onnx"], options).results
    assert before.interval.half_width(before.median_ms) > 0.02
    assert len(processes.started) == 10
    processes = made_up(spread=0.05)
    report = bench([folder / "small.onnx"], replace(options, until=0.02))
    (after,) = report.results
    assert after.interval.half_width(after.median_ms) <= 0.02
    assert 10 < len(processes.started) == after.runs < 200
    assert report.notes == ()


def test_until_looks_at_the_ratio_of_a_pair(folder: Path, made_up: Callable[..., Processes]) -> None:
    """Medians that drift together do not keep it from ending."""
    processes = made_up()
    level = iter(np.repeat(np.linspace(1, 2, 200), 2))
    processes.latency = lambda _: next(level)
    report = bench([folder / "small.onnx", folder / "small.onnx"], replace(ONNXRUNTIME, runs=10, until=0.001))
    assert len(processes.started) == 20
    assert report.results[0].interval.half_width(report.results[0].median_ms) > 0.001


def test_until_gives_up_on_a_noisy_machine(folder: Path, made_up: Callable[..., Processes]) -> None:
    processes = made_up(spread=0.5)
    report = bench([folder / "small.onnx"], replace(ONNXRUNTIME, runs=10, until=0.001))
    assert len(processes.started) == 200
    assert report.notes == ("The intervals did not get as narrow as ±0.1 % in 200 rounds: the machine is noisy.",)


def test_a_runtime_that_was_not_asked_for_may_fail(folder: Path, made_up: Callable[..., Processes]) -> None:
    pytest.importorskip("openvino", reason="OpenVINO is an extra")

    def refuses(contender: Contender) -> float:
        if contender.runtime == "openvino":
            raise ModelError("openvino refuses small.onnx: no such operation", fix="")
        return 1.0

    made_up(refuses)
    report = bench([folder / "small.onnx"], BenchOptions(runs=4))
    assert [result.runtime for result in report.results] == ["onnxruntime"]
    assert report.notes == ("Left out: openvino refuses small.onnx: no such operation",)
    with pytest.raises(ModelError, match="openvino refuses"):
        bench([folder / "small.onnx"], BenchOptions(runtimes=("onnxruntime", "openvino"), runs=4))


@pytest.mark.parametrize("options", [{"runs": 0}, {"threads": 0}, {"seconds": 0.0}, {"until": -0.1}, {"input_size": 0}])
def test_numbers_must_be_positive(options: dict[str, Any]) -> None:
    with pytest.raises(UsageError, match="positive"):
        BenchOptions(**options)


@pytest.mark.parametrize("share", ["2", "0%", "-1%", "100%", "two"])
def test_shares_that_are_none(folder: Path, share: str) -> None:
    outcome = edgex("bench", "small.onnx", "--until", share, cwd=folder)
    refused(outcome, ExitCode.USAGE, share, "2%")


def test_wants_a_file() -> None:
    with pytest.raises(UsageError, match="no file"):
        bench([])


# The verdict on the machine


def compared(low: float, high: float, *, name: str = "a.onnx") -> BenchReport:
    """A report on ``a.onnx`` and another file."""
    first, second = (
        BenchResult(Path(path), "onnxruntime", 1, 10, 1.0, 1.0, 1.0, 1.0, None, Interval(1, 1), ())
        for path in ("a.onnx", name)
    )
    return BenchReport((first, second), (Ratio(first, second, 1.0, Interval(low, high)),))


@pytest.mark.parametrize(
    ("low", "high", "noisy"),
    [(0.98, 1.01, False), (0.951, 1.049, False), (0.93, 1.04, True), (1.001, 1.01, True), (0.98, 0.999, True)],
)
def test_the_verdict_on_the_machine(low: float, high: float, noisy: bool) -> None:
    assert compared(low, high).noisy is noisy


def test_two_files_say_nothing_of_the_machine() -> None:
    assert compared(1.5, 1.6, name="b.onnx").noisy is None


def test_self_check_times_a_file_against_itself(folder: Path, made_up: Callable[..., Processes]) -> None:
    processes = made_up(spread=0.01)
    assert self_check(folder / "small.onnx").noisy is False
    assert processes.started == ["small.onnx"] * 40


def test_self_check_is_patient_with_a_machine_that_does_not_tell(
    folder: Path, made_up: Callable[..., Processes]
) -> None:
    processes = made_up(spread=0.3)
    assert self_check(folder / "small.onnx", ONNXRUNTIME).noisy is True
    assert len(processes.started) == 4 * 20
    processes = made_up(spread=0.3)
    assert self_check(folder / "small.onnx", replace(ONNXRUNTIME, runs=20)).noisy is True
    assert len(processes.started) == 20


def test_self_check_takes_one_file(folder: Path) -> None:
    outcome = edgex("bench", "small.onnx", "small.tflite", "--self-check", cwd=folder)
    refused(outcome, ExitCode.USAGE, "--self-check takes one file, not 2")


def test_self_check_says_its_verdict(folder: Path) -> None:
    arguments = ("bench", "small.tflite", "--self-check", "--runtime", "litert", "--runs", 20, "--threads", 1)
    document = edgex(*arguments, "--json", cwd=folder).document
    assert isinstance(document["noisy"], bool)
    assert [ratio["a"] == ratio["b"] for ratio in document["ratios"]] == [True]
    assert "this machine is" in edgex(*arguments, cwd=folder).out
