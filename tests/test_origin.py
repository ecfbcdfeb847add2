"""What a model file says of how edgex made it is what holds where the options say nothing."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from graphs import tiny_xception
from origins import DOCUMENTS

from edgex.errors import UsageError
from edgex.graph.ir import Affine, Node
from edgex.manifest import read_manifest
from edgex.pipeline import Inputs, QuantizeOptions, TrainModelOptions, quantize, reproduce, train_model
from edgex.pipeline import train as training
from edgex.pipeline.calibration import read_model_file
from edgex.target import load_target
from edgex.train.checkpoint import History
from edgex.train.loop import TrainResult
from edgex.write.keras import keras_file


def model(folder: Path, document: dict[str, Any] = DOCUMENTS["trained"]) -> Path:
    file = folder / "model.keras"
    file.write_bytes(keras_file(tiny_xception(), document))
    return file


def ways(file: Path, **options: Any) -> tuple[str, str]:
    """How images are scaled, and brought to size."""
    preprocessing = read_model_file(file, QuantizeOptions(**options)).preprocessing
    assert preprocessing.size == (32, 32), "the network's own"
    return preprocessing.scale, preprocessing.resize


@pytest.mark.parametrize("made", DOCUMENTS)
def test_a_file_knows_what_it_reads(made: str, tmp_path: Path) -> None:
    file = model(tmp_path, DOCUMENTS[made])
    assert ways(file) == ("imagenet", "crop")
    assert ways(file, preprocess="none") == ("none", "crop")
    assert ways(file, resize="stretch") == ("imagenet", "stretch")


def test_a_pruned_file_of_before_does_not_know(tmp_path: Path) -> None:
    older = {key: value for key, value in DOCUMENTS["pruned"].items() if key != "preprocessing"}
    assert ways(model(tmp_path, older)) == ("xception", "stretch")


def test_a_scale_that_is_none_is_refused(tmp_path: Path) -> None:
    file = model(tmp_path, {**DOCUMENTS["trained"], "preprocessing": {"scale": ["odd"]}})
    with pytest.raises(UsageError, match="unknown scale"):
        ways(file)


def test_a_manifest_of_before_is_reproduced(tmp_path: Path) -> None:
    """Then nothing was taken from the file, and what was untold was xception and stretch."""
    file, cpu, out = model(tmp_path), load_target("cpu"), tmp_path / "out"
    options = QuantizeOptions(calib_count=4, preprocess="xception", resize="stretch")
    quantize(file, cpu, "digits", out, options)
    manifest = out / "manifest.json"
    document = json.loads(manifest.read_text())
    document["recipe"]["preprocess"] = None
    manifest.write_text(json.dumps(document))
    assert reproduce(out, Inputs(file, cpu, "digits")).problems == ()


def test_what_is_not_told_is_reproduced(tmp_path: Path) -> None:
    file, cpu, out = model(tmp_path), load_target("cpu"), tmp_path / "out"
    quantize(file, cpu, "digits", out, QuantizeOptions(calib_count=4))
    manifest = read_manifest(out)
    assert (manifest.preprocessing["scale"], manifest.preprocessing["resize"]) == ("imagenet", "crop")
    assert (manifest.recipe["preprocess"], manifest.recipe["resize"]) == (None, None)
    assert reproduce(out, Inputs(file, cpu, "digits")).problems == ()


@pytest.fixture
def untrained(monkeypatch: pytest.MonkeyPatch) -> None:
    """Training changes nothing."""

    def nothing(graph: Any, *_: Any, **__: Any) -> TrainResult:
        return TrainResult(graph, None, History((1.0,), (0.5,)), 0, 0, labelled=True)

    monkeypatch.setattr(training, "train", nothing)
    monkeypatch.setattr(training, "require_tensorflow", lambda: None)


@pytest.mark.usefixtures("untrained")
def test_it_is_trained_further_as_it_was(tmp_path: Path) -> None:
    report = train_model(model(tmp_path), "digits", tmp_path / "more.keras", TrainModelOptions(threads=1))
    assert (report.record.preprocessing["scale"], report.record.preprocessing["resize"]) == ("imagenet", "crop")


@pytest.mark.usefixtures("untrained")
def test_weights_are_taken_over_with_what_they_read(tmp_path: Path) -> None:
    (tmp_path / "plain.keras").write_bytes(keras_file(tiny_xception(seed=1)))
    options = TrainModelOptions(threads=1, weights=str(model(tmp_path)))
    report = train_model(tmp_path / "plain.keras", "digits", tmp_path / "more.keras", options)
    assert (report.record.preprocessing["scale"], report.record.preprocessing["resize"]) == ("imagenet", "crop")


@pytest.mark.usefixtures("untrained")
def test_a_network_that_scales_its_image_keeps_doing_so(tmp_path: Path) -> None:
    graph = tiny_xception(seed=1)
    scaling = {"scale": np.full(3, 1 / 127.5, np.float32), "offset": np.full(3, -1, np.float32)}
    own = Node("scaled", Affine(), ("input",), scaling)
    (first,) = graph.consumers["input"]
    nodes = [*graph.inputs, own, replace(first, inputs=("scaled",)), *graph.nodes[2:]]
    (tmp_path / "own.keras").write_bytes(keras_file(replace(graph, nodes=tuple(nodes))))
    options = TrainModelOptions(threads=1, weights=str(model(tmp_path)))
    report = train_model(tmp_path / "own.keras", "digits", tmp_path / "more.keras", options)
    assert report.record.preprocessing["scale"] == "none"


@pytest.mark.usefixtures("untrained")
def test_a_file_with_a_name_of_the_zoo_is_trained_further(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    narrow = TrainModelOptions(architecture={"width": 0.05, "depth": 0.1}, threads=1)
    Path("xception").mkdir()
    assert train_model("xception", "digits", Path("new.keras"), narrow).record.source == {"name": "xception"}
    Path("xception").rmdir()
    model(tmp_path).rename("xception")
    again = train_model("xception", "digits", Path("more.keras"), TrainModelOptions(threads=1))
    assert again.record.source["sha256"]
