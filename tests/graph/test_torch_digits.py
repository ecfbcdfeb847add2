"""A PyTorch Xception, trained on digits, goes through ``edgex quantize`` to INT8 and keeps PyTorch's classes."""

from pathlib import Path
from typing import NamedTuple

import numpy as np
import onnx
import onnx_support
import pytest
import tflite_support
from command import edgex
from torch_digits_file import digits, save_digits
from torch_environment import needs_torch, run_torch

AGREEMENT = 0.98
"""Least share of the held-out digits that INT8 gives PyTorch's class."""

pytestmark = [
    needs_torch,
    pytest.mark.slow,
    pytest.mark.timeout(1800),
]  # trains for 40 seconds, on a machine of its own


class Quantized(NamedTuple):
    """The folder of artifacts, the held-out images as the model reads them, their labels, and PyTorch's logits."""

    folder: Path
    images: np.ndarray
    labels: np.ndarray
    logits: np.ndarray


@pytest.fixture(scope="module")
def quantized(tmp_path_factory: pytest.TempPathFactory) -> Quantized:
    project = tmp_path_factory.mktemp("project")
    (project / ".git").mkdir()
    save_digits(project / "digits.npz")
    run_torch("torch_digits.py", project / "digits.npz", project)
    arguments = ("xception.onnx", "--target", "cpu", "--calib", "digits", "--preprocess", "imagenet", "-o", "out")
    outcome = edgex("quantize", *arguments, cwd=project)
    assert outcome.code == 0, outcome.err
    with np.load(project / "answers.npz") as answers:
        return Quantized(project / "out", *digits("evaluation", "imagenet"), answers["logits"])


def logits(quantized: Quantized, artifact: str) -> np.ndarray:
    path = quantized.folder / f"xception.{artifact}"
    if path.suffix == ".tflite":
        (found,) = tflite_support.run(path.read_bytes(), quantized.images).values()
    else:
        (found,) = onnx_support.run(onnx.load(path), quantized.images).values()
    return found


def test_pytorch_learned_it(quantized: Quantized) -> None:
    """Agreement of a network that guesses would say little."""
    assert np.mean(quantized.logits.argmax(1) == quantized.labels) > 0.97


@pytest.mark.parametrize("artifact", ["fp32.onnx", "fp32.tflite"])
def test_float_is_pytorch(quantized: Quantized, artifact: str) -> None:
    """With the pixels scaled on both sides, each by its own code."""
    assert tflite_support.error(logits(quantized, artifact), quantized.logits) <= 1e-4


@pytest.mark.parametrize("artifact", ["int8.onnx", "int8.tflite"])
def test_int8_gives_the_class_of_pytorch(quantized: Quantized, artifact: str) -> None:
    agreement = np.mean(logits(quantized, artifact).argmax(1) == quantized.logits.argmax(1))
    assert agreement >= AGREEMENT


def test_wrong_preprocessing_shows(quantized: Quantized) -> None:
    """The scale of Keras' Xception, in place of PyTorch's, loses the agreement in float already."""
    (found,) = onnx_support.run(
        onnx.load(quantized.folder / "xception.fp32.onnx"), digits("evaluation", "none")[0]
    ).values()
    assert np.mean(found.argmax(1) == quantized.logits.argmax(1)) < AGREEMENT


def test_eval_says_so(quantized: Quantized) -> None:
    """What was said to ``quantize`` about the pixels holds for ``eval``."""
    outcome = edgex("eval", "out", "--data", "digits", "--json", cwd=quantized.folder.parent)
    found = {Path(each["path"]).name: each["top1"] for each in outcome.document["results"]}
    accuracy = np.mean(quantized.logits.argmax(1) == quantized.labels)
    assert found["xception.fp32.onnx"] == pytest.approx(accuracy)
    assert found["xception.int8.tflite"] == pytest.approx(accuracy, abs=0.02)
