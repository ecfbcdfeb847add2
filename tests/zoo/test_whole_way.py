"""Networks of the zoo all the way: pruned, trained for INT8, quantized, validated, gated, with one epoch of each."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from shapes import shapes

from edgex.api import Limits, PruneOptions, QuantizeOptions, ValidateOptions, gate, load_target, quantize, validate
from edgex.resources import digits_file
from edgex.train.loop import TrainOptions
from edgex.write.keras import keras_file
from edgex.zoo import build

EPOCH = TrainOptions(epochs=1, batch=16)
OPTIONS = QuantizeOptions(calib_count=16, prune=PruneOptions(sparsity=0.2, steps=1, train=EPOCH), qat=EPOCH, threads=2)
SMALL: dict[str, Any] = {"width": 0.25, "depth": 0.1}
CASES: dict[str, tuple[str, dict[str, Any], str]] = {
    "aligned xception": ("aligned_xception", {**SMALL, "input_size": 32}, "cpu"),
    "three segments": ("xception", {**SMALL, "input_size": 48, "segments": 3}, "jetson"),
    "deeplab": ("deeplab_v3plus", {**SMALL, "input_size": 48}, "jetson"),
    "inception": ("inception_v3", {"input_size": 75}, "cpu"),
}


def few(task_of: str, folder: Path) -> tuple[str | Path, str | Path, Path]:
    """Images to calibrate with, to validate with, and to train on."""
    if task_of == "deeplab":
        found = [
            shapes(count, 48, seed=seed).write_npz(folder / f"{seed}.npz") for seed, count in enumerate((16, 40, 48))
        ]
        return found[0], found[1], found[2]
    with np.load(digits_file()) as digits:
        chosen = np.flatnonzero(digits["split"] == "train")[:48]
        np.savez(folder / "few.npz", x=digits["x"][chosen], y=digits["y"][chosen])
    return "digits", "digits", folder / "few.npz"


@pytest.mark.slow
@pytest.mark.parametrize("case", CASES)
def test_it_goes_all_the_way(case: str, tmp_path: Path) -> None:
    name, options, target = CASES[case]
    classes = 5 if case == "deeplab" else 10
    model, out = tmp_path / "model.keras", tmp_path / "out"
    model.write_bytes(keras_file(build(name, classes=classes, **options)))
    calib, data, train = few(case, tmp_path)
    written = quantize(model, load_target(target), calib, out, OPTIONS, train=train)
    assert written.pruning is not None
    before, after = written.pruning.macs
    assert after == pytest.approx(0.8 * before, rel=0.05)
    assert written.history is not None
    assert len(written.history.losses) == 2, "before and after the epoch"
    found = validate(out, data, options=ValidateOptions(latency=False, threads=2)).report
    judged = [artifact for artifact in found.artifacts if artifact.judged]
    assert {artifact.name.rpartition(".")[2] for artifact in judged} == {"onnx", "tflite"}
    result = gate(out, Limits(max_drop=100))
    assert len(result.results) == len(judged)
    assert {check.name for each in result.results for check in each.checks} == {"max-drop"}
