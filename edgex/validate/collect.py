"""Predictions of several models on the same images, kept as they come, so that an interrupted run resumes."""

import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Protocol, TypeVar

import numpy as np

from edgex.dataset import Dataset
from edgex.errors import DataError, OutputError
from edgex.evaluate import Crews, ScoredBatch
from edgex.evaluate.scores import SMALLEST, best_classes, centred_logits, probabilities
from edgex.output import replace_files
from edgex.predictions import BEST, About, Column, ModelPredictions, Predictions, load_predictions
from edgex.preprocess import Preprocessing

SAVE_SECONDS = 5.0
"""Of work that a kill loses."""


def collect(
    crews: Crews,
    names: Sequence[str],
    dataset: Dataset,
    preprocessing: Preprocessing,
    *,
    key: str,
    partial: Path,
    progress: Callable[[int, int], None] | None = None,
) -> Predictions:
    """Run all images through all models, the first of which is the baseline.

    Args:
        crews: of the models.
        names: of the models.
        dataset: with labels.
        preprocessing: of all models.
        key: see :class:`edgex.predictions.About`. What ``partial`` holds under another is begun anew.
        partial: the file that keeps what is done every few seconds and when interrupted; the caller removes it.
        progress: called with images done and images in all.

    Raises:
        DataError: no image can be read. Other EdgexErrors as :meth:`edgex.evaluate.Crews.scores`.
    """
    columns = _Columns(names, crews.steps, dataset, key, resumable(partial, key, load_predictions))
    return gather(columns, crews.scores(dataset, preprocessing, start=columns.seen), len(dataset), partial, progress)


class Savable(Protocol):
    """Predictions of any kind."""

    @property
    def about(self) -> About: ...

    def save(self, file: Path) -> None: ...


Kind = TypeVar("Kind", bound=Savable, covariant=True)
Part = TypeVar("Part", contravariant=True)


class Columns(Protocol[Part, Kind]):
    """What grows into predictions; true once there is a row. ``seen`` counts the images tried."""

    seen: int

    def __bool__(self) -> bool: ...

    def add(self, part: Part, /) -> None: ...

    def predictions(self) -> Kind: ...


def gather(
    columns: Columns[Part, Kind],
    parts: Iterable[Part],
    images: int,
    partial: Path,
    progress: Callable[[int, int], None] | None,
) -> Kind:
    """Let columns grow by all parts, and keep in ``partial`` what there is.

    Raises:
        DataError: there is no part.
    """
    saved = time.monotonic()
    try:
        for part in parts:
            columns.add(part)
            if progress is not None:
                progress(columns.seen, images)
            if time.monotonic() - saved > SAVE_SECONDS:
                _keep(columns.predictions(), partial)
                saved = time.monotonic()
    except BaseException:
        if columns:
            _keep(columns.predictions(), partial)
        raise
    if not columns:
        raise DataError("There is no readable image to evaluate.", fix="Give more images.")
    columns.seen = images
    found = columns.predictions()
    _keep(found, partial)
    return found


def resumable(partial: Path, key: str, load: Callable[[Path], Kind]) -> Kind | None:
    """What an interrupted run with the same key had done."""
    if not partial.is_file():
        return None
    try:
        found = load(partial)
    except DataError:  # of another version, or damaged: it is only a saving of time
        return None
    return found if found.about.key == key else None


def _keep(predictions: Savable, file: Path) -> None:
    """Keep what there is; a disk that refuses costs the resumption, not the run."""
    with suppress(OutputError), replace_files([file]) as (work,):
        predictions.save(work)


def unreadable_of(dataset: Dataset, seen: int) -> dict[str, str]:
    """What is wrong with those of the images tried that cannot be read; others were decoded ahead."""
    tried = {item.name for item in dataset.items[:seen]}
    return {name: why for name, why in dataset.log.unreadable.items() if name in tried}


def digest(content: str | None) -> Column:
    """A sha256 from its hexadecimal digits, uint8 (32,); zeros where there is none."""
    return np.frombuffer(bytes.fromhex(content or "00" * 32), np.uint8)


class _Columns:
    """Columns that grow by batches; true once there is a row."""

    def __init__(
        self,
        models: Sequence[str],
        steps: Sequence[float],
        dataset: Dataset,
        key: str,
        before: Predictions | None,
    ) -> None:
        self.seen = 0
        self._dataset = dataset
        self._key = key
        self._models = tuple(models)
        self._steps = steps
        self._names: list[str] = []
        self._hashes: list[Column] = []
        self._labels: list[Column] = []
        self._signal: list[Column] = []
        self._of: dict[str, list[ModelPredictions]] = {model: [] for model in self._models}
        if before is not None:
            self.seen = before.about.seen
            dataset.log.unreadable.update(before.about.unreadable)
            self._append(before.about.names, before.hashes, before.labels, before.signal, before.of)

    def __bool__(self) -> bool:
        return bool(self._names)

    def add(self, batch: ScoredBatch) -> None:
        """Append what is kept of a batch."""
        baseline, coarse = batch.scores[0], self._steps[0] / 2
        of = {}
        for model, scores, step in zip(self._models, batch.scores, self._steps, strict=True):
            floor = max(step / 2, coarse, SMALLEST)
            noise = ((centred_logits(scores, floor) - centred_logits(baseline, floor)) ** 2).sum(axis=1)
            best = best_classes(scores, BEST)
            probability = np.take_along_axis(probabilities(scores), best[:, :1], axis=1)[:, 0]
            of[model] = ModelPredictions(
                best.astype(np.int32), probability.astype(np.float32), noise.astype(np.float32)
            )
        signal = (centred_logits(baseline, max(coarse, SMALLEST)) ** 2).sum(axis=1)
        rows = batch.indices.tolist()
        self._append(
            [self._dataset.items[row].name for row in rows],
            np.stack([digest(self._dataset.content_hashes[row]) for row in rows]),
            batch.labels.astype(np.int32),
            signal.astype(np.float32),
            of,
        )
        self.seen = rows[-1] + 1

    def _append(
        self,
        names: Sequence[str],
        hashes: Column,
        labels: Column,
        signal: Column,
        of: Mapping[str, ModelPredictions],
    ) -> None:
        self._names += names
        self._hashes.append(hashes)
        self._labels.append(labels)
        self._signal.append(signal)
        for model, predictions in of.items():
            self._of[model].append(predictions)

    def predictions(self) -> Predictions:
        """What there is so far."""
        unreadable = unreadable_of(self._dataset, self.seen)
        about = About(self._key, self._dataset.class_names, tuple(self._names), self._models, self.seen, unreadable)
        return Predictions(
            about,
            hashes=np.concatenate(self._hashes),
            labels=np.concatenate(self._labels),
            signal=np.concatenate(self._signal),
            of={model: _joined(parts) for model, parts in self._of.items()},
        )


def _joined(parts: Sequence[ModelPredictions]) -> ModelPredictions:
    return ModelPredictions(
        np.concatenate([part.best for part in parts]),
        np.concatenate([part.probability for part in parts]),
        np.concatenate([part.noise for part in parts]),
    )
