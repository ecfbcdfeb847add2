"""What ``edgex quantize`` can be told."""

import re
from dataclasses import asdict, dataclass
from typing import Any, Literal

from edgex.errors import UsageError
from edgex.plan import WeightBits
from edgex.preprocess import Resize, Scale
from edgex.quantize.climb import BUDGET
from edgex.quantize.observers import Method
from edgex.train.loop import TrainOptions


@dataclass(frozen=True)
class QuantizeOptions:
    """How to quantize; the defaults are what ``edgex quantize`` does untold.

    Attributes:
        calib_count: calibration images at most.
        calib_seed: which ones, where there are more.
        method: how images become ranges, see :mod:`edgex.quantize.observers`; ``auto`` climbs, see
            :mod:`edgex.quantize.climb`.
        budget: points of top-1 accuracy on the calibration images with which ``auto`` is content.
        equalize: whether to even out depthwise channels.
        cross_layer: whether to even out the channels behind ReLUs, too.
        weight_bits: of the weights of layers that run in INT8.
        rounding: of the weights: to the nearest, or learned.
        correct_bias: whether to take the mean error of each layer's weights back.
        keep_float: regular expression; layers whose name it finds stay in float.
        io: type of the model's ends.
        preprocess: how pixels are scaled; None for the model's own layer if it has one, else ``xception``.
        resize: how images are brought to the input size.
        input_size: height and width to write the model for; None for its own.
        max_bad: unreadable images to put up with, in each dataset.
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
    resize: Resize = "stretch"
    input_size: int | None = None
    max_bad: int = 0
    qat: TrainOptions | None = None
    threads: int | None = None

    @property
    def keep_float_pattern(self) -> re.Pattern[str] | None:
        """The compiled ``keep_float``. UsageError if it is none."""
        if self.keep_float is None:
            return None
        try:
            return re.compile(self.keep_float)
        except re.error as error:
            raise UsageError(
                f"--keep-float {self.keep_float!r} is not a regular expression: {error}.",
                fix="A layer's name is one; quote what is special with a backslash.",
            ) from error

    def recipe(self) -> dict[str, Any]:
        """The options that shape the artifacts, for the manifest."""
        return {name: value for name, value in asdict(self).items() if name != "threads"}
