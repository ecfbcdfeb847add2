"""The report on classifiers."""

from typing import Any

from pydantic import (
    NonNegativeInt,
    PositiveInt,
    SerializerFunctionWrapHandler,
    computed_field,
    model_serializer,
    model_validator,
)

from edgex.comparison import Comparison
from edgex.explanation import Explanation
from edgex.json_record import Record
from edgex.proportions import wilson_interval
from edgex.report.figures import ArtifactFacts, BaseReport, FileFacts, Share

REPORT_SCHEMA = "edgex.report/1"


class Confusion(Record):
    """Images that were taken for one class and now are for another."""

    label: str
    baseline: str
    artifact: str
    images: PositiveInt


class FileFigures(FileFacts):
    """Of one classifier.

    Attributes:
        hits: images whose likeliest class is the label.
        hits5: whose label is among the five likeliest.
        calibration_error: expected calibration error over 15 bins of confidence (Guo et al. 2017, arXiv:1706.04599).
    """

    hits: NonNegativeInt
    hits5: NonNegativeInt
    calibration_error: Share

    @model_validator(mode="after")
    def _adds_up(self) -> "FileFigures":
        if not self.hits <= self.hits5 <= self.images:
            raise ValueError(f"the hits of {self.name!r} do not add up")
        return self

    @computed_field  # type: ignore[prop-decorator]
    @property
    def top1(self) -> float:
        return self.hits / self.images

    @computed_field  # type: ignore[prop-decorator]
    @property
    def top1_interval(self) -> tuple[float, float]:
        """95 %, Wilson's."""
        return wilson_interval(self.hits, self.images)

    @computed_field  # type: ignore[prop-decorator]
    @property
    def top5(self) -> float:
        return self.hits5 / self.images


class ArtifactFigures(FileFigures, ArtifactFacts):
    """Of a classifier beside the baseline; ``confusions`` has the commonest first."""

    comparison: Comparison
    confusions: tuple[Confusion, ...] = ()


class Report(BaseReport):
    """Of classifiers; ``explanation`` is of a run with ``--explain``, and the file has none where it is None."""

    schema_name = REPORT_SCHEMA
    shows = "image"

    baseline: FileFigures
    artifacts: tuple[ArtifactFigures, ...]
    explanation: Explanation | None = None

    @model_validator(mode="after")
    def _same_images(self) -> "Report":
        for artifact in self.artifacts:
            found = artifact.comparison
            if not artifact.images == self.baseline.images == self.data.images == found.images:
                raise ValueError(f"{artifact.name!r} and the baseline did not see the same images")
            if tuple(each.name for each in found.classes) != self.data.class_names:
                raise ValueError(f"the classes of {artifact.name!r} are not those of the images")
            if (
                self.baseline.hits != found.baseline_hits
                or artifact.hits != found.baseline_hits - found.lost + found.gained
            ):
                raise ValueError(f"the hits of {artifact.name!r} do not follow from those of its classes")
        return self

    @model_validator(mode="after")
    def _explains_its_artifacts(self) -> "Report":
        explained = () if self.explanation is None else self.explanation.artifacts
        judged = {artifact.name for artifact in self.artifacts if artifact.judged}
        if len({each.name for each in explained} & judged) < len(explained):
            raise ValueError("it explains what is none of its artifacts")
        return self

    @model_serializer(mode="wrap")
    def _with_what_was_asked_for(self, handler: SerializerFunctionWrapHandler) -> dict[str, Any]:
        document: dict[str, Any] = handler(self)
        if self.explanation is None:
            del document["explanation"]
        return document

    @property
    def comparisons(self) -> dict[str, Comparison]:
        """Of the artifacts with the baseline, by name."""
        return {artifact.name: artifact.comparison for artifact in self.artifacts}
