"""What training made is made again from its manifest."""

from pathlib import Path

import numpy as np
import pytest
from command import edgex, refused
from training_support import normalized

from edgex.errors import ExitCode
from edgex.manifest import read_manifest
from edgex.resources import digits_file
from edgex.write.keras import keras_file

TRAINING = ("--prune", "channels", "--sparsity", "0.3", "--importance", "norm", "--prune-epochs", 1, "--mode", "qat")


@pytest.mark.slow
def test_pruning_and_training_are_done_again(tmp_path: Path) -> None:
    (tmp_path / ".git").mkdir()
    (tmp_path / "small.keras").write_bytes(keras_file(normalized()))
    with np.load(digits_file()) as digits:
        few = np.flatnonzero(digits["split"] == "train")[:160]
        np.savez(tmp_path / "few.npz", x=digits["x"][few], y=digits["y"][few])
    images = ("--calib", "digits", "--train", "few.npz")
    options = ("--target", "cpu", "--epochs", 1, "--threads", 1, "-o", "out")
    made = edgex("quantize", "small.keras", *images, *options, *TRAINING, cwd=tmp_path)
    assert made.code == 0, made.err
    manifest = read_manifest(tmp_path / "out")
    assert manifest.training["threads"] == 1
    assert manifest.versions["tensorflow"]
    refused(
        edgex("reproduce", "out", "small.keras", "--calib", "digits", cwd=tmp_path),
        ExitCode.USAGE,
        "--train is missing",
    )
    outcome = edgex("-q", "reproduce", "out", "small.keras", *images, cwd=tmp_path)
    assert outcome.code == 0, outcome.out + outcome.err
    assert outcome.out == "out is made again, bit by bit\n"
