"""``report.json``: what ``edgex validate`` found, and all that ``edgex gate`` goes by.

Counts are the truth; shares and bounds in the file are for its readers, and must be what follows from the counts.
"""

import os
from pathlib import Path
from typing import Annotated, Any

from pydantic import (
    Field,
    NonNegativeInt,
    PositiveFloat,
    PositiveInt,
    SerializerFunctionWrapHandler,
    computed_field,
    model_serializer,
    model_validator,
)

from edgex.comparison import Comparison
from edgex.explanation import Explanation
from edgex.json_record import Record, read_record, to_document, to_json
from edgex.manifest import LONGEST_NAME
from edgex.proportions import MOST_IMAGES, wilson_interval
from edgex.records import ArtifactFormat, ArtifactPrecision

REPORT_NAME = "report.json"
PAGE_NAME = "report.html"
REPORT_SCHEMA = "edgex.report/1"


Share = Annotated[float, Field(ge=0, le=1)]


class Latency(Record):
    """At batch 1, in milliseconds; ``low`` and ``high`` are the 95 % interval of the median."""

    threads: PositiveInt
    runs: PositiveInt
    median_ms: PositiveFloat
    low_ms: PositiveFloat
    high_ms: PositiveFloat
    p90_ms: PositiveFloat

    @model_validator(mode="after")
    def _in_order(self) -> "Latency":
        if not self.low_ms <= self.high_ms:
            raise ValueError("the interval ends before it begins")
        return self


class Speedup(Record):
    """The baseline's latency over that of the artifact, with its 95 % interval."""

    ratio: PositiveFloat
    low: PositiveFloat
    high: PositiveFloat

    @model_validator(mode="after")
    def _in_order(self) -> "Speedup":
        if not self.low <= self.high:
            raise ValueError("the interval ends before it begins")
        return self


class Confusion(Record):
    """Images that were taken for one class and now are for another."""

    label: str
    baseline: str
    artifact: str
    images: PositiveInt


class FileFigures(Record):
    """Of one model file.

    Attributes:
        runtime: in which it was evaluated and timed.
        hits: images whose likeliest class is the label.
        hits5: whose label is among the five likeliest.
        calibration_error: expected calibration error over 15 bins of confidence (Guo et al. 2017, arXiv:1706.04599).
        peak_bytes: memory that loading and running it took on top of the runtime; None where it is not known.
        latency: None if it was not measured.
    """

    name: str
    format: ArtifactFormat
    precision: ArtifactPrecision
    bytes: PositiveInt
    sha256: str
    runtime: str
    images: Annotated[PositiveInt, Field(le=MOST_IMAGES)]
    hits: NonNegativeInt
    hits5: NonNegativeInt
    calibration_error: Share
    peak_bytes: NonNegativeInt | None = None
    latency: Latency | None = None

    @model_validator(mode="after")
    def _adds_up(self) -> "FileFigures":
        if not self.hits <= self.hits5 <= self.images:
            raise ValueError(f"the hits of {self.name!r} do not add up")
        if len(os.fsencode(Path(self.name).name)) > LONGEST_NAME:
            raise ValueError("its name is longer than that of a file can be")
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

    @property
    def judged(self) -> bool:
        """Whether the gate judges it: float twins are not."""
        return self.precision in ("int8", "mixed")


class LayerError(Record):
    """Signal-to-noise ratio in decibels of a layer's output in an INT8 file; all error up to there is in it."""

    layer: str
    snr_db: float


class LayerSensitivity(Record):
    """What quantizing one layer alone costs at the output of the network.

    Attributes:
        layer: of the Keras model.
        operation: such as ``DepthwiseConv2D``.
        snr_db: signal-to-noise ratio of the logits in decibels, the mean over images, where that of a file is of the
            sums; None where they do not change.
        lost: images of ``images`` labelled ones that only the float model gets right; None if none were given, as
            for ``gained``, which are those that only the other does.
    """

    layer: str
    operation: str
    snr_db: float | None
    images: PositiveInt | None = None
    lost: NonNegativeInt | None = None
    gained: NonNegativeInt | None = None


class DataFacts(Record):
    """The images: ``name`` without its folder, ``fingerprint`` over their names, content and labels."""

    name: str
    images: PositiveInt
    unreadable: NonNegativeInt
    fingerprint: str
    class_names: tuple[str, ...]


class Report(Record):
    """See the module.

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
        names = [artifact.name for artifact in self.artifacts]
        if len({self.baseline.name, *names}) <= len(names) or any(Path(name).name != name for name in names):
            raise ValueError("its artifacts are not different files of one directory")
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

    def document(self) -> dict[str, Any]:
        """As JSON has it."""
        return to_document(REPORT_SCHEMA, self)

    def to_json(self) -> str:
        return to_json(REPORT_SCHEMA, self)


def read_report(file: Path) -> Report:
    """The report in a file.

    Raises:
        DataError: it is missing or damaged, no report, has a number that is not finite, or was edited so that its
            figures contradict each other.
    """
    return read_record(file, REPORT_SCHEMA, Report, fix="Give a report.json that edgex validate wrote.")
