"""The report on networks that say what each pixel shows."""

from collections.abc import Mapping
from functools import cached_property
from typing import Annotated

import numpy as np
from pydantic import Field, NonNegativeInt, PositiveInt, computed_field, model_validator

from edgex.comparison import Drop
from edgex.json_record import Record, difference
from edgex.report.figures import ArtifactFacts, BaseReport, DataFacts, FileFacts, Share
from edgex.segmentation import MOST_CLASSES, MOST_PIXELS, Agreement, ClassPixels, MapComparison, Measures

MAP_REPORT_SCHEMA = "edgex.segmentation-report/1"

NUMBERS = 4
"""For each class of an image, in :attr:`MapFileFigures.counts`."""

Pixels = Annotated[NonNegativeInt, Field(le=MOST_PIXELS)]
ImageCounts = tuple[Pixels, ...]


class MapDataFacts(DataFacts):
    """The images; ``height`` and ``width`` are those of the maps."""

    height: PositiveInt
    width: PositiveInt

    @model_validator(mode="after")
    def _can_be(self) -> "MapDataFacts":
        if not 1 < len(self.class_names) <= MOST_CLASSES or self.height * self.width > MOST_PIXELS:
            raise ValueError("no map is so large, or has so many or few classes")
        return self


class MapFileFigures(FileFacts):
    """Of one file; see :class:`edgex.segmentation.Measures`.

    Attributes:
        counts: of each image, and of each class that is there or is said to be, four numbers: its index, its pixels,
            how many of them are taken for it, and how many in all.
    """

    counts: tuple[ImageCounts, ...]

    @model_validator(mode="after")
    def _adds_up(self) -> "MapFileFigures":
        if len(self.counts) != self.images:
            raise ValueError(f"{self.name!r} has counts of {len(self.counts)} images, and saw {self.images}")
        for image in self.counts:
            rows = [image[place : place + NUMBERS] for place in range(0, len(image), NUMBERS)]
            classes = [row[0] for row in rows]
            if len(image) % NUMBERS or classes != sorted(set(classes)) or (classes and classes[-1] >= MOST_CLASSES):
                raise ValueError(f"the counts of {self.name!r} are not of classes")
            sums = [sum(row[1] for row in rows), sum(row[3] for row in rows)]
            if any(row[2] > min(row[1], row[3]) for row in rows) or sums[0] != sums[1] or sums[0] > MOST_PIXELS:
                raise ValueError(f"the counts of {self.name!r} do not add up")
        if not any(self.counts):
            raise ValueError(f"no pixel of {self.name!r} is counted")
        return self

    def pixels(self, classes: int) -> ClassPixels:
        """By image and class. ValueError if one is of a class beyond ``classes``."""
        table = np.zeros((3, len(self.counts), classes), np.int64)
        for number, image in enumerate(self.counts):
            rows = np.array(image, np.int64).reshape(-1, NUMBERS)
            if len(rows) and rows[-1, 0] >= classes:
                raise ValueError(f"the counts of {self.name!r} are of a class that there is not")
            table[:, number, rows[:, 0]] = rows[:, 1:].T
        truth, hits, said = table
        return ClassPixels(hits, truth, said)

    @cached_property
    def measures(self) -> Measures:
        """Of the classes up to the last that is met, which does not matter to means."""
        return Measures(self.pixels(1 + max(image[-NUMBERS] for image in self.counts if image)))

    @computed_field  # type: ignore[prop-decorator]
    @property
    def miou(self) -> float:
        return self.measures.miou.value

    @computed_field  # type: ignore[prop-decorator]
    @property
    def miou_interval(self) -> tuple[float, float]:
        """95 %, by a bootstrap over images; see :mod:`edgex.segmentation.bootstrap`."""
        return self.measures.miou.interval()

    @computed_field  # type: ignore[prop-decorator]
    @property
    def pixel_accuracy(self) -> float:
        return self.measures.pixel_accuracy.value

    @computed_field  # type: ignore[prop-decorator]
    @property
    def pixel_accuracy_interval(self) -> tuple[float, float]:
        """Likewise."""
        return self.measures.pixel_accuracy.interval()

    @computed_field  # type: ignore[prop-decorator]
    @property
    def class_iou(self) -> tuple[float | None, ...]:
        """By class index, up to the last class that is met; None of one that is neither there nor said to be."""
        return self.measures.class_iou


