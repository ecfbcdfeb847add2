"""What a comparison of models found."""

from dataclasses import dataclass
from typing import Literal

from edgex.bench import BenchResult, Ratio
from edgex.comparison import Comparison
from edgex.gate import AnyComparison
from edgex.inspection import Inspection
from edgex.preprocess import Preprocessing
from edgex.records import ArtifactKind


@dataclass(frozen=True)
class Int8Artifact:
    """An INT8 file of a model.

    Attributes:
        bytes: its size.
        cost: beside the float model, on images with labels or with masks; None where that was not measured.
    """

    kind: ArtifactKind
    bytes: int
    cost: AnyComparison | None = None

    @property
    def bounded(self) -> bool:
        """Whether the cost has a bound; that of mean IoU has none with too few images."""
        return self.cost is not None and (isinstance(self.cost, Comparison) or self.cost.enough)

    @property
    def lost(self) -> str:
        """Points and their bound, like ``+0.40, at most 1.20``; empty where that was not measured."""
        if self.cost is None:
            return ""
        drop = self.cost.drop
        return f"{drop.points:+.2f}, " + (f"at most {drop.high:.2f}" if self.bounded else "unproven")


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
        images: with labels or masks, that INT8's cost was measured on; 0 where it was not.
        notes: sentences about what was left out of timing and why.
        warnings: sentences about what is odd but usable.
    """

    models: tuple[ComparedModel, ...]
    ratios: tuple[ModelRatio, ...] = ()
    images: int = 0
    notes: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()

    @property
    def measure(self) -> Literal["top-1", "mean IoU"] | None:
        """What INT8's cost is in points of; None where it was not measured."""
        costs = (each.cost for model in self.models for each in model.int8 if each.cost is not None)
        first = next(costs, None)
        if first is None:
            return None
        return "top-1" if isinstance(first, Comparison) else "mean IoU"

    @property
    def lanes(self) -> tuple[str, ...]:
        """Each kind of file in each runtime, in the order met."""
        return tuple(dict.fromkeys(latency.lane for model in self.models for latency in model.latencies))
