"""Row 5 of the faults to survive, and what is like it: weights that are finite, but odd.

Either the command says what is wrong, or what it writes has no scale that is zero, infinite, subnormal or NaN.
"""

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from command import edgex, refused
from onnx import numpy_helper
from spoilt_demo import FEW, REFUSED, Edit, demo_with, layer, quantized

CONV, NORM = "layers/conv2d/vars/0", "layers/batch_normalization/vars"
DEPTHWISE, POINTWISE = "layers/separable_conv2d/vars/0", "layers/separable_conv2d/vars/1"
GAMMA, BETA, MEAN, VARIANCE = (f"{NORM}/{number}" for number in range(4))
"""Kernels of block1_conv1 and block2_sepconv1, and the batch norm after the first."""

FLOAT = np.finfo(np.float32)


def filled(*places: str, value: float, channels: slice = slice(None)) -> Edit:
    def edit(file: Any) -> None:
        for place in places:
            file[place][..., channels] = value

    return edit


def scaled(*places: str, factor: float) -> Edit:
    def edit(file: Any) -> None:
        for place in places:
            file[place][...] = np.clip(file[place][...].astype(np.float64) * factor, FLOAT.min, FLOAT.max)

    return edit


def all_kernels(factor: float) -> Edit:
    def edit(file: Any) -> None:
        places: list[str] = []
        file.visit(lambda name: places.append(name) if name.endswith("vars/0") and "conv" in name else None)
        assert len(places) > 10
        scaled(*places, factor=factor)(file)

    return edit


def edits(*those: Edit) -> Edit:
    def edit(file: Any) -> None:
        for one in those:
            one(file)

    return edit


HANDLED: dict[str, Edit] = {
    "channels of zeros": filled(CONV, POINTWISE, value=0.0, channels=slice(3)),
    "a kernel and an activation of zeros": edits(filled(DEPTHWISE, value=0.0), filled(GAMMA, BETA, value=0.0)),
    "an activation that is constant": filled(GAMMA, value=0.0),
    "subnormal weights": scaled(CONV, POINTWISE, factor=1e-39),
    "subnormal activation and variance": filled(GAMMA, BETA, VARIANCE, value=1e-40),
    "weights of 1e30": scaled(CONV, factor=1e30),
    "variance of 3e38": filled(VARIANCE, value=3e38),
}
"""Networks that are of little use, and whose every number can be written."""

TOO_HUGE: dict[str, tuple[Edit, str]] = {
    "weights of 1e30 everywhere": (all_kernels(1e30), "not finite on the image"),
    "weights of 3e38": (filled(CONV, value=3e38), "NaN or infinite"),
    "mean of 3e38": (filled(MEAN, value=3e38), "NaN or infinite"),
    "bias of 3e38": (filled(BETA, value=3e38), "not finite on the image"),
}
"""What overflows, and where that shows: in the weights, or only in what the network makes of an image."""


def scales(path: Path) -> dict[str, Any]:
    """Of an ONNX file, by name."""
    constants = onnx.load(path).graph.initializer
    return {constant.name: numpy_helper.to_array(constant) for constant in constants if constant.name.endswith("scale")}


def sound(folder: Path, int8: dict[str, Path]) -> None:
    """Nothing in the artifacts is too large or too small to count with."""
    found = scales(int8["int8.onnx"])
    assert len(found) > 50
    assert [name for name, values in found.items() if not ((FLOAT.tiny <= values) & (values <= FLOAT.max)).all()] == []
    for kind in ("int8.onnx", "int8.tflite"):
        outcome = edgex("lint", int8[kind], "--target", "cpu", cwd=folder)
        assert outcome.code == 0, outcome.out


@pytest.mark.parametrize("edit", HANDLED.values(), ids=HANDLED)
def test_5_odd_weights_are_handled(folder: Path, edit: Edit) -> None:
    artifacts, outcome = quantized(demo_with(folder / "m.keras", weights=edit))
    assert "RuntimeWarning" not in outcome.err
    sound(folder, artifacts)


@pytest.mark.parametrize(("edit", "problem"), TOO_HUGE.values(), ids=TOO_HUGE)
def test_5_weights_that_overflow_are_refused(folder: Path, edit: Edit, problem: str) -> None:
    model = demo_with(folder / "m.keras", weights=edit)
    outcome = edgex("quantize", model.name, "--target", "cpu", *FEW, cwd=folder)
    refused(outcome, REFUSED, problem, "block1_conv")
    assert "RuntimeWarning" not in outcome.err
    assert {path.name for path in folder.iterdir()} == {".git", "m.keras"}


def no_epsilon(document: Any) -> None:
    layer(document, "block1_conv1_bn")["config"]["epsilon"] = 0.0


def negative_epsilon(document: Any) -> None:
    layer(document, "block1_conv1_bn")["config"]["epsilon"] = -1.0


def slope(value: float) -> Edit:
    def edit(document: Any) -> None:
        config = {"name": "block1_conv1_act", "negative_slope": value}
        layer(document, "block1_conv1_act").update(class_name="LeakyReLU", config=config)

    return edit


def nothing(_document: Any) -> None:
    pass


@pytest.mark.parametrize(
    ("config", "weights", "named"),
    [
        (no_epsilon, filled(VARIANCE, value=0.0), "block1_conv1"),
        (negative_epsilon, filled(VARIANCE, value=0.5), "block1_conv1"),
        (nothing, filled(GAMMA, CONV, value=3e38), "block1_conv1"),
        (slope(float("nan")), nothing, "block1_conv1_act"),
        (slope(1e300), nothing, "block1_conv1_act"),
    ],
    ids=["divides by zero", "root of a negative", "overflows", "NaN in an argument", "argument too large for float32"],
)
def test_5_what_is_not_finite_when_folded_is_not_exported(
    folder: Path, config: Edit, weights: Edit, named: str
) -> None:
    model = demo_with(folder / "m.keras", config, weights)
    assert edgex("inspect", model.name, cwd=folder).code == 0
    for command in (("export",), ("quantize", *FEW)):
        outcome = edgex(command[0], model.name, "--target", "cpu", *command[1:], cwd=folder)
        refused(outcome, REFUSED, "NaN or infinite", named)
        assert "RuntimeWarning" not in outcome.err
    assert {path.name for path in folder.iterdir()} == {".git", "m.keras"}


def test_5_what_is_too_large_for_float16(folder: Path) -> None:
    model = demo_with(folder / "m.keras", weights=filled(GAMMA, value=1e6))
    refused(edgex("export", model.name, "--target", "jetson", cwd=folder), REFUSED, "block1_conv1", "float16")
