"""JSON and TOML that edgex or its user wrote, and that anyone may have changed since.

Whatever is wrong with such a file is one ValueError here: its size, its nesting, numbers that are none.
"""

import json
import math
import stat
import tomllib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

MOST_BYTES = 128 << 20
"""Of a document; the hashes of the 1.3 million training images of ImageNet take 90 MB."""

MOST_CONTAINERS = 2_000_000
"""Lists and objects in a document, which take up to fifty times the memory of their text."""

DEEPEST = 100
"""Containers inside each other; far from where Python gives up, whatever walks through them."""

MOST_DIGITS = 100
"""Of an integer, which then becomes a float without overflow, also after some arithmetic."""


def read_text(file: Path, most: int = MOST_BYTES) -> str:
    """The text of a file of ``most`` bytes at most.

    Raises:
        OSError: it cannot be read.
        ValueError: it is larger, no regular file, or not in UTF-8.
    """
    if not stat.S_ISREG(file.stat().st_mode):
        raise ValueError("it is no regular file")
    with file.open("rb") as stream:
        content = stream.read(most + 1)
    if len(content) > most:
        raise ValueError(f"it has more than {most >> 20} MiB")
    return content.decode()


def read_json(file: Path) -> dict[str, Any]:
    """The JSON object in a file. OSError if it cannot be read, ValueError as of :func:`parse_json`."""
    return parse_json(read_text(file))


def parse_json(text: str) -> dict[str, Any]:
    """A JSON object.

    Raises:
        ValueError: it is none, too large or nested too deeply, or holds NaN, an infinite number, or an integer of more
            than :data:`MOST_DIGITS` digits.
    """

    def parse(text: str) -> Any:
        return json.loads(text, parse_constant=_finite, parse_float=_finite, parse_int=_integer)

    document: object = _bounded(parse, text)
    if not isinstance(document, dict):
        raise ValueError("it is no JSON object")
    return document


def parse_toml(text: str) -> dict[str, Any]:
    """The content of a TOML file. ValueError if it is none, too large or nested too deeply."""
    document: dict[str, Any] = _bounded(tomllib.loads, text)
    return document


def _bounded(parse: Callable[[str], Any], text: str) -> Any:
    if len(text) > MOST_BYTES or text.count("[") + text.count("{") > MOST_CONTAINERS:
        raise ValueError("it is too large")
    try:
        document = parse(text)
    except RecursionError:
        raise ValueError("it is nested too deeply") from None
    for depth, _ in enumerate(_levels(document)):
        if depth > DEEPEST:
            raise ValueError("it is nested too deeply")
    return document


def _levels(document: Any) -> Iterator[list[Any]]:
    """The values that lie equally deep, from the outside in."""
    level = [document]
    while level:
        yield level
        level = [inner for value in level for inner in _inside(value)]


def _inside(value: Any) -> list[Any]:
    if isinstance(value, dict):
        return list(value.values())
    return value if isinstance(value, list) else []


def _finite(text: str) -> float:
    value = float(text)
    if not math.isfinite(value):
        raise ValueError(f"it holds {text}, which is no measurement")
    return value


def _integer(text: str) -> int:
    if len(text) > MOST_DIGITS:
        raise ValueError(f"it holds an integer of {len(text)} digits")
    return int(text)
