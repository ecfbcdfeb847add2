"""What calibration and training would refuse is refused before anything is pruned."""

from importlib import import_module
from pathlib import Path
from typing import Any

import pytest
from segmenters import colour_segmenter, in_rows

from edgex.errors import EdgexError
from edgex.pipeline import PruneOptions, QuantizeOptions, quantize, training
from edgex.resources import demo_model
from edgex.target import load_target
from edgex.train.loop import TrainOptions
from edgex.write.onnx import onnx_model

MAGNITUDE = PruneOptions(method="magnitude")
LARGE = TrainOptions(batch=5000)


@pytest.mark.parametrize(
    ("options", "calib", "words"),
    [
        ({}, "nowhere", "nowhere does not exist"),
        ({"keep_float": "^nothing$"}, "digits", "matches no layer"),
        ({"method": "auto"}, "digits", r"colours\.onnx gives the shape \(1024, 5\), not scores"),
        ({"prune": PruneOptions(method="magnitude", train=LARGE)}, "digits", "less than a batch of 5000"),
        ({"qat": LARGE}, "digits", "less than a batch of 5000"),
    ],
)
def test_it_costs_no_training(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, options: dict[str, Any], calib: str, words: str
) -> None:
    model = demo_model()
    if "auto" in options.values():
        model = tmp_path / "colours.onnx"
        model.write_bytes(onnx_model(in_rows(colour_segmenter())).SerializeToString())
    monkeypatch.setattr(import_module("edgex.pipeline.quantize"), "prune_model", None)
    monkeypatch.setattr(training, "require_tensorflow", lambda: None)
    chosen = QuantizeOptions(**{"prune": MAGNITUDE, **options})
    with pytest.raises(EdgexError, match=words):
        quantize(model, load_target("cpu"), calib, tmp_path / "out", chosen, train="digits")
