"""Mean IoU and pixel accuracy of networks that say what each pixel shows."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from edgex.dataset import Dataset
from edgex.errors import DataError
from edgex.evaluate.classes import Output
from edgex.evaluate.crews import Crews
from edgex.preprocess import Preprocessing
from edgex.segmentation import Agreement, ClassPixels, Confusions, MapComparison, Measures, confusion_cells
from edgex.segmentation.counts import Column


@dataclass(frozen=True)
class MapResult:
    """Of one file; fractions, not percent.

    Attributes:
        images: that were readable and evaluated.
        miou: intersection over union, the mean over the classes that are there or are said to be. With the 95 %
            interval of a bootstrap over images, see :mod:`edgex.segmentation.bootstrap`.
        pixel_accuracy: the share of pixels that are taken for what they are, likewise.
        enough: whether so many images show anything that the intervals hold; else they are 0 to 1.
        classes: names and IoU, by class index; None of a class that is neither there nor said to be.
        output: ``softmax`` if the scores of all pixels are probabilities, else ``logits``.
        agreement: of all pixels with what the float file says; None of that itself, or without one.
        confusions: pixels of each image.
    """

    path: Path
    runtime: str
    images: int
    miou: float
    miou_interval: tuple[float, float]
    pixel_accuracy: float
    pixel_accuracy_interval: tuple[float, float]
    enough: bool
    classes: tuple[tuple[str, float | None], ...]
    output: Output
    agreement: Agreement | None = field(repr=False, compare=False)
    confusions: Confusions = field(repr=False, compare=False)

    @property
    def agreeing(self) -> float | None:
        """Share of all pixels for which it says what the float file says, void ones too."""
        return None if self.agreement is None else self.agreement.share


def evaluate_maps(
    paths: Sequence[Path],
    dataset: Dataset,
    preprocessing: Preprocessing,
    *,
    runtime: str | None = None,
    python: Path | None = None,
    threads: int | None = None,
    external_data: bool = False,
    progress: Callable[[int, int], None] | None = None,
) -> list[MapResult]:
    """Run images with masks through files that score each pixel. Of each image only counts are kept.

    Args:
        paths: the files; the first that has ``.fp32.`` in its name is what the others are to agree with.
        dataset: with masks, which are brought to the size of the files' output.
        preprocessing: what the models were trained with; others as for :func:`edgex.evaluate.evaluate`.

    Raises:
        DataError: there is no readable image, or all pixels are void. EdgexError as of
            :meth:`edgex.evaluate.Crews.maps` and :func:`edgex.runtime.open_runner`.
    """
    reference = next((number for number, path in enumerate(paths) if ".fp32." in path.name), None)
    with Crews(paths, runtime=runtime, python=python, threads=threads, external_data=external_data) as crews:
        height, width, classes = crews.map_shape(dataset, preprocessing)
        tallies = [
            _Tally(path, name, classes, height * width) for path, name in zip(crews.paths, crews.runtimes, strict=True)
        ]
        for image in crews.maps(dataset, preprocessing):
            float_map = None if reference is None else image.maps[reference]
            for number, (tally, said, softmax) in enumerate(zip(tallies, image.maps, image.softmax, strict=True)):
                tally.softmax &= softmax
                tally.counts.append(confusion_cells(image.truth, said, classes))
                if float_map is not None and number != reference:
                    tally.equal.append(int(np.count_nonzero(said == float_map)))
            if progress is not None:
                progress(image.place + 1, len(dataset))
    names = map_names(dataset, classes)
    return [tally.result(names) for tally in tallies]


def compare_maps(baseline: MapResult, other: MapResult) -> MapComparison:
    """What became of the maps of a float file, evaluated together with another.

    Raises:
        ValueError: the images are not the same, or the other was not evaluated beside a float file.
    """
    agreement = other.agreement
    if agreement is None or baseline.images != other.images:
        raise ValueError(f"{other.path} was not evaluated beside {baseline.path}")
    names = tuple(name for name, _ in baseline.classes)
    discordant = int(np.count_nonzero(agreement.equal < agreement.size))
    return MapComparison(names, counted(baseline.confusions), counted(other.confusions), discordant, agreement)


def map_names(dataset: Dataset, classes: int) -> tuple[str, ...]:
    """Of the classes of a network; where the masks only tell how many are met, there may be more."""
    names = dataset.class_names
    return (*names, *map(str, range(len(names), classes))) if dataset.counted else names


def counted(confusions: Confusions) -> ClassPixels:
    """By class. DataError if there is no image, or no pixel that is not void."""
    if not len(confusions):
        raise DataError("There is no readable image to evaluate.", fix="Give more images.")
    pixels = confusions.by_class()
    if not pixels.truth.any():
        raise DataError(
            "All pixels of all masks are void (255).",
            fix="Number the classes from 0; 255 is for pixels that are not to be counted.",
        )
    return pixels


@dataclass
class _Tally:
    """Counts for one file."""

    path: Path
    runtime: str
    classes: int
    size: int
    softmax: bool = True
    equal: list[int] = field(default_factory=list)
    counts: list[tuple[Column, Column]] = field(default_factory=list)

    def result(self, names: Sequence[str]) -> MapResult:
        confusions = Confusions.joined(self.classes, self.counts)
        found = Measures(counted(confusions))
        return MapResult(
            path=self.path,
            runtime=self.runtime,
            images=found.images,
            miou=found.miou.value,
            miou_interval=found.miou.interval(),
            pixel_accuracy=found.pixel_accuracy.value,
            pixel_accuracy_interval=found.pixel_accuracy.interval(),
            enough=found.miou.enough,
            classes=tuple(zip(names, found.class_iou, strict=True)),
            output="softmax" if self.softmax else "logits",
            agreement=Agreement(np.array(self.equal, np.int64), self.size) if self.equal else None,
            confusions=confusions,
        )
