"""A DeepLab V3+ from training to INT8: what labels pixels loses next to nothing of its mean IoU, in both formats."""

from pathlib import Path

import pytest
from shapes import Shapes, shapes

from edgex.api import QuantizeOptions, TrainModelOptions, ValidateOptions, load_target, quantize, train, validate
from edgex.report import MapReport

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1800)]

SIZE = 48
LEAST_IOU = 0.4
"""Of five classes; saying ground everywhere has 0.14."""

MOST_POINTS = 1.0


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """With ``shapes.keras``, trained, and other images to measure on in ``val.npz``."""
    folder = tmp_path_factory.mktemp("deeplab")
    images = shapes(600, SIZE, seed=1).write_npz(folder / "train.npz")
    shapes(200, SIZE, seed=3).write_npz(folder / "val.npz")
    narrow = TrainModelOptions(
        epochs=24, batch=16, architecture={"width": 0.125, "depth": 0.125}, input_size=SIZE, threads=2
    )
    train("deeplab_v3plus", images, folder / "shapes.keras", narrow)
    return folder


def quantized(folder: Path, calibration: Shapes, name: str) -> MapReport:
    calib = calibration.write_npz(folder / f"{name}.npz")
    quantize(folder / "shapes.keras", load_target("cpu"), calib, folder / name, QuantizeOptions(threads=2))
    found = validate(folder / name, folder / "val.npz", options=ValidateOptions(latency=False, threads=2)).report
    assert isinstance(found, MapReport)
    return found


@pytest.fixture(scope="module")
def report(folder: Path) -> MapReport:
    return quantized(folder, shapes(40, SIZE, seed=2), "out")


def test_it_has_learned(report: MapReport) -> None:
    assert report.baseline.miou > LEAST_IOU


@pytest.mark.parametrize("format_", ["onnx", "tflite"])
def test_int8_keeps_the_mean_iou(report: MapReport, format_: str) -> None:
    (artifact,) = (each for each in report.artifacts if (each.format, each.precision) == (format_, "int8"))
    assert abs(100 * (report.baseline.miou - artifact.miou)) < MOST_POINTS
    assert artifact.comparison.agreement < 1, "INT8 was compared with itself"


def test_can_fail(folder: Path) -> None:
    """With ranges of images in the dark INT8 loses more."""
    bright = shapes(40, SIZE, seed=2)
    dark = quantized(folder, bright._replace(images=bright.images // 8), "dark")
    drops = [100 * (dark.baseline.miou - each.miou) for each in dark.artifacts if each.precision == "int8"]
    assert min(drops) > MOST_POINTS
