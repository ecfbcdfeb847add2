"""Reports of predictions that were made up, and the figures and verdicts that really follow from them."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from edgex.comparison import compare
from edgex.gate import GateResult, Limits, judge
from edgex.page import report_page
from edgex.predictions import About, ModelPredictions, Predictions
from edgex.preprocess import Pixels
from edgex.report import ArtifactFigures, DataFacts, FileFigures, Latency, LayerError, LayerSensitivity, Report, Speedup
from edgex.validate.figures import calibration_error, confusions, hits_among_best

CLASSES = ("airplane", "bird", "cat", "dog", "frog", "ship")
FLOAT = "net.fp32.onnx"
JUDGED = ("net.int8.onnx", "net.int8.tflite")
LAYERS = tuple(LayerError(layer=f"block{index}_conv", snr_db=40 - index) for index in range(1, 15))
HOSTILE = (
    "<script>alert(1)</script>",
    "\"><img src=x onerror='alert(2)'>",
    "$\\frac{1}{0$",
    "_hidden",
    "长" * 80,
    "a\x00b\x1b[31m\u202etxt.exe",
    "{{ 7 * 7 }}{% raw %}",
    "&amp;#000001",
)
SENSITIVITY = (
    LayerSensitivity(layer="block2_sepconv1.depthwise", operation="DepthwiseConv2D", snr_db=18.5, images=500, lost=7),
    LayerSensitivity(layer="predictions", operation="Dense", snr_db=None),
    LayerSensitivity(layer="block1_conv1", operation="Conv2D", snr_db=31.0),
)


@dataclass(frozen=True)
class Made:
    """A report with all that its page is made of.

    Attributes:
        lost: the share of images that the judged artifacts lose; so ``gained``.
    """

    classes: Sequence[str] = CLASSES
    images: int = 600
    lost: float = 0.02
    gained: float = 0.015
    judged: Sequence[str] = JUDGED
    limits: Limits = field(default_factory=Limits)
    timed: bool = True
    noisy: bool | None = False
    layer_errors: tuple[LayerError, ...] = LAYERS
    sensitivity: tuple[LayerSensitivity, ...] = SENSITIVITY
    image_names: Callable[[int], str] = "{}.png".format
    warnings: tuple[str, ...] = ()
    settings: dict[str, Any] = field(default_factory=lambda: {"threads": 2, "bench": {"seconds": 3.0}})
    pixels: Callable[[str], Pixels | None] = lambda name: noise_image(name)

    def predictions(self) -> Predictions:
        rng = np.random.default_rng(7)
        count = len(self.classes)
        labels = np.arange(self.images, dtype=np.int32) % count
        missed = (labels + 1 + rng.integers(0, max(count - 1, 1), self.images)) % count
        before = np.where(rng.random(self.images) < 0.85, labels, missed)
        of = {FLOAT: before}
        for name in self.judged:
            right, chance = before == labels, rng.random(self.images)
            after = np.where(right & (chance < self.lost / 0.85), missed, before)
            of[name] = np.where(~right & (chance < self.gained / 0.15), labels, after)
        return Predictions(
            About("key", tuple(self.classes), tuple(map(self.image_names, range(self.images))), tuple(of), self.images),
            hashes=rng.integers(0, 256, (self.images, 32), np.uint8),
            labels=labels,
            signal=np.full(self.images, 50, np.float32),
            of={name: self._model(name, top1, rng) for name, top1 in of.items()},
        )

    def _model(self, name: str, top1: np.ndarray, rng: np.random.Generator) -> ModelPredictions:
        count = len(self.classes)
        best = (top1[:, np.newaxis] + np.arange(min(5, count))) % count
        noise = np.full(self.images, 0 if name == FLOAT else 0.5, np.float32)
        return ModelPredictions(best.astype(np.int32), rng.uniform(0.4, 1, self.images).astype(np.float32), noise)

    def report(self) -> Report:
        predictions = self.predictions()
        baseline = FileFigures(**self._figures(FLOAT, predictions, 40.0, 80_000_000))
        artifacts = []
        for index, name in enumerate(self.judged):
            top1 = predictions.of[FLOAT].top1, predictions.of[name].top1
            artifacts.append(
                ArtifactFigures(
                    **self._figures(name, predictions, 20.0 + index, 21_000_000 + index),
                    comparison=compare(predictions.labels, *top1, self.classes),
                    snr_db=predictions.snr_db(name),
                    speedup=Speedup(ratio=2.0, low=1.9, high=2.1) if self.timed and not self.noisy else None,
                    confusions=confusions(predictions.labels, *top1, self.classes),
                )
            )
        return Report(
            target={"name": "cpu", "arch": "x86"},
            data=DataFacts(
                name="val.zip", images=self.images, unreadable=1, fingerprint="f" * 64, class_names=tuple(self.classes)
            ),
            baseline=baseline,
            artifacts=tuple(artifacts),
            noisy=self.noisy if self.timed else None,
            layer_errors=self.layer_errors,
            sensitivity=self.sensitivity,
            settings=self.settings,
            machine={"os": "Linux", "cpu": "Some CPU"},
            versions={"edgex": "0.1.0", "onnxruntime": "1.31.1"},
            predictions="p" * 64,
            warnings=self.warnings,
        )

    def _figures(self, name: str, predictions: Predictions, median: float, size: int) -> dict[str, Any]:
        model = predictions.of[name]
        latency = Latency(
            threads=2, runs=300, median_ms=median, low_ms=0.98 * median, high_ms=1.03 * median, p90_ms=1.2 * median
        )
        return {
            "name": name,
            "format": "tflite" if name.endswith("tflite") else "onnx",
            "precision": "fp32" if name == FLOAT else "int8",
            "bytes": size,
            "sha256": f"{size:064x}",
            "runtime": "litert" if name.endswith("tflite") else "onnxruntime",
            "images": self.images,
            "hits": int(predictions.hits(name).sum()),
            "hits5": hits_among_best(model, predictions.labels),
            "calibration_error": calibration_error(model, predictions.labels),
            "peak_bytes": 90_000_000,
            "latency": latency if self.timed else None,
        }

    def result(self) -> GateResult:
        return judge(self.report(), self.limits)

    def page(self) -> str:
        return report_page(self.report(), self.result(), self.predictions(), self.pixels)


def small(**changes: Any) -> Made:
    """Of one artifact, and with few plots, for the time they take."""
    return Made(**{"judged": JUDGED[:1], "layer_errors": (), "sensitivity": (), **changes})


def noise_image(name: str) -> Pixels:
    seed = [*name.encode(errors="replace")]
    return np.random.default_rng(seed).integers(0, 256, (40, 32, 3), np.uint8)


def hostile() -> Made:
    """Every name in it tries something."""
    files = tuple(f"{name.replace('/', '')}.int8.onnx" for name in HOSTILE)
    return Made(
        classes=HOSTILE,
        judged=files,
        image_names=lambda index: f"{HOSTILE[index % len(HOSTILE)]}{index}\ud800",  # a file's name need not be text
        layer_errors=tuple(LayerError(layer=name, snr_db=9) for name in HOSTILE),
        sensitivity=tuple(LayerSensitivity(layer=name, operation=name, snr_db=9) for name in HOSTILE),
        settings={name: {name: [name, None, True]} for name in HOSTILE},
        warnings=HOSTILE,
    )
