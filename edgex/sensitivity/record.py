"""What ``edgex sensitivity`` found, and ``sensitivity.json``, which keeps it."""

from pathlib import Path
from typing import Any

from pydantic import NonNegativeFloat, NonNegativeInt, PositiveInt

from edgex.json_record import Record, read_record, to_document, to_json
from edgex.report import LayerSensitivity, Share

SENSITIVITY_NAME = "sensitivity.json"
SENSITIVITY_SCHEMA = "edgex.sensitivity/1"


class Cost(Record):
    """What a quantized network loses beside the float one; see :class:`edgex.report.LayerSensitivity`."""

    snr_db: float | None
    images: PositiveInt | None = None
    lost: NonNegativeInt | None = None
    gained: NonNegativeInt | None = None


class Suggestion(Record):
    """Layers to keep in float.

    Attributes:
        keep_float: the regular expression to give to ``edgex quantize``; what was given already is in it.
        layers: of the Keras model.
        after: of the network quantized anew with it.
    """

    keep_float: str
    layers: tuple[str, ...]
    after: Cost


class OperationKind(Record):
    """Operations of one kind in a file.

    Attributes:
        operation: of the graph, such as ``DepthwiseConv2D``; the runtime's own word for what it added.
        precision: as :class:`edgex.bench.Operation` has it.
        ms: of one run, all together.
        share: of the time of all operations.
        float_ms: what the same operations take in the float file; None where it has none.
    """

    operation: str
    precision: str
    count: PositiveInt
    ms: NonNegativeFloat
    share: Share
    float_ms: NonNegativeFloat | None


class FileSpeed(Record):
    """Where the time of an INT8 file goes.

    Attributes:
        ms: of a run.
        float_ms: of a run of its float twin in the same runtime; None if the target has none.
        kinds: those that take the most time first.
        in_float: layers that are computed in float.
        conversions: layers at which the runtime still quantizes or dequantizes.
        causes: why it is not faster, in sentences.
    """

    name: str
    runtime: str
    ms: NonNegativeFloat
    float_ms: NonNegativeFloat | None
    kinds: tuple[OperationKind, ...]
    in_float: tuple[str, ...]
    conversions: tuple[str, ...]
    causes: tuple[str, ...]


class Sensitivity(Record):
    """See the module.

    Attributes:
        model: the file's name.
        model_sha256: of its content.
        target: name and options, as in the manifest.
        images: that the signal-to-noise ratios were measured on.
        layers: worst first.
        whole: of the network with all layers quantized.
        suggestion: None if nothing is worth keeping in float.
        speed: of the INT8 files; empty if they were not profiled.
    """

    model: str
    model_sha256: str
    target: dict[str, Any]
    images: PositiveInt
    layers: tuple[LayerSensitivity, ...]
    whole: Cost
    suggestion: Suggestion | None
    speed: tuple[FileSpeed, ...] = ()
    warnings: tuple[str, ...] = ()

    def document(self) -> dict[str, Any]:
        """As JSON has it."""
        return to_document(SENSITIVITY_SCHEMA, self)

    def to_json(self) -> str:
        return to_json(SENSITIVITY_SCHEMA, self)


def read_sensitivity(file: Path, model_sha256: str) -> tuple[LayerSensitivity, ...]:
    """The layers in a file, worst first; none if there is no such file, or it speaks of another model.

    Raises:
        DataError: it is damaged.
    """
    if not file.is_file():
        return ()
    fix = "Write it anew with edgex sensitivity, or remove it."
    found = read_record(file, SENSITIVITY_SCHEMA, Sensitivity, fix)
    return found.layers if found.model_sha256 == model_sha256 else ()
