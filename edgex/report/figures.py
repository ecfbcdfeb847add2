"""What reports of all kinds say of files, images and layers."""

import os
from pathlib import Path
from typing import Annotated, Any, ClassVar

from pydantic import Field, NonNegativeInt, PositiveFloat, PositiveInt, model_validator

from edgex.json_record import Record, to_document, to_json
from edgex.manifest import LONGEST_NAME
from edgex.proportions import MOST_IMAGES
from edgex.records import ArtifactFormat, ArtifactPrecision

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


class FileFacts(Record):
    """Of one model file.

    Attributes:
        runtime: in which it was evaluated and timed.
        images: that it saw.
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
    peak_bytes: NonNegativeInt | None = None
    latency: Latency | None = None

    @model_validator(mode="after")
    def _has_a_name(self) -> "FileFacts":
        if len(os.fsencode(Path(self.name).name)) > LONGEST_NAME:
            raise ValueError("its name is longer than that of a file can be")
        return self

    @property
    def judged(self) -> bool:
        """Whether the gate judges it: float twins are not."""
        return self.precision in ("int8", "mixed")


class ArtifactFacts(FileFacts):
    """Of a file beside the baseline.

    Attributes:
        snr_db: signal-to-noise ratio of the logits in decibels, of which the baseline's are the signal; None where
            they are equal. Of a network that labels pixels, of the logits of all pixels.
        speedup: None if latency was not measured, or the machine was too noisy to compare on.
    """

    snr_db: float | None
    speedup: Speedup | None = None


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


class BaseReport(Record):
    """What all kinds of reports say.

    Attributes:
        target: name and options, as in the manifest.
        noisy: whether a file timed against itself differed, or might have by more than 5 %; None if nothing was timed.
        layer_errors: in the order of the network; of the INT8 ONNX file.
        sensitivity: of ``edgex sensitivity``, if it was run on the same model; worst first.
        settings: that the run was given.
        machine: operating system, architecture, CPU.
        versions: of edgex, Python and the runtimes.
        predictions: sha256 of ``predictions.npz``.
    """

    schema_name: ClassVar[str]
    shows: ClassVar[str]
    """What a class is a class of."""

    target: dict[str, Any]
    data: DataFacts
    baseline: FileFacts
    artifacts: tuple[ArtifactFacts, ...]
    noisy: bool | None = None
    layer_errors: tuple[LayerError, ...] = ()
    sensitivity: tuple[LayerSensitivity, ...] = ()
    settings: dict[str, Any] = Field(default_factory=dict)
    machine: dict[str, Any] = Field(default_factory=dict)
    versions: dict[str, str] = Field(default_factory=dict)
    predictions: str
    warnings: tuple[str, ...] = ()

    @model_validator(mode="after")
    def _different_files(self) -> "BaseReport":
        names = [artifact.name for artifact in self.artifacts]
        if len({self.baseline.name, *names}) <= len(names) or any(Path(name).name != name for name in names):
            raise ValueError("its artifacts are not different files of one directory")
        return self

    def document(self) -> dict[str, Any]:
        """As JSON has it."""
        return to_document(self.schema_name, self)

    def to_json(self) -> str:
        return to_json(self.schema_name, self)
