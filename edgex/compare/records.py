"""What a comparison of models found."""

from dataclasses import dataclass

from edgex.bench import BenchResult, Ratio
from edgex.comparison import Comparison
from edgex.inspection import Inspection
from edgex.preprocess import Preprocessing
from edgex.records import ArtifactKind


@dataclass(frozen=True)
class Int8Artifact:
    """An INT8 file of a model.

    Attributes:
        bytes: its size.
        cost: beside the float model on labelled images; None where that was not measured.
    """

    kind: ArtifactKind
    bytes: int
    cost: Comparison | None = None


@dataclass(frozen=True)
class ModelLatency:
    """How long an INT8 file of a model takes in one runtime."""

    kind: ArtifactKind
    result: BenchResult

    @property
    def lane(self) -> str:
        """File and runtime, like ``int8.onnx in openvino``."""
        return f"{self.kind} in {self.result.runtime}"


@dataclass(frozen=True)
class ComparedModel:
    """One of the models.

    Attributes:
        name: as it was given.
        fresh: of the zoo, with weights that nothing was trained into.
        inspection: its layers, counted.
        int8: its INT8 files, the target's main one first; empty where counts alone were asked for.
        latencies: of those files, in the order of ``int8``.
        preprocessing: of the images that it was calibrated and evaluated with; None where nothing was quantized.
    """

    name: str
    fresh: bool
    inspection: Inspection
    int8: tuple[Int8Artifact, ...] = ()
    latencies: tuple[ModelLatency, ...] = ()
    preprocessing: Preprocessing | None = None


@dataclass(frozen=True)
class ModelRatio:
    """The latency of one model over that of another, same kind of file, same runtime.

    Attributes:
        a, b: places of the models in the comparison.
    """

    a: int
    b: int
    kind: ArtifactKind
    ratio: Ratio


@dataclass(frozen=True)
class CompareReport:
    """Models in the order given.

    Attributes:
        ratios: of each pair of models, where both were timed in a kind of file and a runtime.
        images: labelled ones that INT8's cost was measured on; 0 where it was not.
        notes: sentences about what was left out of timing and why.
        warnings: sentences about what is odd but usable.
    """

    models: tuple[ComparedModel, ...]
    ratios: tuple[ModelRatio, ...] = ()
    images: int = 0
    notes: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()

    @property
    def lanes(self) -> tuple[str, ...]:
        """Each kind of file in each runtime, in the order met."""
        return tuple(dict.fromkeys(latency.lane for model in self.models for latency in model.latencies))
