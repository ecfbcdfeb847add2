"""What pruning bought is measured once, beside the original, and what it did not buy is said."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from pruning_cases import demo_xception

from edgex.dataset import open_dataset
from edgex.graph.ir import Graph
from edgex.pipeline import gain, latency, quantize, quantize_whole
from edgex.pipeline.calibration import read_model_file
from edgex.pipeline.gain import LATENCIES_NAME, compressed_sizes, latency_warnings, time_pruned
from edgex.pipeline.options import PruneOptions, QuantizeOptions
from edgex.pipeline.pruning import Pruned
from edgex.prune.gain import PrunedLatency
from edgex.prune.record import PruningRecord
from edgex.quantize.ptq import PtqResult, quantize_ptq
from edgex.records import ArtifactKind
from edgex.resources import demo_model
from edgex.target import TargetProfile, load_target

CPU = load_target("cpu")
FEW = QuantizeOptions(calib_count=8, threads=1)
RECORD = PruningRecord(
    key="a",
    source={"name": "before.keras"},
    losses=(1.0,),
    accuracies=(0.5,),
    best_epoch=0,
    options={},
    versions={},
    images=(),
    method="channels",
    sparsity=0.5,
    macs=(2, 1),
    parameters=(2, 1),
    zeros=0.0,
)


def timed(
    folder: Path, record: PruningRecord = RECORD, target: TargetProfile | None = CPU, threads: int = 1
) -> tuple[tuple[PrunedLatency, ...], list[str]]:
    """What the demo takes beside itself, and what was said of measuring that."""
    said: list[str] = []
    found = time_pruned(
        read_model_file(demo_model(), FEW),
        Pruned(demo_xception(), record),
        open_dataset("digits", role="training"),
        target,
        replace(FEW, threads=threads),
        folder,
        lambda what, _done, _total: said.append(what),
    )
    return found, said


@pytest.mark.slow
def test_latencies_are_measured_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Until what they follow from changes, and with each network quantized once for all files."""
    quantized = []

    def counted(graph: Graph, *others: Any) -> PtqResult:
        quantized.append(graph)
        return quantize_ptq(graph, *others)

    def measured(*_: Any) -> None:
        raise ZeroDivisionError

    with monkeypatch.context() as patch:
        patch.setattr(latency, "quantize_ptq", counted)
        patch.setattr(latency, "SECONDS", 0.05)
        first, said = timed(tmp_path)
    assert said == ["time"] * 3
    assert [(each.format, each.runtime) for each in first] == [("onnx", "onnxruntime"), ("tflite", "litert")]
    assert all(0 < each.low <= each.ratio <= each.high for each in first)
    assert len(quantized) == 2

    monkeypatch.setattr(gain, "stopwatch", measured)
    assert timed(tmp_path) == (first, [])
    edited = CPU.model_copy(update={"artifacts": tuple(reversed(CPU.artifacts))})
    others: list[dict[str, Any]] = [{"record": RECORD.model_copy(update={"key": "b"})}, {"target": edited}]
    for other in (*others, {"target": None}, {"threads": 2}):
        with pytest.raises(ZeroDivisionError):
            timed(tmp_path, **other)
    (tmp_path / LATENCIES_NAME).write_text("{")
    with pytest.raises(ZeroDivisionError):
        timed(tmp_path)


def test_zeros_are_not_timed(tmp_path: Path) -> None:
    assert timed(tmp_path, RECORD.model_copy(update={"method": "magnitude"})) == ((), [])
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "options", [{}, {"weight_bits": 4}, {"keep_float": "^block"}, {"io": "int8"}, {"method": "auto"}], ids=str
)
@pytest.mark.parametrize("target", ["cpu", "jetson"])
def test_an_original_compresses_as_it_does(target: str, options: dict[str, Any], tmp_path: Path) -> None:
    """Its own artifacts are compared with what is made of it for the comparison, whatever the options."""
    profile, chosen = load_target(target), replace(FEW, **options)
    made = quantize_whole(demo_model(), profile, "digits", tmp_path / "out", chosen)
    artifacts = dict(zip(profile.artifacts, made.written.artifacts, strict=True))
    images = open_dataset("digits", role="training")
    sizes = compressed_sizes(artifacts, read_model_file(demo_model(), chosen), images, profile, chosen)
    kinds = [each for each in made.written.artifacts if each.precision != "fp32"]
    assert [each.kind for each in sizes] == [str(ArtifactKind(each.precision, each.format)) for each in kinds]
    assert all(each.before == pytest.approx(each.after, rel=0.03) for each in sizes)


@pytest.mark.parametrize(
    ("asked", "low", "target", "words"),
    [
        (
            0.6,
            0.61,
            "cpu",
            ["0.6 of the latency was asked for, and onnx in onnxruntime takes 0.70 of it (0.61 – 0.80)."],
        ),
        (0.6, 0.6, "cpu", []),
        (None, 0.6, "cpu", []),
        (None, 0.6, None, []),
        (0.9, 0.6, "jetson", ["Latency is this machine's, not that of the target jetson."]),
        (0.9, 0.6, "gpu-desktop", ["Latency is this machine's, not that of the target gpu-desktop."]),
    ],
)
def test_what_was_not_bought(asked: float | None, low: float, target: str | None, words: list[str]) -> None:
    main = PrunedLatency(format="onnx", runtime="onnxruntime", before=2, after=1.4, ratio=0.7, low=low, high=0.8)
    other = main.model_copy(update={"runtime": "litert", "low": 0.75})
    options = PruneOptions(latency=asked)
    profile = None if target is None else load_target(target)
    assert latency_warnings([main, other], options, profile) == words
    assert latency_warnings([], options, profile) == []


def test_nothing_is_measured_where_nothing_is_pruned(tmp_path: Path) -> None:
    written = quantize(demo_model(), CPU, "digits", tmp_path / "out", FEW)
    assert (written.gain, written.stages) == (None, ())
