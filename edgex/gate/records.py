"""What the gate is asked, and what it answers."""

import math
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Literal

from edgex.comparison import Comparison
from edgex.errors import ExitCode, UsageError

Verdict = Literal["pass", "fail", "inconclusive"]

EXIT_CODES: dict[Verdict, ExitCode] = {
    "pass": ExitCode.OK,
    "fail": ExitCode.GATE_FAILED,
    "inconclusive": ExitCode.INCONCLUSIVE,
}

PERCENTAGES = ("max_drop", "max_class_drop", "min_agreement", "baseline_accuracy")


@dataclass(frozen=True)
class Limits:
    """What an artifact must keep; None is no limit.

    Attributes:
        max_drop: of top-1 accuracy, in points.
        max_class_drop: the same of each class.
        min_agreement: percent of the images for which artifact and baseline say the same.
        max_latency_ms: of the median at batch 1.
        min_speedup: over the float baseline.
        max_size_mb: in millions of bytes.
        baseline_accuracy: percent of the images that the float model is known to get right. Where its 95 % interval
            does not hold that, labels or preprocessing are not what they should be, and no drop says anything.

    Raises:
        UsageError: one is negative, no number, or more than 100 percent.
    """

    max_drop: float = 1.0
    max_class_drop: float | None = None
    min_agreement: float | None = None
    max_latency_ms: float | None = None
    min_speedup: float | None = None
    max_size_mb: float | None = None
    baseline_accuracy: float | None = None

    def __post_init__(self) -> None:
        for each in fields(self):
            value, most = getattr(self, each.name), 100 if each.name in PERCENTAGES else math.inf
            if value is not None and not (math.isfinite(value) and 0 <= value <= most):
                raise UsageError(
                    f"--{each.name.replace('_', '-')} {value} is no limit.",
                    fix="Give a number from 0 on." if math.isinf(most) else "Give a number from 0 to 100.",
                )


@dataclass(frozen=True)
class Check:
    """One limit, and how it came out.

    Attributes:
        name: of the limit, as the command line has it: ``max-drop``.
        message: sentences with the figures.
        images: that would settle it, four times in five, if it is inconclusive for want of them.
    """

    name: str
    verdict: Verdict
    message: str
    images: int | None = None


@dataclass(frozen=True)
class Judgement:
    """Of one artifact, against ``comparison``'s baseline; None if there was nothing to compare with."""

    path: Path
    verdict: Verdict
    comparison: Comparison | None
    checks: tuple[Check, ...]


@dataclass(frozen=True)
class GateResult:
    """Fails if one artifact fails, else is inconclusive if one is.

    Attributes:
        against: the name of what was compared with.
        notes: sentences on what the verdict does not speak of, such as images that could not be read.
    """

    verdict: Verdict
    results: tuple[Judgement, ...]
    limits: Limits
    against: str
    notes: tuple[str, ...] = ()

    @property
    def exit_code(self) -> ExitCode:
        return EXIT_CODES[self.verdict]
