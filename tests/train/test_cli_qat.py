"""``edgex quantize --mode qat`` as a user runs it: whole, interrupted, killed, and without what it needs."""

import signal
import time
from pathlib import Path

import numpy as np
import pytest
from command import Outcome, edgex, refused, start

from edgex.errors import ExitCode
from edgex.plan import QuantizationPlan
from edgex.resources import digits_file

EPOCHS = 8
QAT = ("quantize", "small.keras", "--target", "jetson", "--calib", "digits", "-o", "out", "--weight-bits", "4")
TRAINING = ("--mode", "qat", "--train", "digits", "--epochs", EPOCHS, "--batch", "16", "--threads", "1")
CHECKPOINT = ".out.unfinished/training.npz"

NO_TENSORFLOW = """
import sys

class Missing:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in ("tensorflow", "tensorflow_model_optimization", "tf_keras"):
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)

sys.meta_path.insert(0, Missing())
"""


@pytest.fixture(scope="session")
def model(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """A small classifier of digits, not trained."""
    import keras

    keras.utils.set_random_seed(0)
    layers = keras.layers
    network = keras.Sequential(
        [
            layers.Input((16, 16, 3)),
            layers.Conv2D(16, 3, strides=2, use_bias=False),
            layers.BatchNormalization(),
            layers.ReLU(),
            layers.SeparableConv2D(24, 3, strides=2),
            layers.ReLU(),
            layers.Flatten(),
            layers.Dense(10, activation="softmax"),
        ],
        name="small",
    )
    file = tmp_path_factory.mktemp("model") / "small.keras"
    network.save(file)
    return file.read_bytes()


def in_project(folder: Path, model: bytes) -> Path:
    (folder / ".git").mkdir()
    (folder / "small.keras").write_bytes(model)
    return folder


@pytest.fixture
def project(tmp_path: Path, model: bytes) -> Path:
    return in_project(tmp_path, model)


@pytest.fixture(scope="session")
def whole(tmp_path_factory: pytest.TempPathFactory, model: bytes) -> tuple[Path, Outcome]:
    """A project in which nothing interrupted the command. Not to be changed."""
    folder = in_project(tmp_path_factory.mktemp("whole"), model)
    return folder, edgex(*QAT, *TRAINING, cwd=folder)


def made(folder: Path) -> dict[str, bytes]:
    """All that was written."""
    return {file.name: file.read_bytes() for file in (folder / "out").iterdir()}


@pytest.mark.slow
def test_a_whole_run(whole: tuple[Path, Outcome]) -> None:
    folder, outcome = whole
    assert outcome.code == 0, outcome.err
    assert "the loss on the images held out went from" in outcome.out
    assert f"epoch 2 of {EPOCHS}" in outcome.err
    assert not any(word in outcome.err for word in ("absl", "cuda", "oneDNN", "WARNING")), outcome.err
    assert {file.name for file in folder.iterdir()} == {".git", "small.keras", "out"}
    plan = QuantizationPlan.from_json((folder / "out" / "plan.json").read_text())
    assert plan.weight_bits == 4
    assert plan.scheme == "symmetric"
    for name in ("small.int8.onnx", "small.int8.tflite"):
        assert edgex("lint", f"out/{name}", "--target", "jetson", cwd=folder).code == 0


@pytest.mark.slow
def test_what_was_trained_on_measures_nothing(whole: tuple[Path, Outcome]) -> None:
    folder, _ = whole
    with np.load(digits_file()) as arrays:
        x, y, split = arrays["x"], arrays["y"], arrays["split"]
    file = folder.parent / "trained.npz"
    chosen = np.concatenate([np.flatnonzero(split == "test")[:20], np.flatnonzero(split == "train")[:3]])
    np.savez(file, x=x[chosen], y=y[chosen])
    outcome = edgex("eval", "out", "--data", file, cwd=folder)
    refused(outcome, ExitCode.USAGE, "3 of 23 images", "trained on")
    assert edgex("eval", "out", "--data", "digits", cwd=folder).code == 0


@pytest.mark.slow
@pytest.mark.parametrize("by", [signal.SIGINT, signal.SIGKILL])
def test_the_same_command_goes_on(project: Path, whole: tuple[Path, Outcome], by: signal.Signals) -> None:
    process = start(*QAT, *TRAINING, cwd=project)
    deadline = time.monotonic() + 200
    while not (project / CHECKPOINT).exists() and process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.01)
    process.send_signal(by)
    _, err = process.communicate(timeout=100)
    if by is signal.SIGINT:
        assert process.returncode == ExitCode.INTERRUPTED, err
        assert "The same command goes on from step" in err
    else:
        assert process.returncode == -signal.SIGKILL
    assert (project / CHECKPOINT).exists()
    assert not (project / "out").exists()
    resumed = edgex(*QAT, *TRAINING, cwd=project)
    assert resumed.code == 0, resumed.err
    assert f"epoch 1 of {EPOCHS}" not in resumed.err
    assert made(project) == made(whole[0])
    assert {file.name for file in project.iterdir()} == {".git", "small.keras", "out"}


def test_without_tensorflow(project: Path) -> None:
    (project / "blocked").mkdir()
    (project / "blocked" / "sitecustomize.py").write_text(NO_TENSORFLOW)
    outcome = edgex(*QAT, *TRAINING, cwd=project, PYTHONPATH=str(project / "blocked"))
    refused(outcome, ExitCode.RUNTIME_MISSING, "tensorflow", "pip install 'edgex[train]'")
    assert "calibrate" not in outcome.err, "that takes minutes on a real model"


def test_images_without_training(project: Path) -> None:
    refused(edgex(*QAT, "--train", "digits", cwd=project), ExitCode.USAGE, "--train", "--mode qat")


def test_training_without_images(project: Path) -> None:
    refused(edgex(*QAT, "--mode", "qat", cwd=project), ExitCode.USAGE, "--train")