class MapComparisonFigures(Record):
    """Of an artifact with the baseline, as it follows from the counts of both.

    Attributes:
        images: of the comparison.
        discordant: images whose maps differ anywhere.
        agreement: share of all pixels, void ones too, of which both say the same.
        drop: of mean IoU, in points, with one-sided 95 % bounds by a bootstrap over images.
    """

    images: PositiveInt
    discordant: NonNegativeInt
    agreement: Share
    drop: Drop


class MapArtifactFigures(MapFileFigures, ArtifactFacts):
    """Of a file beside the baseline.

    Attributes:
        changed: pixels of each image, void ones too, of which it says something else than the baseline.
    """

    changed: tuple[Pixels, ...]
    comparison: MapComparisonFigures


class MapReport(BaseReport):
    """Of networks that say what each pixel shows."""

    schema_name = MAP_REPORT_SCHEMA
    shows = "pixel"

    data: MapDataFacts
    baseline: MapFileFigures
    artifacts: tuple[MapArtifactFigures, ...]

    @model_validator(mode="after")
    def _same_images(self) -> "MapReport":
        for artifact in self.artifacts:
            if not artifact.images == self.baseline.images == self.data.images == len(artifact.changed):
                raise ValueError(f"{artifact.name!r} and the baseline did not see the same images")
        return self

    @model_validator(mode="after")
    def _follows(self) -> "MapReport":
        for artifact in self.artifacts:
            found = comparison_figures(self.comparisons[artifact.name]).model_dump(mode="json")
            where = difference(artifact.comparison.model_dump(mode="json"), found)
            if where is not None:
                raise ValueError(f"the {where} of {artifact.name!r} does not follow from its counts")
        return self

    @cached_property
    def comparisons(self) -> Mapping[str, MapComparison]:
        """Of the artifacts with the baseline, by name. ValueError if the counts contradict each other."""
        names, size = self.data.class_names, self.data.height * self.data.width
        before = self.baseline.pixels(len(names))
        found = {}
        for artifact in self.artifacts:
            after = artifact.pixels(len(names))
            changed = np.array(artifact.changed, np.int64)
            if not np.array_equal(before.truth, after.truth):
                raise ValueError(f"{artifact.name!r} and the baseline have different masks")
            if changed.max() > size or (abs(after.said - before.said).sum(axis=1) > 2 * changed).any():
                raise ValueError(f"the changed pixels of {artifact.name!r} do not fit its counts")
            discordant = int(np.count_nonzero(changed))
            found[artifact.name] = MapComparison(names, before, after, discordant, Agreement(size - changed, size))
        return found


def comparison_figures(comparison: MapComparison) -> MapComparisonFigures:
    """What a report says of a comparison pixel by pixel."""
    assert comparison.agreement is not None
    return MapComparisonFigures(
        images=comparison.images,
        discordant=comparison.discordant,
        agreement=comparison.agreement.share,
        drop=comparison.drop,
    )


def image_counts(pixels: ClassPixels) -> tuple[ImageCounts, ...]:
    """For :attr:`MapFileFigures.counts`."""
    counts = []
    for truth, hits, said in zip(pixels.truth, pixels.hits, pixels.said, strict=True):
        (classes,) = np.nonzero(truth + said)
        rows = np.stack([classes, truth[classes], hits[classes], said[classes]], axis=1)
        counts.append(tuple(rows.ravel().tolist()))
    return tuple(counts)
