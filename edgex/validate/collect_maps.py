"""What several models say of the pixels of the same images, counted as it comes, so that an interrupted run resumes."""

import hashlib
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from edgex.dataset import Dataset
from edgex.evaluate import Crews, MappedImage, map_names
from edgex.graph.ir import Pair
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
from edgex.validate.collect import gather, resumable, unreadable_of

MOST_KEPT = 12
"""Images of which the maps are kept, for each artifact."""


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
    """
    height, width, classes = crews.map_shape(dataset, preprocessing)
    before = resumable(partial, key, load_map_predictions)
    columns = _MapColumns(names, map_names(dataset, classes), (height, width), dataset, key, before)
    images = crews.maps(dataset, preprocessing, start=columns.seen, noise=True)
    return gather(columns, images, len(dataset), partial, progress)


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
        self._names: list[str] = []
        self._hashes: list[Column] = []
        self._masks: list[Column] = []
        self._signal: list[float] = []
        self._counts: list[list[tuple[Column, Column]]] = [[] for _ in models]
        self._equal: list[list[int]] = [[] for _ in models]
        self._noise: list[list[float]] = [[] for _ in models]
        self._maps: list[list[Column]] = [[] for _ in models]
        self._kept: dict[int, tuple[Pixels, list[Pixels]]] = {}
        if before is not None:
            self._restore(before)

    def __bool__(self) -> bool:
        return bool(self._names)

    def _restore(self, before: MapPredictions) -> None:
        self.seen = before.about.seen
        self._dataset.log.unreadable.update(before.about.unreadable)
        self._names += before.about.names
        self._hashes += list(before.hashes)
        self._masks += list(before.masks)
        self._signal += before.signal.tolist()
        for number, model in enumerate(before.of.values()):
            self._counts[number] += [model.confusions.image(row) for row in range(len(before))]
            self._equal[number] += model.equal.tolist()
            self._noise[number] += model.noise.tolist()
            self._maps[number] += list(model.maps)
        for place, row in enumerate(before.kept.rows.tolist()):
            self._kept[row] = (before.kept.truth[place], list(before.kept.maps[:, place]))

    def add(self, image: MappedImage) -> None:
        """Append what is kept of an image."""
        row, classes = len(self._names), len(self._class_names)
        self._names.append(self._dataset.items[image.place].name)
        self._hashes.append(_digest(self._dataset.content_hashes[image.place]))
        self._masks.append(_digest(self._dataset.mask_hashes[image.place]))
        self._signal.append(image.signal)
        for number, (said, noise) in enumerate(zip(image.maps, image.noise, strict=True)):
            self._counts[number].append(confusion_cells(image.truth, said, classes))
            self._equal[number].append(int(np.count_nonzero(said == image.maps[0])))
            self._noise[number].append(noise)
            self._maps[number].append(np.frombuffer(hashlib.sha256(said.tobytes()).digest()[:HASH_BYTES], np.uint8))
        self._kept[row] = (image.truth, image.maps)
        shown = {each for number in range(1, len(self._models)) for each in self._most_changed(number)}
        self._kept = {each: maps for each, maps in self._kept.items() if each in shown}
        self.seen = image.place + 1

    def _most_changed(self, number: int) -> list[int]:
        """Of the kept rows, those of which a model changes most pixels, and any."""
        height, width = self._size
        equal = self._equal[number]
        changed = [row for row in self._kept if equal[row] < height * width]
        return sorted(changed, key=lambda row: (equal[row], row))[:MOST_KEPT]

    def predictions(self) -> MapPredictions:
        """What there is so far."""
        about = MapAbout(
            self._key,
            self._class_names,
            tuple(self._names),
            self._models,
            self.seen,
            unreadable_of(self._dataset, self.seen),
            self._size,
        )
        rows = sorted(self._kept)
        truth = [self._kept[row][0] for row in rows]
        maps = [[self._kept[row][1][number] for row in rows] for number in range(len(self._models))]
        return MapPredictions(
            about,
            hashes=np.stack(self._hashes),
            masks=np.stack(self._masks),
            signal=np.array(self._signal),
            of={model: self._model(number) for number, model in enumerate(self._models)},
            kept=Kept(
                np.array(rows, np.int32),
                np.array(truth, np.uint8).reshape(len(rows), *self._size),
                np.array(maps, np.uint8).reshape(len(self._models), len(rows), *self._size),
            ),
        )

    def _model(self, number: int) -> ModelMaps:
        return ModelMaps(
            Confusions.joined(len(self._class_names), self._counts[number]),
            np.array(self._equal[number], np.int32),
            np.array(self._noise[number]),
            np.stack(self._maps[number]),
        )


def _digest(content: str | None) -> Column:
    return np.frombuffer(bytes.fromhex(content or "00" * 32), np.uint8)
