"""A run keeps what was pruned and trained, and does it again only if what that follows from has changed."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from training_support import normalized

from edgex.api import PruneOptions, QuantizeOptions, Recipe, ValidateOptions, load_target, run
from edgex.resources import digits_file
from edgex.train.loop import TrainOptions
from edgex.write.keras import keras_file

ONE_EPOCH = TrainOptions(epochs=1, batch=50)
OPTIONS = QuantizeOptions(
    calib_count=8, prune=PruneOptions(sparsity=0.3, steps=1, train=ONE_EPOCH), qat=ONE_EPOCH, threads=1
)


def steps_of(recipe: Recipe) -> set[str]:
    """Run it, and say what was trained and timed; the stages and what pruning bought are as that has them."""
    steps = set()

    def progress(what: str, done: int, total: int) -> None:
        if done < total and ("epoch" in what or what == "time"):
            steps.add(what.partition(" ")[0])

    report = run(recipe, progress)
    cached = {stage.name: stage.cached for stage in report.stages}
    assert list(cached) == ["prune", "train", "quantize", "validate", "gate"]
    assert (cached["prune"], cached["train"]) == ("prune" not in steps, "epoch" not in steps)
    assert report.pruning is not None
    assert report.gain is not None
    assert [each.format for each in report.gain.latencies] == ["onnx", "tflite"]
    return steps


@pytest.fixture
def recipe(tmp_path: Path) -> Recipe:
    """To prune and to train on some digits."""
    model = tmp_path / "small.keras"
    model.write_bytes(keras_file(normalized()))
    with np.load(digits_file()) as digits:
        few = np.flatnonzero(digits["split"] == "train")[:300]
        np.savez(tmp_path / "few.npz", x=digits["x"][few], y=digits["y"][few])
    fast = ValidateOptions(latency=False, threads=1)
    return Recipe(model, load_target("cpu"), "digits", "digits", tmp_path / "out", tmp_path / "few.npz", OPTIONS, fast)


def test_what_took_long_is_kept(recipe: Recipe) -> None:
    assert steps_of(recipe) == {"prune", "time", "epoch"}
    artifact = recipe.output / "small.int8.onnx"
    content = artifact.read_bytes()
    assert steps_of(recipe) == set()

    artifact.unlink()
    assert steps_of(recipe) == set(), "the artifacts are made again, from the weights that were trained"
    assert artifact.read_bytes() == content

    otherwise = replace(recipe, quantize=replace(OPTIONS, method="minmax"))
    assert steps_of(otherwise) == {"epoch"}, "other ranges are trained from, and the pruned network is the same"


def test_what_is_damaged_is_made_again(recipe: Recipe) -> None:
    assert steps_of(recipe) == {"prune", "time", "epoch"}
    artifact, kept = recipe.output / "small.int8.onnx", recipe.output.with_name(".out.stages") / "quantize"
    content = artifact.read_bytes()
    names = ("pruned.keras", "step-1.keras", "pruning.npz", "training.npz")
    pruned, step, pruning, training = (kept / name for name in names)

    artifact.unlink()
    flip(pruned)
    assert steps_of(recipe) == set(), "the last cut is as good"
    assert artifact.read_bytes() == content

    artifact.unlink()
    flip(pruned)
    step.write_bytes(step.read_bytes()[:-100])
    flip(pruning)
    assert steps_of(recipe) == {"prune"}, "the same network comes out, of which the training is still there"
    assert artifact.read_bytes() == content

    artifact.unlink()
    flip(training)
    assert steps_of(recipe) == {"epoch"}
    assert artifact.read_bytes() == content


def flip(file: Path) -> None:
    """Turn a bit in the middle of a file."""
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 1
    file.write_bytes(content)
