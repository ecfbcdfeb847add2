"""Accuracy of classifiers on labelled images."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import numpy as np

from edgex.dataset import Dataset
from edgex.errors import DataError
from edgex.evaluate.crews import Crews
from edgex.evaluate.scores import Indices, are_probabilities, best_classes
from edgex.graph.ir import Array
from edgex.preprocess import Preprocessing
from edgex.proportions import wilson_interval

Output = Literal["softmax", "logits"]


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


def agreement(a: EvalResult, b: EvalResult) -> float:
    """The share of images for which two files predict the same class. ValueError if the images are not the same."""
    if a.predictions.shape != b.predictions.shape:
        raise ValueError(f"{a.path} was evaluated on {a.images} images and {b.path} on {b.images}")
    return float(np.mean(a.predictions == b.predictions))


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
