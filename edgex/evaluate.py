"""Accuracy of model files on labelled images.

Every image is decoded once and seen by all files. Several workers run an image each, which keeps the cores busier than
spreading one image over all of them.
"""

import math
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from queue import SimpleQueue
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from edgex.dataset import Batch, Dataset
from edgex.errors import DataError, ModelError, UsageError
from edgex.graph.ir import Array
from edgex.parallel import ahead
from edgex.preprocess import Preprocessing
from edgex.runtime import Runner, open_runner, physical_cores

MAX_WORKERS = 8
"""Each has a process for every model; further threads work inside those."""

CHUNK = 8
"""Images handed to a worker at a time, to be run one by one."""

Output = Literal["softmax", "logits"]
Indices = NDArray[np.int64]


@dataclass(frozen=True)
class EvalResult:
    """Accuracy of one file; fractions, not percent.

    Attributes:
        images: that were readable and evaluated.
        top5: with fewer than five classes, top of all of them.
        low: lower end of the 95 % interval of ``top1`` (Wilson 1927).
        high: its upper end.
        output: ``softmax`` if all scores of all images are in 0…1 and sum to 1 within a tenth, else ``logits``.
        predictions: class index of each image (images,), in the order of the dataset.
    """

    path: Path
    runtime: str
    images: int
    top1: float
    top5: float
    low: float
    high: float
    output: Output
    predictions: Indices = field(repr=False, compare=False)


def evaluate(
    paths: Sequence[Path],
    dataset: Dataset,
    preprocessing: Preprocessing,
    *,
    runtime: str | None = None,
    python: Path | None = None,
    threads: int | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> list[EvalResult]:
    """Run labelled images through model files. Memory does not grow with the number of images.

    Args:
        paths: the files.
        dataset: with labels.
        preprocessing: what the models were trained with.
        runtime: None for the usual one of each file.
        python: the interpreter that has the runtime; None for this one.
        threads: in all; None for the physical cores. The results do not depend on it.
        progress: called with images done and images in all.

    Raises:
        UsageError: a model reads other images or knows another number of classes than there are.
        DataError: no labels, or unreadable images.
        ModelError: a file is no classifier, or its scores are not finite. EdgexError as
            :func:`edgex.runtime.open_runner`.
    """
    if dataset.labels is None:
        raise DataError(f"{dataset.source.path} has no labels.", fix="Put each image into a folder named by its class.")
    threads = physical_cores() if threads is None else threads
    workers = max(1, min(threads, MAX_WORKERS))
    with ExitStack() as stack:

        def open_one(path: Path) -> Runner:
            runner = open_runner(path, runtime=runtime, threads=threads // workers, python=python)
            return stack.enter_context(runner)

        first = [open_one(path) for path in paths]
        for path, runner in zip(paths, first, strict=True):
            _check_fit(path, runner, dataset, preprocessing)
        others = list(ahead(open_one, list(paths) * (workers - 1), workers))
        crews: SimpleQueue[list[Runner]] = SimpleQueue()
        for start in range(0, workers * len(paths), len(paths)):
            crews.put([*first, *others][start : start + len(paths)])
        tallies = [_Tally(path, runner, dataset) for path, runner in zip(paths, first, strict=True)]

        def score(batch: Batch) -> tuple[Indices, list[Array]]:
            indices, images = batch
            crew = crews.get()
            try:
                return indices, [runner.run(images) for runner in crew]
            finally:
                crews.put(crew)

        batches = dataset.batches(preprocessing, batch=CHUNK, workers=workers)
        for indices, scores in ahead(score, batches, workers, distance=2 * workers):
            for tally, of_one in zip(tallies, scores, strict=True):
                tally.add(indices, of_one)
            if progress is not None:
                progress(int(indices[-1]) + 1, len(dataset))
    return [tally.result() for tally in tallies]


def agreement(a: EvalResult, b: EvalResult) -> float:
    """The share of images for which two files predict the same class. ValueError if the images are not the same."""
    if a.predictions.shape != b.predictions.shape:
        raise ValueError(f"{a.path} was evaluated on {a.images} images and {b.path} on {b.images}")
    return float(np.mean(a.predictions == b.predictions))


def _check_fit(path: Path, runner: Runner, dataset: Dataset, preprocessing: Preprocessing) -> None:
    images = (*preprocessing.size, preprocessing.channels)
    if runner.input_shape != images:
        raise UsageError(
            f"{path} reads images of shape {runner.input_shape}, and preprocessing makes {images}.",
            fix="Preprocess for this model; evaluate models of different input sizes one by one.",
        )
    if len(runner.output_shape) != 1:
        raise ModelError(
            f"{path} is no classifier: its output has the shape {runner.output_shape}.",
            fix="Give a model with one score for each class.",
        )
    (classes,) = runner.output_shape
    if classes != len(dataset.class_names):
        raise UsageError(
            f"{path} knows {classes} classes, and {dataset.source.path} has labels for {len(dataset.class_names)}.",
            fix="Evaluate on images of the classes that the model was trained on; an empty folder stands for a class "
            "without images.",
        )


class _Tally:
    """Counts for one file."""

    def __init__(self, path: Path, runner: Runner, dataset: Dataset) -> None:
        assert dataset.labels is not None
        self._path = path
        self._runtime = runner.runtime
        self._items = dataset.items
        self._labels = dataset.labels
        self._predictions: list[Indices] = []
        self._top1 = 0
        self._top5 = 0
        self._images = 0
        self._softmax = True

    def add(self, indices: Indices, scores: Array) -> None:
        """Count images: ``indices`` (n,) into the dataset, ``scores`` (n, classes)."""
        finite = np.isfinite(scores).all(axis=1)
        if not finite.all():
            name = self._items[indices[finite.argmin()]].name
            raise ModelError(
                f"{self._path} gives scores that are not finite (NaN or infinite) for {name}.",
                fix="Look for NaN or huge values in the weights of the model, or for ranges that overflow.",
            )
        # Stable, so that of equal scores the first class wins, as with argmax
        best = np.argsort(-scores, axis=1, kind="stable")[:, :5]
        hits = best == self._labels[indices, np.newaxis]
        self._top1 += int(hits[:, 0].sum())
        self._top5 += int(hits.sum())
        self._images += len(indices)
        self._softmax &= bool(scores.min() >= 0 and scores.max() <= 1 and (abs(scores.sum(axis=1) - 1) < 0.1).all())
        self._predictions.append(best[:, 0].copy())

    def result(self) -> EvalResult:
        if not self._images:
            raise DataError("There is no readable image to evaluate.", fix="Give more images.")
        low, high = wilson_interval(self._top1, self._images)
        return EvalResult(
            path=self._path,
            runtime=self._runtime,
            images=self._images,
            top1=self._top1 / self._images,
            top5=self._top5 / self._images,
            low=low,
            high=high,
            output="softmax" if self._softmax else "logits",
            predictions=np.concatenate(self._predictions),
        )


def wilson_interval(hits: int, count: int) -> tuple[float, float]:
    """The 95 % score interval of a proportion (E. B. Wilson, JASA 22, 1927)."""
    z = 1.959964
    share = hits / count
    centre = (share + z * z / (2 * count)) / (1 + z * z / count)
    reach = z / (1 + z * z / count) * math.sqrt(share * (1 - share) / count + (z / (2 * count)) ** 2)
    return centre - reach, centre + reach
