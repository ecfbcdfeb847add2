"""What several models say of the pixels of the same images, counted as it comes, so that an interrupted run resumes."""

import hashlib
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from edgex.dataset import Dataset
from edgex.evaluate import Crews, MappedImage, map_names
from edgex.evaluate.maps import counted
from edgex.graph.ir import Pair
from edgex.predictions import MOST_BYTES
from edgex.preprocess import Pixels, Preprocessing
from edgex.segmentation import Confusions, confusion_cells
from edgex.segmentation.counts import Column
from edgex.segmentation.predictions import (
    HASH_BYTES,
    Kept,
    MapAbout,
    MapPredictions,
    ModelMaps,
    load_map_predictions,
)
from edgex.validate.collect import digest, gather, resumable, unreadable_of

MOST_KEPT = 12
"""Images of which the maps are kept, for each artifact; fewer of large maps."""

KEPT_BYTES = MOST_BYTES // 2
"""Of all maps that are kept: what is written must also be read."""


def collect_maps(
    crews: Crews,
    names: Sequence[str],
    dataset: Dataset,
    preprocessing: Preprocessing,
    *,
    key: str,
    partial: Path,
    progress: Callable[[int, int], None] | None = None,
) -> MapPredictions:
    """Run all images with masks through all models, the first of which is the baseline.

    Args and errors as of :func:`edgex.validate.collect.collect`, and those of :meth:`edgex.evaluate.Crews.maps`.

    Raises:
        DataError: all pixels are void.
    """
    height, width, classes = crews.map_shape(dataset, preprocessing)
    before = resumable(partial, key, load_map_predictions)
    columns = _MapColumns(names, map_names(dataset, classes), (height, width), dataset, key, before)
    images = crews.maps(dataset, preprocessing, start=columns.seen, noise=True)
    found = gather(columns, images, len(dataset), partial, progress)
    counted(found.of[names[0]].confusions)
    return found


class _Row(NamedTuple):
    """What is kept of an image, and from ``counts`` on of its map by each model, in order; see :class:`ModelMaps`."""

    name: str
    hash: Column
    mask: Column
    signal: float
    counts: Sequence[tuple[Column, Column]]
    equal: Sequence[int]
    noise: Sequence[float]
    maps: Sequence[Column]


class _Shown(NamedTuple):
    """Maps to look at: the mask, by each model, and how many of its pixels are equal, see :class:`_Row`."""

    truth: Pixels
    maps: Sequence[Pixels]
    equal: Sequence[int]


class _MapColumns:
    """Columns that grow by images; true once there is a row."""

    def __init__(
        self,
        models: Sequence[str],
        class_names: Sequence[str],
        size: Pair,
        dataset: Dataset,
        key: str,
        before: MapPredictions | None,
    ) -> None:
        self.seen = 0
        self._models = tuple(models)
        self._class_names = tuple(class_names)
        self._size = size
        self._dataset = dataset
        self._key = key
        self._rows: list[_Row] = []
        self._kept: dict[int, _Shown] = {}
        if before is not None:
            self._restore(before)

    def __bool__(self) -> bool:
        return bool(self._rows)

    def _restore(self, before: MapPredictions) -> None:
        self.seen = before.about.seen
        self._dataset.log.unreadable.update(before.about.unreadable)
        of = before.of.values()
        for row, name in enumerate(before.about.names):
            self._rows.append(
                _Row(
                    name,
                    before.hashes[row],
                    before.masks[row],
                    float(before.signal[row]),
                    [model.confusions.image(row) for model in of],
                    [int(model.equal[row]) for model in of],
                    [float(model.noise[row]) for model in of],
                    [model.maps[row] for model in of],
                )
            )
        for place, row in enumerate(before.kept.rows.tolist()):
            maps = list(before.kept.maps[:, place])
            self._kept[row] = _Shown(before.kept.truth[place], maps, self._rows[row].equal)

    def add(self, image: MappedImage) -> None:
        """Append what is kept of an image: all at once, for an interruption may come anywhere."""
        row = _Row(
            self._dataset.items[image.place].name,
            digest(self._dataset.content_hashes[image.place]),
            digest(self._dataset.mask_hashes[image.place]),
            image.signal,
            [confusion_cells(image.truth, said, len(self._class_names)) for said in image.maps],
            [int(np.count_nonzero(said == image.maps[0])) for said in image.maps],
            image.noise,
            [np.frombuffer(hashlib.sha256(said.tobytes()).digest()[:HASH_BYTES], np.uint8) for said in image.maps],
        )
        kept = self._most_changed({**self._kept, len(self._rows): _Shown(image.truth, image.maps, row.equal)})
        self._rows.append(row)
        self._kept, self.seen = kept, image.place + 1

    def _most_changed(self, kept: Mapping[int, _Shown]) -> dict[int, _Shown]:
        """Those of which an artifact changes most pixels, and any: as many for each as there is room for."""
        height, width = self._size
        of_an_image, artifacts = (1 + len(self._models)) * height * width, range(1, len(self._models))
        most = min(MOST_KEPT, KEPT_BYTES // (of_an_image * max(len(artifacts), 1)))
        shown: set[int] = set()
        for number in artifacts:
            changed = [row for row, each in kept.items() if each.equal[number] < height * width]
            shown.update(sorted(changed, key=lambda row: (kept[row].equal[number], row))[:most])
        return {row: each for row, each in kept.items() if row in shown}

    def predictions(self) -> MapPredictions:
        """What there is so far."""
        about = MapAbout(
            self._key,
            self._class_names,
            tuple(row.name for row in self._rows),
            self._models,
            self.seen,
            unreadable_of(self._dataset, self.seen),
            self._size,
        )
        rows = sorted(self._kept)
        truth = [self._kept[row].truth for row in rows]
        maps = [[self._kept[row].maps[number] for row in rows] for number in range(len(self._models))]
        return MapPredictions(
            about,
            hashes=np.stack([row.hash for row in self._rows]),
            masks=np.stack([row.mask for row in self._rows]),
            signal=np.array([row.signal for row in self._rows]),
            of={model: self._model(number) for number, model in enumerate(self._models)},
            kept=Kept(
                np.array(rows, np.int32),
                np.array(truth, np.uint8).reshape(len(rows), *self._size),
                np.array(maps, np.uint8).reshape(len(self._models), len(rows), *self._size),
            ),
        )

    def _model(self, number: int) -> ModelMaps:
        return ModelMaps(
            Confusions.joined(len(self._class_names), [row.counts[number] for row in self._rows]),
            np.array([row.equal[number] for row in self._rows], np.int32),
            np.array([row.noise[number] for row in self._rows]),
            np.stack([row.maps[number] for row in self._rows]),
        )
