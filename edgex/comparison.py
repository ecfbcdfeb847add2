"""Two models' predictions on the same images, counted."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydantic import NonNegativeInt, PositiveInt, computed_field, model_validator

from edgex.json_record import Record
from edgex.proportions import Paired

Indices = NDArray[Any]


class ClassComparison(Record):
    """Images of one class.

    Attributes:
        lost: that only the baseline gets right.
        gained: that only the other does.
    """

    name: str
    images: NonNegativeInt
    baseline_hits: NonNegativeInt
    lost: NonNegativeInt
    gained: NonNegativeInt

    @model_validator(mode="after")
    def _adds_up(self) -> "ClassComparison":
        if self.lost > self.baseline_hits or self.baseline_hits + self.gained > self.images:
            raise ValueError(f"the counts of the class {self.name!r} do not add up")
        return self

    @property
    def paired(self) -> Paired | None:
        """None where there is no image of the class."""
        return Paired(self.images, self.lost, self.gained) if self.images else None

    @computed_field  # type: ignore[prop-decorator]
    @property
    def drop(self) -> float | None:
        """In points: percent of the images of this class."""
        return None if self.paired is None else 100 * self.paired.drop


class Drop(Record):
    """In points, with one-sided 95 % bounds; negative is a gain.

    Of top-1 accuracy by Tango's score test, or of mean IoU by a bootstrap over images.
    """

    points: float
    low: float
    high: float


class Comparison(Record):
    """A model against a baseline.

    Attributes:
        agreeing: images for which both say the same, right or wrong.
        classes: by class index.
    """

    images: PositiveInt
    agreeing: NonNegativeInt
    classes: tuple[ClassComparison, ...]

    @model_validator(mode="after")
    def _adds_up(self) -> "Comparison":
        if (
            sum(each.images for each in self.classes) != self.images
            or self.agreeing + self.paired.discordant > self.images
        ):
            raise ValueError("the counts of the classes do not add up to those of all images")
        return self

    @computed_field  # type: ignore[prop-decorator]
    @property
    def baseline_hits(self) -> int:
        return sum(each.baseline_hits for each in self.classes)

    @computed_field  # type: ignore[prop-decorator]
    @property
    def lost(self) -> int:
        return sum(each.lost for each in self.classes)

    @computed_field  # type: ignore[prop-decorator]
    @property
    def gained(self) -> int:
        return sum(each.gained for each in self.classes)

    @computed_field  # type: ignore[prop-decorator]
    @property
    def drop(self) -> Drop:
        paired = self.paired
        return Drop(points=100 * paired.drop, low=100 * paired.lower_bound(), high=100 * paired.upper_bound())

    @property
    def paired(self) -> Paired:
        return Paired(self.images, self.lost, self.gained)

    @property
    def discordant(self) -> int:
        """Images that one gets right and the other wrong."""
        return self.paired.discordant

    @property
    def absent(self) -> list[str]:
        """Classes without images."""
        return [each.name for each in self.classes if not each.images]

    @property
    def agreement(self) -> float:
        """A fraction."""
        return self.agreeing / self.images

    @property
    def chance(self) -> float:
        """The accuracy of always saying the commonest class."""
        return max(each.images for each in self.classes) / self.images

    def worst_classes(self) -> list[ClassComparison]:
        """Those that have images, by their drop, worst first."""
        seen = [each for each in self.classes if each.images]
        return sorted(seen, key=lambda each: (each.gained - each.lost) / each.images)


def compare(labels: Indices, baseline: Indices, other: Indices, class_names: Sequence[str]) -> Comparison:
    """Count what two models say of the same images: class indices (images,) each."""
    count = len(class_names)
    right, before = other == labels, baseline == labels

    def by_class(chosen: NDArray[np.bool_]) -> list[int]:
        counts: list[int] = np.bincount(labels[chosen], minlength=count).tolist()
        return counts

    columns = (
        by_class(np.ones(len(labels), bool)),
        by_class(before),
        by_class(before & ~right),
        by_class(right & ~before),
    )
    classes = tuple(
        ClassComparison(name=name, images=images, baseline_hits=hits, lost=lost, gained=gained)
        for name, images, hits, lost, gained in zip(class_names, *columns, strict=True)
    )
    return Comparison(images=len(labels), agreeing=int((baseline == other).sum()), classes=classes)
