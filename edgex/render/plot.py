"""Latencies as a picture in the terminal: a histogram for each file on one logarithmic axis, or bars from zero."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from edgex.render.text import milliseconds

if TYPE_CHECKING:
    from edgex.bench import BenchResult

BARS = " ▁▂▃▄▅▆▇█"
COLUMNS = 60
FEWEST_COLUMNS = 12
"""For which a bar is drawn."""
EIGHTHS = 8
PARTS = ("", "▏", "▎", "▍", "▌", "▋", "▊", "▉")
"""The end of a bar, by eighths of a column."""
SHOWN = (0.5, 98)
"""Percentiles of the slowest and fastest file between which the axis lies; the few runs beyond it are left out."""


def latency_plot(results: Sequence["BenchResult"], labels: Sequence[str]) -> str:
    """Lines of text, one for each result and one for the axis. A distance is a ratio wherever it lies."""
    samples = [result.samples for result in results]
    low = min(np.percentile(each, SHOWN[0]) for each in samples)
    high = max(np.percentile(each, SHOWN[1]) for each in samples)
    edges = np.geomspace(low, max(high, low * 1.01), COLUMNS + 1)
    width = max(map(len, labels))
    lines = [f"{label:<{width}} {_bars(each, edges)}" for label, each in zip(labels, samples, strict=True)]
    left, right = (f"{milliseconds(edge)} ms" for edge in (edges[0], edges[-1]))
    axis = f"{left}{right:>{COLUMNS - len(left)}}"
    return "\n".join([*lines, " " * (width + 1) + axis])


def _bars(samples: NDArray[np.float64], edges: NDArray[np.float64]) -> str:
    counts, _ = np.histogram(samples, edges)
    # Whatever was measured shows, be it one run in thousands
    levels = np.ceil(counts / max(counts.max(), 1) * (len(BARS) - 1)).astype(int)
    return "".join(BARS[level] for level in levels)


def bars(labels: Sequence[str], values: Sequence[float], unit: str, width: int) -> str:
    """Lines of text with a bar each, from zero; nothing where ``width`` columns are too few for that."""
    shown = [f"{milliseconds(value)} {unit}" for value in values]
    space = width - max(map(len, labels), default=0) - max(map(len, shown), default=0) - 2
    if space < FEWEST_COLUMNS or not values:
        return ""
    scale = min(space, COLUMNS) * EIGHTHS / max(values)
    wide = max(map(len, labels))
    lines = (
        f"{label:<{wide}} {_bar(value * scale)} {text}"
        for label, value, text in zip(labels, values, shown, strict=True)
    )
    return "\n".join(lines)


def _bar(eighths: float) -> str:
    whole, rest = divmod(round(eighths), EIGHTHS)
    return "█" * whole + PARTS[rest]
