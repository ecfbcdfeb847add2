"""What the gate is asked, and what it answers."""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import ClassVar, Literal

from edgex.comparison import Comparison
from edgex.errors import ExitCode, UsageError
from edgex.segmentation import MapComparison

Verdict = Literal["pass", "fail", "inconclusive"]

AnyComparison = Comparison | MapComparison

MOST_NAMES = 5
"""Classes that a sentence lists."""

EXIT_CODES: dict[Verdict, ExitCode] = {
    "pass": ExitCode.OK,
    "fail": ExitCode.GATE_FAILED,
    "inconclusive": ExitCode.INCONCLUSIVE,
}

PERCENTAGES = ("max_drop", "max_class_drop", "max_pixel_drop", "min_agreement", "baseline_accuracy")


@dataclass(frozen=True)
class Limits:
    """What an artifact must keep; None is no limit.

    Attributes:
        max_drop: of top-1 accuracy or mean IoU, in points.
        max_class_drop: the same of each class.
        max_pixel_drop: of pixel accuracy, in points. Only networks that label pixels have it.
        min_agreement: percent of the images, or pixels, for which artifact and baseline say the same.
        max_latency_ms: of the median at batch 1.
        min_speedup: over the float baseline.
        max_size_mb: in millions of bytes.
        baseline_accuracy: percent of the images that the float model is known to get right, or its mean IoU in percent.
            Where its 95 % interval does not hold that, labels or preprocessing are not what they should be, and no drop
            says anything.

    Raises:
        UsageError: one is negative, no number, or more than 100 percent.
    """

    max_drop: float = 1.0
    max_class_drop: float | None = None
    max_pixel_drop: float | None = None
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

    def refuse_pixel_limits(self, why: str) -> None:
        """See that no limit is on the figures of pixels alone, where whole images are classified.

        Args:
            why: a clause that says what is of whole images, for the message.

        Raises:
            UsageError: there is one.
        """
        if self.max_pixel_drop is not None:
            raise UsageError(
                f"--max-pixel-drop {self.max_pixel_drop:g} is for networks that label pixels, and {why}.",
                fix="Limit the drop of top-1 accuracy by --max-drop instead (in edgex.toml by max_drop).",
            )


@dataclass(frozen=True)
class Check:
    """One limit, and how it came out.

    Attributes:
        name: of the limit, as the command line has it: ``max-drop``.
        message: sentences with the figures.
        images: that would settle it, four times in five, if it is inconclusive for want of them.
        of: what those are of, as :func:`settling` says it. No part of documents.
    """

    of: ClassVar[str] = "in all"

    name: str
    verdict: Verdict
    message: str
    images: int | None = None


class ClassCheck(Check):
    """One whose ``images`` are of the class that the message names."""

    of: ClassVar[str] = "of it"


@dataclass(frozen=True)
class Judgement:
    """Of one artifact, against ``comparison``'s baseline; None if there was nothing to compare with."""

    path: Path
    verdict: Verdict
    comparison: AnyComparison | None
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


# What checks have in common


def worst(verdicts: Iterable[Verdict]) -> Verdict:
    """Of several, of which all must pass."""
    found = set(verdicts)
    return "fail" if "fail" in found else "pass" if found == {"pass"} else "inconclusive"


def list_names(names: Sequence[str]) -> str:
    """For a sentence: the first few, quoted, and how many more there are."""
    more = len(names) - MOST_NAMES
    return ", ".join(map(repr, names[:MOST_NAMES])) + (f" and {more} more" if more > 0 else "")


def beside(value: float, limit: float) -> str:
    """A figure with two decimals, or as many as show on which side of the limit it is."""
    texts = [f"{value:.{decimals}f}" for decimals in range(2, 8)]
    return next((text for text in texts if float(text) != limit), texts[0])


def settling(verdict: Verdict, images: int | None, of: str = Check.of) -> str:
    """How many images would settle an inconclusive check, as a sentence; None is more than there can be."""
    if verdict != "inconclusive":
        return ""
    if images is None:
        return " That is so near the limit that no number of images would settle it."
    return f" About {images:,} images {of} would settle it, four times in five."
