"""A comparison as a picture: latency in each runtime; parameters, multiply-accumulates and sizes."""

import html
import logging
import warnings
from collections.abc import Sequence
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING

from edgex.compare.records import CompareReport
from edgex.errors import UsageError

if TYPE_CHECKING:
    from matplotlib.axes import Axes

FORMATS = (".svg", ".html", ".png")

COLOURS = ("#0550ae", "#a04100", "#116329", "#8250df", "#99286e", "#57606a")
"""Of the models, which are told apart by the legend's order as well."""

STYLE = {
    "axes.spines.right": False,
    "axes.spines.top": False,
    "axes.titlelocation": "left",
    "axes.titlesize": 10,
    "font.size": 9,
    "svg.fonttype": "none",
    "svg.hashsalt": "edgex",
    "text.parse_math": False,  # a $ in a name is a $
    "ytick.left": False,
}

WIDTH = 8.0
"""Inches."""

BAR = 0.21
"""Inches of height of each bar."""

LONGEST_NAME = 40

PAGE = """<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{title}</title>
<style>body {{ margin: 1rem auto; max-width: 60rem; background: #fff }} svg {{ width: 100%; height: auto }}</style>
</head>
<body>
{svg}
</body>
</html>
"""


def check_chart(file: Path) -> None:
    """UsageError if no chart can be written to a file of this name."""
    if file.suffix.lower() not in FORMATS:
        raise UsageError(f"{file} is no name for a chart.", fix=f"Let it end in {', '.join(FORMATS)}.")


def write_chart(report: CompareReport, file: Path) -> None:
    """Draw a comparison. The same bytes for the same report.

    Raises:
        UsageError: the file's suffix is none of ``FORMATS``. OSError: the disk refuses.
    """
    check_chart(file)
    form = file.suffix.lower()
    content = _drawn(report, "png" if form == ".png" else "svg")
    if form == ".html":
        svg = content.decode()
        names = " and ".join(model.name for model in report.models)
        content = PAGE.format(title=html.escape(names), svg=svg[svg.index("<svg") :]).encode()
    file.write_bytes(content)


def _drawn(report: CompareReport, form: str) -> bytes:
    # Where it keeps its list of fonts, and that it could not, is nothing to tell the user
    logging.getLogger("matplotlib").setLevel(logging.ERROR)
    from matplotlib import style
    from matplotlib.figure import Figure
    from matplotlib.patches import Patch

    counts, lanes, models = _counts(report), report.lanes, len(report.models)
    heights = [0.5 + BAR * models] + ([0.6 + BAR * (models + 1) * len(lanes)] if lanes else [])
    with style.context(["default", STYLE]), warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Glyph .* missing")
        figure = Figure(figsize=(WIDTH, sum(heights) + 0.3 + 0.2 * models), layout="constrained")
        grid = figure.add_gridspec(len(heights), len(counts), height_ratios=heights)
        for place, (title, values) in enumerate(counts):
            _paint_counts(figure.add_subplot(grid[0, place]), title, values)
        if lanes:
            _paint_latencies(figure.add_subplot(grid[1, :]), report)
        names = [_shortened(model.name) for model in report.models]
        handles = [Patch(color=_colour(place), label=name) for place, name in enumerate(names)]
        figure.legend(handles=handles, loc="outside upper left", ncols=1, frameon=False)
        file = BytesIO()
        figure.savefig(file, format=form, dpi=150, metadata={"Date": None} if form == "svg" else None)
    return file.getvalue()


def _counts(report: CompareReport) -> list[tuple[str, list[float | None]]]:
    """Titles, and a value for each model; None where there is none."""
    counted = [model.inspection for model in report.models]
    counts: list[tuple[str, list[float | None]]] = [
        ("parameters, M", [each.parameters / 1e6 for each in counted]),
        ("GMAC an image", [each.macs / 1e9 for each in counted]),
        ("float32, MB", [each.bytes / 1e6 for each in counted]),
    ]
    if any(model.int8 for model in report.models):
        sizes = [model.int8[0].bytes / 1e6 if model.int8 else None for model in report.models]
        counts.append((f"{next(model.int8[0].kind for model in report.models if model.int8)}, MB", sizes))
    return counts


def _paint_counts(axes: "Axes", title: str, values: Sequence[float | None]) -> None:
    """A bar for each model, from the top down, with its value."""
    for place, value in enumerate(values):
        if value is not None:
            axes.barh(place, value, color=_colour(place), height=0.75)
            axes.annotate(f" {value:.3g}", (value, place), va="center")
    axes.set_title(title)
    axes.set_ylim(len(values) - 0.4, -0.6)
    axes.set_yticks([])
    axes.margins(x=0.3)
    axes.set_xlim(left=0)
    axes.set_xticks([])


def _paint_latencies(axes: "Axes", report: CompareReport) -> None:
    """For each kind of file in each runtime a group of bars, one a model, with the 95 % intervals of the medians."""
    step = len(report.models) + 1
    for group, lane in enumerate(report.lanes):
        for place, model in enumerate(report.models):
            for latency in (each for each in model.latencies if each.lane == lane):
                result, y = latency.result, group * step + place
                axes.barh(y, result.median_ms, color=_colour(place), height=0.85)
                axes.hlines(y, result.interval.low, result.interval.high, color="#1f2328", linewidth=1.2)
                axes.annotate(
                    f"  {result.median_ms:.3g}", (max(result.interval.high, result.median_ms), y), va="center"
                )
    middle = (len(report.models) - 1) / 2
    axes.set_yticks([group * step + middle for group in range(len(report.lanes))], report.lanes)
    axes.set_ylim(len(report.lanes) * step - 1.4, -0.6)
    axes.set_xlim(left=0)
    axes.margins(x=0.1)
    axes.set_title("median latency at batch 1, ms, with its 95 % interval")
    axes.grid(visible=True, axis="x", alpha=0.3)
    axes.set_axisbelow(True)


def _colour(place: int) -> str:
    return COLOURS[place % len(COLOURS)]


def _shortened(name: str) -> str:
    """A name that fits, without what cannot be drawn; of a long one its end, which tells files apart."""
    name = "".join(sign if sign.isprintable() else "\ufffd" for sign in name)
    return name if len(name) <= LONGEST_NAME else f"…{name[1 - LONGEST_NAME :]}"
