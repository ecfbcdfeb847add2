"""Accuracy of model files on labelled images.

Every image is decoded once and seen by all files. Several workers run an image each, which keeps the cores busier than
spreading one image over all of them.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from queue import SimpleQueue
from typing import Literal, NamedTuple, Self

import numpy as np
from numpy.typing import NDArray

from edgex.dataset import Batch, Dataset
from edgex.errors import DataError, ModelError, UsageError
from edgex.graph.ir import Array
from edgex.parallel import ahead
from edgex.preprocess import Preprocessing
from edgex.proportions import wilson_interval
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
    external_data: bool = False,
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
        external_data: an ``.onnx`` may keep weights in plain files beside itself.
        progress: called with images done and images in all.

    Raises:
        UsageError: a model reads other images or knows another number of classes than there are.
        DataError: no labels, or unreadable images.
        ModelError: a file is no classifier, or its scores are not finite. EdgexError as
            :func:`edgex.runtime.open_runner`.
    """
    with Crews(paths, runtime=runtime, python=python, threads=threads, external_data=external_data) as crews:
        tallies = [_Tally(path, name) for path, name in zip(crews.paths, crews.runtimes, strict=True)]
        for batch in crews.scores(dataset, preprocessing):
            for tally, scores in zip(tallies, batch.scores, strict=True):
                tally.add(batch.labels, scores)
            if progress is not None:
                progress(int(batch.indices[-1]) + 1, len(dataset))
    return [tally.result() for tally in tallies]


class ScoredBatch(NamedTuple):
    """A few images, in the order of the dataset: indices into it and labels (n,), of each file scores (n, classes)."""

    indices: Indices
    labels: Indices
    scores: list[Array]


class Crews:
    """Model files, each in several processes that run an image each; a context manager.

    Attributes:
        runtimes: of each file.
        steps: between neighbouring scores of each file, where they are integers; else 0.
        blanks: for each file an image of zeros, a batch of one, in the type that it takes.

    Raises:
        EdgexError: as :func:`edgex.runtime.open_runner`.
    """

    def __init__(
        self,
        paths: Sequence[Path],
        *,
        runtime: str | None = None,
        python: Path | None = None,
        threads: int | None = None,
        external_data: bool = False,
    ) -> None:
        self.paths = tuple(paths)
        threads = physical_cores() if threads is None else threads
        self._workers = max(1, min(threads, MAX_WORKERS))
        self._open = partial(
            open_runner,
            runtime=runtime,
            threads=threads // self._workers,
            python=python,
            external_data=external_data,
        )
        self._stack = ExitStack()
        try:
            self._first = [self._enter(path) for path in paths]
        except BaseException:
            self._stack.close()
            raise
        self.runtimes = tuple(runner.runtime for runner in self._first)
        self.steps = tuple(runner.output_step for runner in self._first)
        self.blanks = tuple(np.zeros((1, *runner.input_shape), runner.input_dtype) for runner in self._first)

    def scores(self, dataset: Dataset, preprocessing: Preprocessing, start: int = 0) -> Iterator[ScoredBatch]:
        """Run labelled images, decoded once and ahead of their use, through all files.

        Args:
            dataset: with labels.
            preprocessing: what the models were trained with.
            start: the first image to run.

        Raises:
            UsageError: a model reads other images or knows another number of classes than there are.
            DataError: no labels, or unreadable images.
            ModelError: a file is no classifier, or its scores are not finite.
        """
        if dataset.labels is None:
            raise DataError(
                f"{dataset.source.path} has no labels.", fix="Put each image into a folder named by its class."
            )
        for path, runner in zip(self.paths, self._first, strict=True):
            _check_fit(path, runner, dataset, preprocessing)
        each = len(self.paths)
        others = ahead(self._enter, self.paths * (self._workers - 1), self._workers)
        runners = [*self._first, *others]
        crews: SimpleQueue[list[Runner]] = SimpleQueue()
        for first in range(0, self._workers * each, each):
            crews.put(runners[first : first + each])

        def score(batch: Batch) -> tuple[Indices, list[Array]]:
            indices, images = batch
            crew = crews.get()
            try:
                return indices, [runner.run(images) for runner in crew]
            finally:
                crews.put(crew)

        batches = dataset.batches(preprocessing, batch=CHUNK, workers=self._workers, start=start)
        for indices, scores in ahead(score, batches, self._workers, distance=2 * self._workers):
            for path, of_one in zip(self.paths, scores, strict=True):
                _check_finite(path, of_one, indices, dataset)
            yield ScoredBatch(indices, dataset.labels[indices], scores)

    def _enter(self, path: Path) -> Runner:
        return self._stack.enter_context(self._open(path))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self._stack.close()


def best_classes(scores: Array, count: int) -> Indices:
    """Indices of the likeliest classes of scores (n, classes), best first: (n, count), or all classes if fewer."""
    # Stable, so that of equal scores the first class wins, as with argmax
    return np.argsort(-scores, axis=1, kind="stable")[:, :count]


def are_probabilities(scores: Array) -> bool:
    """Whether scores (n, classes) are in 0…1 and sum to 1 within a tenth, as integers of a softmax do."""
    return bool(scores.min() >= 0 and scores.max() <= 1 and (abs(scores.sum(axis=1) - 1) < 0.1).all())


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


def _check_finite(path: Path, scores: Array, indices: Indices, dataset: Dataset) -> None:
    finite = np.isfinite(scores).all(axis=1)
    if not finite.all():
        name = dataset.items[indices[finite.argmin()]].name
        raise ModelError(
            f"{path} gives scores that are not finite (NaN or infinite) for {name}.",
            fix="Look for NaN or huge values in the weights of the model, or for ranges that overflow.",
        )


class _Tally:
    """Counts for one file."""

    def __init__(self, path: Path, runtime: str) -> None:
        self._path = path
        self._runtime = runtime
        self._predictions: list[Indices] = []
        self._top1 = 0
        self._top5 = 0
        self._images = 0
        self._softmax = True

    def add(self, labels: Indices, scores: Array) -> None:
        """Count images: ``labels`` (n,), ``scores`` (n, classes)."""
        best = best_classes(scores, 5)
        hits = best == labels[:, np.newaxis]
        self._top1 += int(hits[:, 0].sum())
        self._top5 += int(hits.sum())
        self._images += len(labels)
        self._softmax &= are_probabilities(scores)
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
