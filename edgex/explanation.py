"""Where models look: heat maps of two of them on the same images, as ``report.json`` keeps them."""

from typing import Annotated, Literal

from pydantic import Field, NonNegativeInt, computed_field, model_validator

from edgex.json_record import Record

Method = Literal["grad-cam", "occlusion"]

Correlation = Annotated[float, Field(ge=-1, le=1)]
Heat = tuple[tuple[float, ...], ...]
"""Rows of values from 0 to 1, of which the largest is 1 unless all are 0."""

MOST_SIDE = 64
"""Positions of a map in height and in width."""


class ImageMaps(Record):
    """The maps of one image, for the class that the baseline gives it.

    Attributes:
        image: its name.
        label: the baseline's class.
        flipped: whether the artifact gives it another class.
        correlation: Pearson's, over the positions of both maps; None where the baseline's map is the same everywhere.
        baseline: the baseline's map, as it is shown.
        artifact: the artifact's.
    """

    image: str
    label: str
    flipped: bool
    correlation: Correlation | None
    baseline: Heat
    artifact: Heat

    @model_validator(mode="after")
    def _are_maps(self) -> "ImageMaps":
        for heat in (self.baseline, self.artifact):
            widths = {len(row) for row in heat}
            if len(widths) != 1 or not 0 < max(len(heat), *widths) <= MOST_SIDE or widths == {0}:
                raise ValueError(f"a map of {self.image!r} is no grid")
            if not all(0 <= value <= 1 for row in heat for value in row):
                raise ValueError(f"a map of {self.image!r} has values beyond 0 and 1")
        return self


class ArtifactMaps(Record):
    """Of one artifact beside the baseline, both by the same method.

    Attributes:
        name: of the file.
        method: see :mod:`edgex.explain`.
        reason: why the maps are not Grad-CAM's; empty where they are.
        changed: images in all whose class changed.
        images: those with maps, the flipped first.
    """

    name: str
    method: Method
    reason: str = ""
    changed: NonNegativeInt
    images: tuple[ImageMaps, ...]

    @model_validator(mode="after")
    def _adds_up(self) -> "ArtifactMaps":
        if sum(each.flipped for each in self.images) > self.changed:
            raise ValueError(f"more images flipped than changed, of {self.name!r}")
        return self

    @computed_field  # type: ignore[prop-decorator]
    @property
    def mean(self) -> float | None:
        """Of the correlations; None where there is none."""
        return _mean(self._correlations())

    @computed_field  # type: ignore[prop-decorator]
    @property
    def mean_of_flipped(self) -> float | None:
        """Of those of images whose class changed."""
        return _mean([found for each, found in self._found() if each.flipped])

    @computed_field  # type: ignore[prop-decorator]
    @property
    def worst(self) -> float | None:
        return min(self._correlations(), default=None)

    @property
    def worst_image(self) -> str | None:
        """Its name."""
        return min(self._found(), key=lambda found: found[1])[0].image if self._found() else None

    def _found(self) -> list[tuple[ImageMaps, float]]:
        return [(each, each.correlation) for each in self.images if each.correlation is not None]

    def _correlations(self) -> list[float]:
        return [found for _, found in self._found()]


class Explanation(Record):
    """Of a run with ``--explain``."""

    artifacts: tuple[ArtifactMaps, ...] = ()


def _mean(values: list[float]) -> float | None:
    return sum(values) / len(values) if values else None
