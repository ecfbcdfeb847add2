"""Reports and predictions of models that never ran, from what they are to have said."""

import hashlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgex.comparison import compare
from edgex.manifest import file_record
from edgex.predictions import BEST, PREDICTIONS_NAME, About, ModelPredictions, Predictions
from edgex.records import ArtifactKind
from edgex.report import REPORT_NAME, ArtifactFigures, DataFacts, FileFigures, Latency, Report

Said = NDArray[np.int32]

FLOAT, INT8 = "net.fp32.onnx", "net.int8.onnx"


def outcome(
    images: int = 4000, hits: int = 3400, lost: int = 20, gained: int = 16, classes: int = 10
) -> tuple[Said, Said, Said]:
    """Labels, what a baseline says, and what a model says that loses and gains so many images; (images,) each."""
    labels = np.arange(images, dtype=np.int32) % classes
    wrong = (labels + 1) % classes
    baseline = np.where(np.arange(images) < hits, labels, wrong)
    other = baseline.copy()
    other[:lost] = wrong[:lost]
    other[hits : hits + gained] = labels[hits : hits + gained]
    return labels, baseline, other


def predictions(
    labels: Said,
    said: Mapping[str, Said],
    class_names: Sequence[str] | None = None,
    contents: Sequence[object] | None = None,
) -> Predictions:
    """Of several models, the baseline first; ``contents`` stand for the images, which differ if not said."""
    count = len(labels)
    names = tuple(class_names or (f"class {index}" for index in range(10)))
    hashes = [hashlib.sha256(repr(each).encode()).digest() for each in contents or range(count)]
    zeros = np.zeros(count, np.float32)
    of = {}
    for model, top1 in said.items():
        best = (top1[:, np.newaxis] + np.arange(min(BEST, len(names)))) % len(names)
        of[model] = ModelPredictions(best.astype(np.int32), zeros + np.float32(0.9), zeros)
    about = About("key", names, tuple(f"{row}.png" for row in range(count)), tuple(said), count)
    return Predictions(
        about, np.frombuffer(b"".join(hashes), np.uint8).reshape(-1, 32), labels.astype(np.int32), zeros + 1, of
    )


def report(found: Predictions, sha256: str = "", **changes: Any) -> Report:
    """Of predictions; ``changes`` are attributes of the report, or of all its artifacts."""
    names, labels = found.about.class_names, found.labels
    baseline, *others = (_figures(found, model) for model in found.of)
    of_artifacts = {key: changes.pop(key) for key in [*changes] if key in ArtifactFigures.model_fields}
    artifacts = [
        ArtifactFigures(
            **{
                **each,
                "comparison": compare(labels, found.of[baseline["name"]].top1, found.of[each["name"]].top1, names),
                "snr_db": 30.0,
                **of_artifacts,
            }
        )
        for each in others
    ]
    facts = DataFacts(name="val", images=len(found), unreadable=0, fingerprint="f", class_names=names)
    content = {
        "target": {"name": "cpu"},
        "data": facts,
        "baseline": FileFigures(**baseline),
        "artifacts": tuple(artifacts),
        "predictions": sha256,
        "noisy": False,
    }
    return Report(**{**content, **changes})


def _figures(found: Predictions, model: str) -> dict[str, Any]:
    kind = ArtifactKind.parse(".".join(model.split(".")[-2:]))
    own = found.of[model]
    return {
        "name": model,
        "format": kind.format,
        "precision": kind.precision,
        "bytes": 21_200_000,
        "sha256": hashlib.sha256(model.encode()).hexdigest(),
        "runtime": "onnxruntime",
        "images": len(found),
        "hits": int(found.hits(model).sum()),
        "hits5": int((own.best == found.labels[:, np.newaxis]).any(axis=1).sum()),
        "calibration_error": 0.05,
        "latency": latency(10.0, 9.0, 11.0),
    }


def latency(median: float, low: float, high: float) -> Latency:
    return Latency(threads=2, runs=100, median_ms=median, low_ms=low, high_ms=high, p90_ms=1.2 * median)


def write(folder: Path, found: Predictions, **changes: Any) -> Path:
    """A report and its predictions in a folder; returns the report's file."""
    folder.mkdir(exist_ok=True)
    found.save(folder / PREDICTIONS_NAME)
    file = folder / REPORT_NAME
    file.write_text(report(found, file_record(folder / PREDICTIONS_NAME).sha256, **changes).to_json())
    return file


def write_outcome(folder: Path, name: str = INT8, **counts: int) -> Path:
    """The report of one artifact that loses and gains so many images, see :func:`outcome`."""
    labels, baseline, other = outcome(**counts)
    return write(folder, predictions(labels, {FLOAT: baseline, name: other}))


def edit(file: Path, *path: str | int, value: Any) -> None:
    """Change one value of a JSON file."""
    document = json.loads(file.read_text())
    place = document
    for key in path[:-1]:
        place = place[key]
    place[path[-1]] = value
    file.write_text(json.dumps(document))
