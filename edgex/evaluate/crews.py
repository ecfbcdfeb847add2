"""Model files, each in several processes that run images side by side."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from queue import SimpleQueue
from typing import NamedTuple, Self, TypeVar

import numpy as np

from edgex.dataset import Batch, Dataset, MaskedBatch
from edgex.errors import DataError, ModelError, UsageError
from edgex.evaluate.scores import SMALLEST, Indices, are_probabilities, centred_logits
from edgex.graph.ir import Array
from edgex.parallel import ahead
from edgex.preprocess import Pixels, Preprocessing
from edgex.runtime import Runner, open_runner, physical_cores
from edgex.segmentation import MOST_CLASSES

MAX_WORKERS = 8
"""Each has a process for every model; further threads work inside those."""

MAP_RANK = 3
"""Axes of a map of scores: height, width, classes."""

CLASS_FOLDERS = "Put each image into a folder named by its class: class/name.jpg."

Given = TypeVar("Given")
Made = TypeVar("Made")

CHUNK = 8
"""Images handed to a worker at a time, to be run one by one."""


class ScoredBatch(NamedTuple):
    """A few images, in the order of the dataset: indices into it and labels (n,), of each file scores (n, classes)."""

    indices: Indices
    labels: Indices
    scores: list[Array]


class MappedImage(NamedTuple):
    """An image of which each file says what every pixel shows.

    Attributes:
        place: index into the dataset.
        truth: its mask, uint8 (height, width) of the files' output.
        maps: of each file the likeliest class of each pixel, likewise.
        softmax: of each file whether its scores are probabilities.
        signal: squared length of the first file's logits, less the mean of each pixel's; 0 if not asked for.
        noise: of each file that of the difference to them.
    """

    place: int
    truth: Pixels
    maps: list[Pixels]
    softmax: list[bool]
    signal: float
    noise: list[float]


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
        if dataset.segmented:
            raise UsageError(
                f"{self.paths[0]} is to classify images, and {dataset.source.path} has masks.", fix=CLASS_FOLDERS
            )
        if dataset.labels is None:
            raise DataError(f"{dataset.source.path} has no labels.", fix=CLASS_FOLDERS)
        for path, runner in zip(self.paths, self._first, strict=True):
            _check_images(path, runner, preprocessing)
            _check_classes(path, runner.output_shape, dataset)

        def score(crew: list[Runner], batch: Batch) -> tuple[Indices, list[Array]]:
            indices, images = batch
            return indices, [runner.run(images) for runner in crew]

        batches = dataset.batches(preprocessing, batch=CHUNK, workers=self._workers, start=start)
        for indices, scores in self._each(score, batches):
            for path, of_one in zip(self.paths, scores, strict=True):
                _check_finite(path, of_one, indices, dataset)
            yield ScoredBatch(indices, dataset.labels[indices], scores)

    def maps(
        self, dataset: Dataset, preprocessing: Preprocessing, start: int = 0, *, noise: bool = False
    ) -> Iterator[MappedImage]:
        """Run images with masks through all files, one image at a time: scores of all pixels are large, maps are not.

        Args:
            dataset: with masks.
            preprocessing: what the models were trained with.
            start: the first image to run.
            noise: whether to compare logits with those of the first file.

        Raises:
            UsageError: a model reads other images, knows another number of classes than there are, makes maps of
                another size than the first, or images are not stretched.
            DataError: no masks, or unreadable images.
            ModelError: a file does not score each pixel, or its scores are not finite.
        """
        size = self.map_shape(dataset, preprocessing)[:2]

        def label(crew: list[Runner], batch: MaskedBatch) -> MappedImage:
            (index,), images, (truth,) = batch
            maps, softmax, noises, signal, reference = [], [], [], 0.0, None
            for path, runner, step in zip(self.paths, crew, self.steps, strict=True):
                (scores,) = runner.run(images).reshape(1, -1, runner.output_shape[-1])
                _check_finite(path, scores.reshape(1, -1), batch.indices, dataset)
                maps.append(scores.argmax(axis=1).astype(np.uint8).reshape(size))
                softmax.append(are_probabilities(scores))
                if not noise:
                    noises.append(0.0)
                    continue
                floor = max(step / 2, self.steps[0] / 2, SMALLEST)
                if reference is None:
                    reference = scores
                    signal = float(np.square(centred_logits(scores, floor)).sum())
                away = centred_logits(scores, floor) - centred_logits(reference, floor)
                noises.append(float(np.square(away).sum()))
            return MappedImage(int(index), truth, maps, softmax, signal, noises)

        batches = dataset.masked_batches(preprocessing, size, workers=self._workers, start=start)
        yield from self._each(label, batches)

    def map_shape(self, dataset: Dataset, preprocessing: Preprocessing) -> tuple[int, int, int]:
        """Height, width and classes of the maps that all files make. Raises what :meth:`maps` says of files."""
        for path, runner in zip(self.paths, self._first, strict=True):
            _check_images(path, runner, preprocessing)
            _check_map(path, runner.output_shape, dataset)
            if runner.output_shape != self._first[0].output_shape:
                raise UsageError(
                    f"{path} makes maps of shape {runner.output_shape}, and {self.paths[0]} "
                    f"{self._first[0].output_shape}.",
                    fix="Evaluate models of different output sizes one by one.",
                )
        height, width, classes = self._first[0].output_shape
        return height, width, classes

    def _each(self, work: Callable[[list[Runner], Given], Made], batches: Iterable[Given]) -> Iterator[Made]:
        """What ``work`` makes of each batch with a crew, one runner for each file; in order."""
        each = len(self.paths)
        others = ahead(self._enter, self.paths * (self._workers - 1), self._workers)
        runners = [*self._first, *others]
        crews: SimpleQueue[list[Runner]] = SimpleQueue()
        for first in range(0, self._workers * each, each):
            crews.put(runners[first : first + each])

        def with_crew(batch: Given) -> Made:
            crew = crews.get()
            try:
                return work(crew, batch)
            finally:
                crews.put(crew)

        yield from ahead(with_crew, batches, self._workers, distance=2 * self._workers)

    def _enter(self, path: Path) -> Runner:
        return self._stack.enter_context(self._open(path))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self._stack.close()


def check_output(path: Path, shape: Sequence[int], dataset: Dataset) -> None:
    """Refuse a model that does not say what the labels or masks of a dataset say.

    Args:
        path: of its file.
        shape: of its output, without the axis of images: (classes,), or (height, width, classes).
        dataset: with labels or masks.

    Raises:
        UsageError: it is a classifier and there are masks, or the other way round, or it knows another number of
            classes than there are.
        ModelError: it scores neither images nor pixels.
    """
    check = _check_map if dataset.segmented else _check_classes
    check(path, tuple(shape), dataset)


def _check_images(path: Path, runner: Runner, preprocessing: Preprocessing) -> None:
    images = (*preprocessing.size, preprocessing.channels)
    if runner.input_shape != images:
        raise UsageError(
            f"{path} reads images of shape {runner.input_shape}, and preprocessing makes {images}.",
            fix="Preprocess for this model; evaluate models of different input sizes one by one.",
        )


def _check_classes(path: Path, shape: tuple[int, ...], dataset: Dataset) -> None:
    if len(shape) == MAP_RANK:
        raise UsageError(
            f"{path} is no classifier: its output has the shape {shape}, a score for each class of each "
            f"pixel, and {dataset.source.path} has one label for each image.",
            fix="Give images with masks: images/a.jpg, masks/a.png.",
        )
    if len(shape) != 1:
        raise ModelError(
            f"{path} is no classifier: its output has the shape {shape}.",
            fix="Give a model with one score for each class.",
        )
    (classes,) = shape
    if classes != len(dataset.class_names):
        raise UsageError(
            f"{path} knows {classes} classes, and {dataset.source.path} has labels for {len(dataset.class_names)}.",
            fix="Evaluate on images of the classes that the model was trained on; an empty folder stands for a class "
            "without images.",
        )


def _check_map(path: Path, shape: tuple[int, ...], dataset: Dataset) -> None:
    if len(shape) == 1:
        raise UsageError(
            f"{path} is a classifier of {shape[0]} classes, and {dataset.source.path} has masks, which "
            "label each pixel.",
            fix=CLASS_FOLDERS,
        )
    if len(shape) != MAP_RANK or not 1 < shape[2] <= MOST_CLASSES:
        raise ModelError(
            f"{path} gives {shape}, which is no score for each class of each pixel.",
            fix=f"Give a model whose output is (height, width, classes), with 2 to {MOST_CLASSES} classes.",
        )
    classes, named = shape[2], len(dataset.class_names)
    if classes < named or (classes > named and not dataset.counted):
        raise UsageError(
            f"{path} knows {classes} classes, and {dataset.source.path} has masks of {named}.",
            fix="Evaluate on images of the classes that the model was trained on; classes.txt names all of them, also "
            "those without pixels.",
        )


def _check_finite(path: Path, scores: Array, indices: Indices, dataset: Dataset) -> None:
    finite = np.isfinite(scores).all(axis=1)
    if not finite.all():
        name = dataset.items[indices[finite.argmin()]].name
        raise ModelError(
            f"{path} gives scores that are not finite (NaN or infinite) for {name}.",
            fix="Look for NaN or huge values in the weights of the model, or for ranges that overflow.",
        )
