"""What a directory says of its artifacts' images, where it can be believed."""

import json
from contextlib import nullcontext
from pathlib import Path
from types import SimpleNamespace

import pytest

from edgex import measure as module
from edgex.errors import ModelError, OutputError
from edgex.measure import evaluate_artifacts, images_seen


def write(folder: Path, **documents: object) -> Path:
    for name, document in documents.items():
        text = document if isinstance(document, str) else json.dumps(document)
        (folder / f"{name}.json").write_text(text)
    return folder


def test_images_of_calibration_training_and_pruning(tmp_path: Path) -> None:
    assert images_seen(tmp_path) == set()
    calibrated = {"calibration": {"sources": [["a.png", "1"], ["b.png", "2"]]}}
    write(tmp_path, plan=calibrated, training={"images": ["2", "3"]}, pruning={"images": ["4"]})
    assert images_seen(tmp_path) == {"1", "2", "3", "4"}


def test_a_model_that_reads_no_image(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It need not be a classifier."""
    runner = nullcontext(SimpleNamespace(input_shape=(3, 24, 24)))
    monkeypatch.setattr(module, "open_runner", lambda *_, **__: runner)
    with pytest.raises(ModelError, match=r"net.onnx reads \(3, 24, 24\), not an image's") as refusal:
        evaluate_artifacts([tmp_path / "net.onnx"], "digits")
    assert refusal.value.fix == "Give a model that reads one image with its channels last."


@pytest.mark.parametrize("name", ["plan", "training", "pruning"])
@pytest.mark.parametrize(
    "document",
    [
        [],
        {},
        {"calibration": [], "images": 5},
        {"calibration": {"sources": 5}, "images": None},
        {"calibration": {"sources": [5]}, "images": [[]]},
        {"calibration": {"sources": [["a.png"]]}, "images": [{}]},
        {"calibration": {"sources": [["a.png", []]]}, "images": True},
        pytest.param("[" * 100_000, id="lists without end"),
        pytest.param("{" + '"a": {' * 500 + "}" * 501, id="deep objects"),
    ],
)
def test_what_cannot_be_believed(tmp_path: Path, name: str, document: object) -> None:
    write(tmp_path, **{name: document})
    with pytest.raises(OutputError, match=f"{name}.json cannot be read") as refusal:
        images_seen(tmp_path)
    assert "edgex quantize" in refusal.value.fix
