"""What several models say of the pixels of the same images, counted, in columns: ``predictions.npz``.

A row is an image. Of each map there are the counts and a hash, and the maps themselves only of those images that change
most, to be looked at; all maps of a thousand large images would take gigabytes.
"""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgex.errors import DataError
from edgex.graph.ir import Pair
from edgex.npz_file import read_npz
from edgex.predictions import MOST_BYTES, About, Column, about_fields, check_columns, decibels
from edgex.segmentation.counts import MOST_CLASSES, MOST_PIXELS, Confusions

MAP_PREDICTIONS_SCHEMA = "edgex.segmentation-predictions/1"

HASH_BYTES = 16
"""Of a map: the head of its sha256."""

COUNTS = ("starts", "cells", "pixels")
COLUMNS = ("equal", "noise", "maps")


@dataclass(frozen=True)
class MapAbout(About):
    """What the columns are of; ``size`` is (height, width) of the maps."""

    size: Pair = (1, 1)


@dataclass(frozen=True)
class ModelMaps:
    """Of one model.

    Attributes:
        confusions: of each image.
        equal: pixels of each image, void ones too, of which it says what the baseline says, int32 (images,).
        noise: squared distance of the logits of all pixels from the baseline's, each pixel's centred, float64
            (images,); 0 for the baseline.
        maps: hash of each map, uint8 (images, 16).
    """

    confusions: Confusions
    equal: Column
    noise: Column
    maps: Column


@dataclass(frozen=True)
class Kept:
    """Some maps to look at.

    Attributes:
        rows: of the images, int32 (kept,), rising.
        truth: their masks, uint8 (kept, height, width).
        maps: by model, in order, uint8 (models, kept, height, width).
    """

    rows: Column
    truth: Column
    maps: Column


@dataclass(frozen=True)
class MapPredictions:
    """Columns of images.

    Attributes:
        hashes: sha256 of each image as it is stored, uint8 (images, 32).
        masks: the same of its mask.
        signal: squared length of the baseline's logits of all pixels, each pixel's centred, float64 (images,).
        of: by model, in the order of ``about.models``; the first is the baseline.
        kept: maps of those images of which an artifact changes most pixels.
    """

    about: MapAbout
    hashes: Column
    masks: Column
    signal: Column
    of: Mapping[str, ModelMaps]
    kept: Kept

    def __len__(self) -> int:
        return len(self.hashes)

    def changed(self, model: str) -> NDArray[np.int64]:
        """Pixels of each image of which a model says something else than the baseline, (images,)."""
        height, width = self.about.size
        pixels: NDArray[np.int64] = height * width - self.of[model].equal.astype(np.int64)
        return pixels

    def snr_db(self, model: str) -> float | None:
        """Signal-to-noise ratio of a model's logits over all images, in decibels; None where there is no noise."""
        return decibels(self.signal, self.of[model].noise)

    def save(self, file: Path) -> None:
        """Write them. OSError if the disk refuses."""
        about = json.dumps({"schema": MAP_PREDICTIONS_SCHEMA, **asdict(self.about)})
        columns: dict[str, Any] = {}
        for index, model in enumerate(self.of.values()):
            columns |= {f"{name}.{index}": getattr(model.confusions, name) for name in COUNTS}
            columns |= {f"{name}.{index}": getattr(model, name) for name in COLUMNS}
        with file.open("wb") as stream:
            np.savez_compressed(
                stream,
                about=np.frombuffer(about.encode(), np.uint8),
                hashes=self.hashes,
                masks=self.masks,
                signal=self.signal,
                kept_rows=self.kept.rows,
                kept_truth=self.kept.truth,
                kept_maps=self.kept.maps,
                **columns,
            )


def load_map_predictions(file: Path) -> MapPredictions:
    """Read what :meth:`MapPredictions.save` wrote.

    Raises:
        DataError: the file is missing or damaged, or is no such file.
    """
    fix = "Write it anew with edgex validate."
    try:
        arrays = read_npz(file, MOST_BYTES)
        about = _about(arrays["about"].tobytes())
        of = {
            model: ModelMaps(
                Confusions(len(about.class_names), *(arrays[f"{name}.{index}"] for name in COUNTS)),
                *(arrays[f"{name}.{index}"] for name in COLUMNS),
            )
            for index, model in enumerate(about.models)
        }
        kept = Kept(arrays["kept_rows"], arrays["kept_truth"], arrays["kept_maps"])
        found = MapPredictions(about, arrays["hashes"], arrays["masks"], arrays["signal"], of, kept)
        _check(found)
    except (OSError, ValueError, LookupError, TypeError, AttributeError) as error:
        raise DataError(f"{file} holds no predictions that can be read: {error}.", fix=fix) from error
    return found


def _about(text: bytes) -> MapAbout:
    """What a JSON object says; errors as of :func:`edgex.predictions.about_fields`."""
    fields = about_fields(text, MAP_PREDICTIONS_SCHEMA)
    height, width = map(int, fields["size"])
    return MapAbout(**{**fields, "size": (height, width)})


def _check(found: MapPredictions) -> None:
    """ValueError if columns do not fit each other, or hold what cannot be."""
    images, classes = len(found.about.names), len(found.about.class_names)
    height, width = found.about.size
    kept = len(found.kept.rows)
    if not 1 < classes <= MOST_CLASSES or not 0 < height * width <= MOST_PIXELS:
        raise ValueError("no map has such a size, or so many or few classes")
    expected: list[tuple[Column, tuple[int, ...], str]] = [
        (found.hashes, (images, 32), "u1"),
        (found.masks, (images, 32), "u1"),
        (found.signal, (images,), "f8"),
        (found.kept.rows, (kept,), "i4"),
        (found.kept.truth, (kept, height, width), "u1"),
        (found.kept.maps, (len(found.of), kept, height, width), "u1"),
    ]
    for model in found.of.values():
        entries = len(model.confusions.cells)
        expected += [(model.confusions.starts, (images + 1,), "i8"), (model.confusions.cells, (entries,), "u2")]
        expected += [(model.confusions.pixels, (entries,), "i4"), (model.equal, (images,), "i4")]
        expected += [(model.noise, (images,), "f8"), (model.maps, (images, HASH_BYTES), "u1")]
    check_columns(expected)
    if any(column.min(initial=0) < 0 for column, _, dtype in expected if dtype == "f8"):
        raise ValueError("a column of squares is negative")
    for model in found.of.values():
        _check_counts(model, height * width)
    rows = found.kept.rows
    if kept and not (rows[0] >= 0 and rows[-1] < images and (np.diff(rows) > 0).all()):
        raise ValueError("maps are kept of images that there are not")
    if found.kept.maps.max(initial=0) >= classes:
        raise ValueError("a map names classes that there are not")


def _check_counts(model: ModelMaps, size: int) -> None:
    """ValueError if counts are not of maps of ``size`` pixels."""
    starts, cells, pixels = model.confusions.starts, model.confusions.cells, model.confusions.pixels
    if starts[0] != 0 or starts[-1] != len(cells) or (np.diff(starts) < 0).any():
        raise ValueError("the counts of images do not follow each other")
    if cells.max(initial=0) >= model.confusions.classes**2 or pixels.min(initial=1) < 1:
        raise ValueError("a count is of classes that there are not, or of nothing")
    sums = np.add.reduceat(np.append(pixels, 0).astype(np.int64), starts[:-1]) * (np.diff(starts) > 0)
    if sums.max(initial=0) > size or not 0 <= model.equal.min(initial=0) <= model.equal.max(initial=0) <= size:
        raise ValueError("counts are of more pixels than there are")
