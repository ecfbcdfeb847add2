"""What a comparison says is what the commands say of each model alone."""

import subprocess
from pathlib import Path

import numpy as np
import pytest
from graphs import tiny_xception

from edgex.compare import CompareOptions, compare_models
from edgex.comparison import compare
from edgex.dataset import open_dataset
from edgex.errors import ModelError, UsageError
from edgex.graph.ir import Dense, Graph, Input, Node
from edgex.inspection import inspect_model
from edgex.measure import evaluate_artifacts
from edgex.pipeline import QuantizeOptions, quantize
from edgex.resources import demo_model
from edgex.target import load_target
from edgex.write.keras import keras_file

FAST = {"runtimes": ("onnxruntime",), "threads": 1, "seconds": 0.01}
COUNTS = CompareOptions(latency=False)


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model of 10 classes with random weights."""
    path = tmp_path_factory.mktemp("tiny") / "tiny.keras"
    path.write_bytes(keras_file(tiny_xception()))
    return path


def test_counts_alone_start_nothing(tiny: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise AssertionError("a process was started")

    monkeypatch.setattr(subprocess, "Popen", refuse)
    report = compare_models([tiny, "demo", "xception", tiny], COUNTS)
    assert [model.name for model in report.models] == [str(tiny), "demo", "xception", str(tiny)]
    assert [model.fresh for model in report.models] == [False, False, True, False]
    assert report.models[0].inspection == report.models[3].inspection == inspect_model(tiny)
    assert report.models[1].inspection == inspect_model(demo_model())
    assert (report.models[2].inspection.parameters, report.models[2].inspection.bytes) == (22_910_480, 91_641_920)
    assert not any(model.int8 or model.latencies for model in report.models)
    assert (report.ratios, report.lanes, report.images) == ((), (), 0)


def test_at_another_size() -> None:
    (model,) = compare_models(["demo"], CompareOptions(latency=False, input_size=64)).models
    assert model.inspection == inspect_model(demo_model(), input_size=64)


def test_latencies_are_compared_model_by_model(tiny: Path) -> None:
    report = compare_models(["demo", tiny, "demo"], CompareOptions(**FAST))
    assert report.lanes == ("int8.onnx in onnxruntime",)
    assert [[str(artifact.kind) for artifact in model.int8] for model in report.models] == [
        ["int8.onnx", "int8.tflite"]
    ] * 3
    assert [(ratio.a, ratio.b) for ratio in report.ratios] == [(0, 1), (0, 2), (1, 2)]
    results = [latency.result for model in report.models for latency in model.latencies]
    for found in report.ratios:
        assert (found.ratio.a, found.ratio.b) == (results[found.a], results[found.b])
        assert str(found.kind) == "int8.onnx"
    assert len({id(result) for result in results}) == 3
    assert all(result.threads == 1 and result.median_ms > 0 for result in results)
    # The same model twice is the same file
    assert report.models[0].int8 == report.models[2].int8 != report.models[1].int8
    assert not any(artifact.cost for model in report.models for artifact in model.int8)


def test_the_cost_of_int8_is_what_quantize_and_eval_say(tmp_path: Path) -> None:
    options = CompareOptions(latency=False, calib="digits", data="digits", threads=1)
    report = compare_models(["demo"], options)
    written = quantize(demo_model(), load_target("cpu"), "digits", tmp_path / "out", QuantizeOptions(threads=1))
    by_kind = {f"{each.precision}.{each.format}": each for each in written.artifacts}
    paths = [by_kind[kind].path for kind in ("fp32.onnx", "int8.onnx", "int8.tflite")]
    baseline, *others = evaluate_artifacts(paths, "digits", threads=1).results
    dataset = open_dataset("digits", role="evaluation")
    assert report.images == len(dataset)
    for artifact, result in zip(report.models[0].int8, others, strict=True):
        assert artifact.bytes == by_kind[str(artifact.kind)].bytes
        assert artifact.cost == compare(dataset.labels, baseline.predictions, result.predictions, dataset.class_names)
        assert artifact.cost.agreement > 0.98
        assert result.top1 == pytest.approx(baseline.top1 - artifact.cost.drop.points / 100)


def test_nothing_is_claimed_of_fresh_weights(tiny: Path) -> None:
    """Not even where its 1,000 classes are not those of the images; a file's are refused before any work."""
    options = CompareOptions(latency=False, calib="digits", data="digits", input_size=32, threads=1)
    (model,) = compare_models(["xception"], options).models
    assert [artifact.cost for artifact in model.int8] == [None, None]
    with pytest.raises(UsageError, match=r"knows 7 classes, and .* has labels for 10"):
        compare_models([_scores(tiny, 7)], options)


def _scores(model: Path, classes: int) -> Path:
    path = model.with_name(f"{classes}.keras")
    path.write_bytes(keras_file(tiny_xception(classes=classes)))
    return path


def test_warnings_name_the_model(tiny: Path, tmp_path: Path) -> None:
    images = np.random.default_rng(0).integers(0, 256, (3, 20, 20, 3), np.uint8)
    np.savez(tmp_path / "few.npz", x=images)
    options = CompareOptions(latency=False, calib=tmp_path / "few.npz", threads=1)
    (warning, *_) = compare_models([tiny], options).warnings
    assert warning == f"{tiny}: Only 3 calibration images; 32 or more give steadier ranges."


def test_a_target_that_this_machine_is_not() -> None:
    options = CompareOptions(target=load_target("jetson"), **FAST)
    report = compare_models(["demo"], options)
    assert report.warnings == ("Latency is this machine's, not that of the target jetson.",)


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"data": "digits"}, "--data digits"),
        ({"runtimes": ("onnx",)}, "no runtime 'onnx'"),
        ({"seconds": 0.0}, "must be positive"),
        ({"threads": -1}, "must be positive"),
    ],
)
def test_options_that_cannot_be(given: dict[str, object], words: str) -> None:
    with pytest.raises(UsageError, match=words):
        CompareOptions(**given)


def test_what_cannot_be_compared(tiny: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no model"):
        compare_models([])
    with pytest.raises(UsageError, match="no network of the zoo"):
        compare_models([tiny, "xeption"], COUNTS)
    vector = Graph(
        "v", (Node("input", Input((4,))), Node("scores", Dense(), ("input",), {"kernel": np.ones((4, 2))})), ("scores",)
    )
    (tmp_path / "vector.keras").write_bytes(keras_file(vector))
    assert compare_models([tmp_path / "vector.keras"], COUNTS).models[0].inspection.macs == 8
    with pytest.raises(ModelError, match="1 or 3 channels"):
        compare_models([tmp_path / "vector.keras"])


def test_a_target_without_integers_has_nothing_to_time() -> None:
    cpu = load_target("cpu")
    floats = cpu.model_copy(update={"artifacts": tuple(kind for kind in cpu.artifacts if kind.precision != "int8")})
    with pytest.raises(UsageError, match="The target cpu has no INT8 artifacts"):
        CompareOptions(target=floats)
    assert CompareOptions(target=floats, latency=False).target is floats
