"""Frozen records that travel between stages."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import takewhile
from pathlib import Path
from typing import Literal, NamedTuple, Self, cast, get_args

ArtifactFormat = Literal["tflite", "onnx", "keras"]
ArtifactPrecision = Literal["int8", "fp16", "fp32", "mixed"]


class ArtifactKind(NamedTuple):
    """What an artifact is; as text, and as the end of its file name: ``int8.onnx``."""

    precision: ArtifactPrecision
    format: ArtifactFormat

    def __str__(self) -> str:
        return f"{self.precision}.{self.format}"

    @classmethod
    def parse(cls, text: str) -> Self:
        """The inverse of ``str``. ValueError if it is none."""
        precision, _, form = text.partition(".")
        if precision not in get_args(ArtifactPrecision) or form not in get_args(ArtifactFormat):
            raise ValueError(f"{text!r} is not a precision and a format, such as int8.onnx")
        return cls(cast(ArtifactPrecision, precision), cast(ArtifactFormat, form))


def split_names(names: Sequence[str]) -> tuple[str, dict[str, str]]:
    """What the names of a model's files all begin with, or nothing; and by name what each adds, like ``int8.onnx``."""
    parts = len(ArtifactKind._fields)
    by_place = zip(*(name.split(".")[:-parts] for name in names), strict=False)
    same = takewhile(lambda place: 1 < len(place) == place.count(place[0]), by_place)
    shared = ".".join(place[0] for place in same)
    return shared, {name: name.removeprefix(f"{shared}.") for name in names}


@dataclass(frozen=True)
class Artifact:
    """A model file that edgex wrote.

    Attributes:
        path: where it is.
        bytes: its size.
        sha256: of its content, hexadecimal.
    """

    path: Path
    format: ArtifactFormat
    precision: ArtifactPrecision
    bytes: int
    sha256: str
