"""Rows 7, 19, 26 and 31 of the faults to survive: images that are not what the model was made for. Numbers as there."""

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from command import Outcome, edgex
from numpy.typing import NDArray
from PIL import Image

from edgex.errors import ExitCode
from edgex.resources import digits_file

Labels = NDArray[Any]


@pytest.fixture
def copied(project: Path, folder: Path) -> Path:
    """A project with the demo's artifacts in ``out``."""
    shutil.copytree(project / "out", folder / "out")
    return folder


def unseen_digits() -> tuple[NDArray[np.uint8], Labels]:
    """Those that neither training nor calibration saw, and what they are."""
    with np.load(digits_file()) as digits:
        chosen = digits["split"] == "test"
        return digits["x"][chosen], digits["y"][chosen]


def validated(folder: Path, data: object, *options: object) -> Outcome:
    """What the gate says of it, however much may be lost."""
    validation = edgex("validate", "out", "--data", data, "--no-latency", cwd=folder)
    assert validation.code == 0, validation.err
    return edgex("gate", "out", "--max-drop", 30, "--json", *options, cwd=folder)


@pytest.mark.parametrize(
    "labels",
    [
        pytest.param(lambda y: (y + 1) % 10, id="7 another order"),
        pytest.param(lambda y: np.random.default_rng(0).permutation(y), id="31 no order"),
    ],
)
def test_7_and_31_a_baseline_near_chance(copied: Path, labels: Callable[[Labels], Labels]) -> None:
    x, y = unseen_digits()
    np.savez(copied / "data.npz", x=x, y=labels(y))
    outcome = validated(copied, "data.npz")
    assert outcome.code == ExitCode.INCONCLUSIVE, outcome.out
    assert outcome.document["verdict"] == "inconclusive"
    for result in outcome.document["results"]:
        (check,) = result["checks"]
        assert "not surely better than always saying the commonest class" in check["message"]
        assert "labels or preprocessing that do not fit the model" in check["message"]


def test_19_an_empty_class_folder(copied: Path) -> None:
    for number, (pixels, label) in enumerate(zip(*unseen_digits(), strict=True)):
        kind = copied / "data" / str(label)
        kind.mkdir(parents=True, exist_ok=True)
        if label != 9:
            Image.fromarray(pixels[..., 0]).save(kind / f"{number}.png")
    outcome = validated(copied, "data")
    assert outcome.code == 0, outcome.out
    assert any("no image of the classes '9': the verdict is partial" in note for note in outcome.document["notes"])
    of_classes = edgex("gate", "out", "--max-drop", 30, "--max-class-drop", 50, cwd=copied)
    assert of_classes.code == ExitCode.INCONCLUSIVE
    assert "the verdict is partial" in " ".join(of_classes.out.split())


def test_26_wrong_preprocessing(folder: Path) -> None:
    """Of 500 digits all are right as they should be read, and 92 % like this, in float and INT8 alike."""
    quantize = ("quantize", "demo", "--target", "cpu", "--calib", "digits", "--calib-count", 40, "-o", "out")
    assert edgex(*quantize, "--preprocess", "imagenet", cwd=folder).code == 0
    assert validated(folder, "digits").code == 0
    for options in (("--baseline-accuracy", 99.5), ("--baseline-accuracy", 99.5, "--max-class-drop", 1)):
        outcome = edgex("gate", "out", "--json", *options, cwd=folder)
        assert outcome.code == ExitCode.INCONCLUSIVE, outcome.out
        for result in outcome.document["results"]:
            assert all("is known for 99.5 %: labels or preprocessing" in each["message"] for each in result["checks"])


def test_26_right_preprocessing(copied: Path) -> None:
    assert validated(copied, "digits", "--baseline-accuracy", 99.5).code == 0
