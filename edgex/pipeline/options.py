"""What ``edgex quantize`` and ``edgex prune`` can be told."""

import re
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

from edgex.errors import UsageError
from edgex.plan import WeightBits
from edgex.preprocess import Resize, Scale
from edgex.prune.methods import Method as PruneMethod
from edgex.prune.methods import sparsity_of
from edgex.quantize.climb import BUDGET
from edgex.quantize.observers import Method
from edgex.train.loop import TrainOptions

PRUNE_EPOCHS = 2


@dataclass(frozen=True)
class PruneOptions:
    """How to prune; the defaults are what ``edgex prune`` does untold.

    Attributes:
        method: see :mod:`edgex.prune.methods`.
        sparsity: share of the multiply-accumulates for channels, else of the weights; None for the method's own.
        latency: ratio to the original's latency in INT8, measured here, that channels go for; in place of sparsity.
        importance: of channels: first-order Taylor, scales of batch norm, or norms of filters.
        steps: in which channels go, with an epoch over some of the images after each but the last.
        force: prune though the target gains nothing.
        train: fine-tuning after the last step.
    """

    method: PruneMethod = "channels"
    sparsity: float | None = None
    latency: float | None = None
    importance: Literal["taylor", "batch-norm", "norm"] = "taylor"
    steps: int = 2
    force: bool = False
    train: TrainOptions = field(default_factory=lambda: TrainOptions(epochs=PRUNE_EPOCHS))

    def __post_init__(self) -> None:
        if self.latency is not None and (self.sparsity is not None or self.method != "channels"):
            raise UsageError(
                "--latency takes the place of --sparsity, and is for the method channels.", fix="Give one of them."
            )
        if self.latency is not None and not 0 < self.latency < 1:
            raise UsageError(f"--latency {self.latency} is no ratio to get below 1.", fix="Give one like 0.5.")
        if self.latency is None:
            sparsity_of(self.method, self.sparsity)


@dataclass(frozen=True)
class QuantizeOptions:
    """How to quantize; the defaults are what ``edgex quantize`` does untold.

    Attributes:
        calib_count: calibration images at most.
        calib_seed: which ones, where there are more.
        method: how images become ranges, see :mod:`edgex.quantize.observers`; ``auto`` climbs, see
            :mod:`edgex.quantize.climb`.
        budget: points of top-1 or pixel accuracy on the calibration images with which ``auto`` is content.
        equalize: whether to even out depthwise channels.
        cross_layer: whether to even out the channels behind ReLUs, too.
        weight_bits: of the weights of layers that run in INT8.
        rounding: of the weights: to the nearest, or learned.
        correct_bias: whether to take the mean error of each layer's weights back.
        keep_float: regular expression; layers whose name it finds stay in float.
        io: type of the model's ends.
        preprocess: how pixels are scaled; None for as the model's file says that it was trained, else for the model's
            own layer if it has one, else ``xception``.
        resize: how images are brought to the input size; None for as the file says, else ``stretch``.
        input_size: height and width to write the model for; None for its own.
        max_bad: unreadable images to put up with, in each dataset.
        prune: how to prune before calibration; None for not at all.
        qat: how to train after calibration; None for not at all.
        threads: None for the physical cores. Without training the artifacts do not depend on it.
    """

    calib_count: int = 256
    calib_seed: int = 0
    method: Method | Literal["auto"] = "average"
    budget: float = BUDGET
    equalize: bool = True
    cross_layer: bool = False
    weight_bits: WeightBits = 8
    rounding: Literal["nearest", "learned"] = "nearest"
    correct_bias: bool = False
    keep_float: str | None = None
    io: Literal["float", "int8"] = "float"
    preprocess: Scale | None = None
    resize: Resize | None = None
    input_size: int | None = None
    max_bad: int = 0
    prune: PruneOptions | None = None
    qat: TrainOptions | None = None
    threads: int | None = None

    @property
    def keep_float_pattern(self) -> re.Pattern[str] | None:
        """The compiled ``keep_float``. UsageError if it is none."""
        if self.keep_float is None:
            return None
        try:
            return re.compile(self.keep_float)
        except (re.error, OverflowError, RecursionError) as error:
            raise UsageError(
                f"--keep-float {self.keep_float!r} is not a regular expression: {error}.",
                fix="A layer's name is one; quote what is special with a backslash.",
            ) from error

    def recipe(self) -> dict[str, Any]:
        """The options that shape the artifacts, for the manifest."""
        return {name: value for name, value in asdict(self).items() if name != "threads"}
