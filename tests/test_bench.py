"""Latencies are measured side by side, and the interval of a ratio says what it claims."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from graphs import tiny_xception

from edgex.bench import bench, ratio_interval, turns
from edgex.errors import UsageError
from edgex.runtime import physical_cores
from edgex.write.onnx import onnx_model
from edgex.write.tflite import tflite_model


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("models")
    (folder / "small.tflite").write_bytes(tflite_model(tiny_xception(32)))
    (folder / "small.onnx").write_bytes(onnx_model(tiny_xception(32)).SerializeToString())
    (folder / "large.onnx").write_bytes(onnx_model(tiny_xception(160)).SerializeToString())
    return folder


def test_reports_every_file_in_order(folder: Path) -> None:
    paths = [folder / name for name in ("small.tflite", "large.onnx", "small.onnx")]
    seen: list[tuple[int, int]] = []
    report = bench(paths, threads=1, runs=31, progress=lambda *counts: seen.append(counts))
    assert [result.path for result in report.results] == paths
    assert [result.runtime for result in report.results] == ["litert", "onnxruntime", "onnxruntime"]
    for result in report.results:
        assert (result.threads, result.runs, len(result.samples)) == (1, 31, 31)
        assert result.median_ms == np.median(result.samples)
        assert result.p90_ms == np.percentile(result.samples, 90)
        assert result.p99_ms is None
    assert [(ratio.a, ratio.b) for ratio in report.ratios] == [
        (paths[0], paths[1]),
        (paths[0], paths[2]),
        (paths[1], paths[2]),
    ]
    assert [done for done, _ in seen] == list(range(1, 37))
    assert {total for _, total in seen} == {36}


def test_a_larger_model_takes_longer(folder: Path) -> None:
    """25 times the pixels: even on a busy machine the interval is far from 1."""
    report = bench([folder / "large.onnx", folder / "small.onnx"], threads=1, seconds=0.5)
    large, small = report.results
    (ratio,) = report.ratios
    assert large.median_ms > 4 * small.median_ms > 0
    assert ratio.ratio == large.median_ms / small.median_ms
    assert ratio.low > 4


def test_p99_needs_a_thousand_runs(folder: Path) -> None:
    (short,) = bench([folder / "small.onnx"], runs=999).results
    (long,) = bench([folder / "small.onnx"], runs=1000).results
    assert short.p99_ms is None
    assert long.p99_ms == np.percentile(long.samples, 99) >= long.p90_ms >= long.median_ms


def test_defaults_suit_the_file(folder: Path) -> None:
    (result,) = bench([folder / "small.onnx"], seconds=60).results
    assert result.threads == physical_cores() >= 1
    assert result.runs == 2000
    (result,) = bench([folder / "large.onnx"], seconds=1e-6).results
    assert result.runs == 30


def test_one_run_is_enough(folder: Path) -> None:
    report = bench([folder / "small.onnx", folder / "small.tflite"], runs=1, warmup=1)
    assert [result.runs for result in report.results] == [1, 1]


def test_turns_are_mirrored() -> None:
    assert list(turns(3, 4)) == [0, 1, 2, 2, 1, 0, 0, 1, 2, 2, 1, 0]


@pytest.mark.parametrize("options", [{"runs": 0}, {"warmup": 0}, {"seconds": 0.0}])
def test_counts_must_be_positive(folder: Path, options: dict[str, float]) -> None:
    with pytest.raises(UsageError, match="positive"):
        bench([folder / "small.onnx"], **options)


def test_wants_a_file() -> None:
    with pytest.raises(UsageError, match="no file"):
        bench([])


@pytest.mark.parametrize("true_ratio", [1.0, 0.8])
def test_interval_covers_the_true_ratio(true_ratio: float) -> None:
    """Simulated: latencies that drift by a third while measured, the same for both, with heavy-tailed noise."""
    random = np.random.default_rng(0)
    covered, excluded, widths = 0, 0, []
    for seed in range(200):
        drift = np.exp(np.cumsum(random.normal(0, 0.1, 12)))
        a, b = (drift * (1 + 0.02 * random.standard_t(3, 12)) for _ in range(2))
        low, high = ratio_interval(true_ratio * a, b, seed)
        covered += low <= true_ratio <= high
        excluded += not low <= 1.1 * true_ratio <= high
        widths.append(high - low)
    assert covered >= 0.93 * 200
    assert excluded >= 0.93 * 200, "an interval that covers everything says nothing"


def test_never_imports_tensorflow(folder: Path) -> None:
    program = """
import sys
from pathlib import Path
from edgex.bench import bench
report = bench([Path(name) for name in sys.argv[1:]], runs=5)
print(len(report.results), [name for name in sys.modules if "tensorflow" in name])
"""
    command = [sys.executable, "-c", program, str(folder / "small.tflite"), str(folder / "small.onnx")]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "2 []"
