"""The report on classifiers."""

from typing import Any

from pydantic import (
    Field,
    NonNegativeInt,
    PositiveInt,
    SerializerFunctionWrapHandler,
    computed_field,
    model_serializer,
    model_validator,
)

from edgex.comparison import Comparison
from edgex.explanation import Explanation
from edgex.json_record import Record, to_document, to_json
from edgex.proportions import wilson_interval
from edgex.report.figures import (
    DataFacts,
    FileFacts,
    Latency,
    LayerError,
    LayerSensitivity,
    Share,
    Speedup,
    check_names,
)

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
        peak_bytes: memory that loading and running it took on top of the runtime; None where it is not known.
        latency: None if it was not measured.
    """

    hits: NonNegativeInt
    hits5: NonNegativeInt
    calibration_error: Share
    peak_bytes: NonNegativeInt | None = None
    latency: Latency | None = None

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


class ArtifactFigures(FileFigures):
    """Of a file beside the baseline.

    Attributes:
        snr_db: signal-to-noise ratio of the logits in decibels, of which the baseline's are the signal; None where
            they are equal.
        speedup: None if latency was not measured, or the machine was too noisy to compare on.
        confusions: the commonest first.
    """

    comparison: Comparison
    snr_db: float | None
    speedup: Speedup | None = None
    confusions: tuple[Confusion, ...] = ()


class Report(Record):
    """Of classifiers; see the package.

    Attributes:
        target: name and options, as in the manifest.
        noisy: whether a file timed against itself differed, or might have by more than 5 %; None if nothing was timed.
        layer_errors: in the order of the network; of the INT8 ONNX file.
        sensitivity: of ``edgex sensitivity``, if it was run on the same model; worst first.
        explanation: of a run with ``--explain``; the file has none where it is None.
        settings: that the run was given.
        machine: operating system, architecture, CPU.
        versions: of edgex, Python and the runtimes.
        predictions: sha256 of ``predictions.npz``.
    """

    target: dict[str, Any]
    data: DataFacts
    baseline: FileFigures
    artifacts: tuple[ArtifactFigures, ...]
    noisy: bool | None = None
    layer_errors: tuple[LayerError, ...] = ()
    sensitivity: tuple[LayerSensitivity, ...] = ()
    explanation: Explanation | None = None
    settings: dict[str, Any] = Field(default_factory=dict)
    machine: dict[str, Any] = Field(default_factory=dict)
    versions: dict[str, str] = Field(default_factory=dict)
    predictions: str
    warnings: tuple[str, ...] = ()

    @model_validator(mode="after")
    def _different_files(self) -> "Report":
        check_names(self.baseline, self.artifacts)
        return self

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
    def shows(self) -> str:
        """What a class is a class of."""
        return "image"

    @property
    def comparisons(self) -> dict[str, Comparison]:
        """Of the artifacts with the baseline, by name."""
        return {artifact.name: artifact.comparison for artifact in self.artifacts}

    def document(self) -> dict[str, Any]:
        """As JSON has it."""
        return to_document(REPORT_SCHEMA, self)

    def to_json(self) -> str:
        return to_json(REPORT_SCHEMA, self)
