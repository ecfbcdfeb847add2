"""What a benchmark hands back, and how it is printed."""

import json
import platform
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from importlib.metadata import version
from statistics import median
from typing import Any, Literal

from edgex.runtime import physical_cores

Cell = str | int | float | None

LIBRARIES = ("edgex", "onnxruntime", "ai-edge-litert", "tensorflow")

SMALL = 0.005
"""Below it two decimals show nothing."""


@dataclass(frozen=True)
class Figure:
    """One measure against what it must reach.

    Attributes:
        value: the figure.
        limit: that it must not exceed.
        low: lower end of its spread or interval, where it has one.
        high: the upper end.
        judged: which of them the limit is for.
    """

    measure: str
    value: float
    limit: float
    unit: Literal["×", "points", "images", "layers", "s", "%"]
    low: float | None = None
    high: float | None = None
    judged: Literal["value", "low"] = "value"

    @property
    def reached(self) -> bool:
        judged = self.low if self.judged == "low" else self.value
        return judged is not None and judged <= self.limit


@dataclass(frozen=True)
class Table:
    """Figures without a limit; numbers are rounded when they are printed, not before."""

    columns: tuple[str, ...]
    rows: tuple[tuple[Cell, ...], ...]


@dataclass(frozen=True)
class Section:
    """The result of one benchmark: its figures, the table behind them, and what could not be measured."""

    name: str
    figures: tuple[Figure, ...] = ()
    table: Table | None = None
    missing: tuple[str, ...] = ()


def interleave(rounds: int, *contestants: Callable[[], float]) -> list[list[float]]:
    """Let contestants take turns, A B B A A B …; returns what each measured, round by round."""
    measured: list[list[float]] = [[] for _ in contestants]
    for number in range(rounds):
        for index in range(len(contestants))[:: -1 if number % 2 else 1]:
            measured[index].append(contestants[index]())
    return measured


def ratio(measure: str, pairs: Sequence[Sequence[float]], limit: float) -> Figure:
    """Median, smallest and largest of the ratios of each round: its halves are neighbours and share its conditions."""
    ours, theirs = pairs
    ratios = [a / b for a, b in zip(ours, theirs, strict=True)]
    return Figure(measure, median(ratios), limit, "×", min(ratios), max(ratios))


def markdown(section: Section) -> str:
    """A section as headed Markdown tables."""
    parts = [f"## {section.name}"]
    if section.figures:
        rows = [
            (
                figure.measure,
                _with_unit(figure.value, figure.unit),
                "" if figure.low is None else f"{_cell(figure.low)} … {_cell(figure.high)}",
                f"{'lower end ' if figure.judged == 'low' else ''}≤ {_with_unit(figure.limit, figure.unit)}",
                "PASS" if figure.reached else "MISS",
            )
            for figure in section.figures
        ]
        parts.append(_table(("measure", "figure", "range", "reach", ""), rows))
    if section.table:
        parts.append(_table(section.table.columns, section.table.rows))
    parts += [f"Not measured: {sentence}" for sentence in section.missing]
    return "\n\n".join(parts)


def heading() -> str:
    """What was measured on what."""
    machine = _machine()
    versions = ", ".join(f"{name} {number}" for name, number in machine["versions"].items())
    return f"{machine['cores']} cores, {machine['architecture']}, {machine['system']}; {versions}"


def document(sections: Sequence[Section]) -> str:
    """All sections as one JSON document."""
    benchmarks = [
        {**asdict(section), "figures": [{**asdict(figure), "reached": figure.reached} for figure in section.figures]}
        for section in sections
    ]
    return json.dumps({"schema": "edgex.benchmarks/1", "machine": _machine(), "benchmarks": benchmarks}, indent=2)


def _machine() -> dict[str, Any]:
    return {
        "cores": physical_cores(),
        "architecture": platform.machine(),
        "system": platform.system(),
        "versions": {"python": platform.python_version(), **{name: version(name) for name in LIBRARIES}},
    }


def _table(columns: Sequence[str], rows: Sequence[Sequence[Cell]]) -> str:
    lines = [columns, ["---"] * len(columns), *([_cell(cell) for cell in row] for row in rows)]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _cell(cell: Cell) -> str:
    if isinstance(cell, float):
        return _rounded(cell)
    return "" if cell is None else str(cell)


def _with_unit(value: float, unit: str) -> str:
    return f"{value:.0f} images" if unit == "images" else f"{_rounded(value)}{unit if unit == '×' else f' {unit}'}"


def _rounded(value: float) -> str:
    return f"{value:.1e}" if 0 < abs(value) < SMALL else f"{value:.2f}"
