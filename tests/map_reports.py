"""Reports and predictions of networks that label pixels and never ran, from what they are to have said."""

import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from reports import FLOAT, INT8, latency
from shapes import CLASSES, shapes

from edgex.manifest import file_record
from edgex.predictions import PREDICTIONS_NAME
from edgex.records import ArtifactKind
from edgex.report import (
    REPORT_NAME,
    MapArtifactFigures,
    MapDataFacts,
    MapFileFigures,
    MapReport,
)
from edgex.report.maps import comparison_figures, image_counts
from edgex.segmentation import Agreement, Confusions, MapComparison, confusion_cells
from edgex.segmentation.predictions import HASH_BYTES, Kept, MapAbout, MapPredictions, ModelMaps

Maps = NDArray[np.uint8]

SIZE = 24


def truth(images: int = 60, seed: int = 0) -> Maps:
    """Masks (images, 24, 24) of all classes and some void."""
    return shapes(images, SIZE, seed, void=True).masks


def said(masks: Maps, wrong: float, seed: int) -> Maps:
    """What a network says that is wrong on about such a share of the pixels, more on some images."""
    random = np.random.default_rng(seed)
    share = wrong * random.gamma(2, 0.5, (len(masks), 1, 1))
    guessed = random.integers(0, len(CLASSES), masks.shape).astype(np.uint8)
    known = np.where(masks < len(CLASSES), masks, 0)
    return np.where(random.random(masks.shape) < share, guessed, known).astype(np.uint8)


def quantized(before: Maps, changed: float, seed: int = 9) -> Maps:
    """What another network says that changes about such a share of the pixels."""
    random = np.random.default_rng(seed)
    share = changed * random.gamma(2, 0.5, (len(before), 1, 1))
    guessed = random.integers(0, len(CLASSES), before.shape).astype(np.uint8)
    return np.where(random.random(before.shape) < share, guessed, before).astype(np.uint8)


def predictions(masks: Maps, of: dict[str, Maps], kept: int = 3, names: Callable[[int], str] = "{}.png".format) -> Any:
    """Of several models, the baseline first."""
    count = len(masks)
    baseline = next(iter(of.values()))
    hashes = [hashlib.sha256(f"image {row}".encode()).digest() for row in range(count)]
    mask_hashes = [hashlib.sha256(mask.tobytes()).digest() for mask in masks]
    models = {}
    for name, maps in of.items():
        cells = [confusion_cells(*pair, len(CLASSES)) for pair in zip(masks, maps, strict=True)]
        equal = (maps == baseline).sum(axis=(1, 2)).astype(np.int32)
        heads = [hashlib.sha256(each.tobytes()).digest()[:HASH_BYTES] for each in maps]
        models[name] = ModelMaps(
            Confusions.joined(len(CLASSES), cells), equal, (SIZE**2 - equal).astype(np.float64), column(heads)
        )
    rows = np.arange(kept, dtype=np.int32)
    shown = Kept(rows, masks[:kept], np.stack([maps[:kept] for maps in of.values()]))
    about = MapAbout("key", CLASSES, tuple(map(names, range(count))), tuple(of), count, {}, (SIZE, SIZE))
    return MapPredictions(about, column(hashes), column(mask_hashes), np.full(count, 1e5), models, shown)


def column(rows: list[bytes]) -> NDArray[np.uint8]:
    return np.array([[*row] for row in rows], np.uint8)


def report(found: MapPredictions, sha256: str = "", **changes: Any) -> MapReport:
    """Of predictions; ``changes`` are attributes of the report, or of all its artifacts."""
    pixels = {name: each.confusions.by_class() for name, each in found.of.items()}
    first, *others = found.of
    of_artifacts = {key: changes.pop(key) for key in [*changes] if key in MapArtifactFigures.model_fields}
    artifacts = []
    for name in others:
        changed = found.changed(name)
        agreement = Agreement(SIZE**2 - changed, SIZE**2)
        discordant = int((changed > 0).sum())
        comparison = MapComparison(found.about.class_names, pixels[first], pixels[name], discordant, agreement)
        content = {
            **_facts(found, name),
            "changed": tuple(changed.tolist()),
            "comparison": comparison_figures(comparison),
            "snr_db": found.snr_db(name),
        }
        artifacts.append(MapArtifactFigures(**{**content, **of_artifacts}))
    facts = {"name": "val", "images": len(found), "unreadable": 0, "fingerprint": "f", "class_names": CLASSES}
    content = {
        "target": {"name": "cpu"},
        "data": MapDataFacts(**facts, height=SIZE, width=SIZE),
        "baseline": MapFileFigures(**_facts(found, first)),
        "artifacts": tuple(artifacts),
        "predictions": sha256,
        "noisy": False,
    }
    return MapReport(**{**content, **changes})


def _facts(found: MapPredictions, model: str) -> dict[str, Any]:
    kind = ArtifactKind.parse(".".join(model.split(".")[-2:]))
    return {
        "name": model,
        "format": kind.format,
        "precision": kind.precision,
        "bytes": 21_200_000,
        "sha256": hashlib.sha256(model.encode()).hexdigest(),
        "runtime": "onnxruntime",
        "images": len(found),
        "counts": image_counts(found.of[model].confusions.by_class()),
        "latency": latency(10.0, 9.0, 11.0),
    }


def outcome(images: int = 60, changed: float = 0.01, wrong: float = 0.1) -> MapPredictions:
    """Of a float file and an INT8 one that changes such a share of the pixels."""
    masks = truth(images)
    before = said(masks, wrong, seed=1)
    return predictions(masks, {FLOAT: before, INT8: quantized(before, changed)})


def write(folder: Path, found: MapPredictions, **changes: Any) -> Path:
    """A report and its predictions in a folder; returns the report's file."""
    folder.mkdir(exist_ok=True)
    found.save(folder / PREDICTIONS_NAME)
    file = folder / REPORT_NAME
    file.write_text(report(found, file_record(folder / PREDICTIONS_NAME).sha256, **changes).to_json())
    return file
