"""A comparison as a picture: parameters, multiply-accumulates and sizes; latency in each runtime; what INT8 costs."""

import html
import logging
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING

from edgex.compare.records import ComparedModel, CompareReport
from edgex.errors import UsageError
from edgex.records import ArtifactKind

if TYPE_CHECKING:
    from matplotlib.axes import Axes

FORMATS = (".svg", ".html", ".png")

COLOURS = ("#0550ae", "#a04100", "#116329", "#8250df", "#99286e", "#57606a")
"""Of the models, which are told apart by the legend's order as well."""

INK = "#1f2328"
"""Of whiskers."""

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


@dataclass(frozen=True)
class _Bar:
    """A value with a whisker from ``low`` to ``high``, and what is written beside it."""

    value: float
    low: float
    high: float
    text: str


Groups = Mapping[str, Sequence[_Bar | str]]
"""By name bars of the models, in their order; in place of one that there is not, why."""


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

    counts, panels, models = _counts(report), _panels(report), len(report.models)
    heights = [0.5 + BAR * models, *(0.6 + BAR * (models + 1) * len(groups) for groups in panels.values())]
    with style.context(["default", STYLE]), warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Glyph .* missing")
        figure = Figure(figsize=(WIDTH, sum(heights) + 0.3 + 0.2 * models), layout="constrained")
        grid = figure.add_gridspec(len(heights), len(counts), height_ratios=heights)
        for place, (title, values) in enumerate(counts):
            _paint_counts(figure.add_subplot(grid[0, place]), title, values)
        for row, (title, groups) in enumerate(panels.items(), start=1):
            _paint_groups(figure.add_subplot(grid[row, :]), title, groups)
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


def _panels(report: CompareReport) -> dict[str, Groups]:
    """Below the counts, by title: latencies and what INT8 costs, each where it was measured."""
    latencies = {lane: [_latency(model, lane) for model in report.models] for lane in report.lanes}
    kinds = dict.fromkeys(each.kind for model in report.models for each in model.int8 if each.cost is not None)
    costs = {str(kind): [_cost(model, kind) for model in report.models] for kind in kinds}
    panels = {
        "median latency at batch 1, ms, with its 95 % interval": latencies,
        f"points of {report.measure} lost by INT8 on {report.images:,} images, up to the 95 % bound": costs,
    }
    return {title: groups for title, groups in panels.items() if groups}


def _latency(model: ComparedModel, lane: str) -> _Bar | str:
    for each in model.latencies:
        if each.lane == lane:
            result = each.result
            return _Bar(result.median_ms, result.interval.low, result.interval.high, f"{result.median_ms:.3g}")
    return "not timed"


def _cost(model: ComparedModel, kind: ArtifactKind) -> _Bar | str:
    for each in model.int8:
        if each.kind == kind and each.cost is not None:
            drop = each.cost.drop
            return _Bar(drop.points, drop.points, drop.high if each.bounded else drop.points, each.lost)
    return "untrained" if model.fresh else "not measured"


def _paint_counts(axes: "Axes", title: str, values: Sequence[float | None]) -> None:
    """A bar for each model, from the top down, with its value."""
    for place, value in enumerate(values):
        if value is not None:
            _draw(axes, place, value, place, height=0.75)
            _write(axes, f"{value:.3g}", value, place)
    axes.set_title(title)
    axes.set_ylim(len(values) - 0.4, -0.6)
    axes.set_yticks([])
    axes.margins(x=0.3)
    axes.set_xlim(left=0)
    axes.set_xticks([])


def _paint_groups(axes: "Axes", title: str, groups: Groups) -> None:
    """Groups of bars with whiskers from the top down, in each a bar for each model."""
    for group, bars in enumerate(groups.values()):
        for place, bar in enumerate(bars):
            y = group * (len(bars) + 1) + place
            if isinstance(bar, str):
                _write(axes, bar, 0, y)
                continue
            _draw(axes, y, bar.value, place, height=0.85)
            axes.hlines(y, bar.low, bar.high, color=INK, linewidth=1.2)
            _write(axes, bar.text, max(bar.high, bar.value, 0), y)
    models = max(map(len, groups.values()))
    axes.set_yticks([group * (models + 1) + (models - 1) / 2 for group in range(len(groups))], list(groups))
    axes.set_ylim(len(groups) * (models + 1) - 1.4, -0.6)
    axes.axvline(0, color=INK, linewidth=0.8)
    axes.margins(x=0.1)
    if all(isinstance(bar, str) or min(bar.value, bar.low) >= 0 for bars in groups.values() for bar in bars):
        axes.set_xlim(left=0)
    axes.set_title(title)
    axes.grid(visible=True, axis="x", alpha=0.3)
    axes.set_axisbelow(True)


def _draw(axes: "Axes", y: float, value: float, model: int, height: float) -> None:
    """A bar of a model; its edge shows its colour where the value is next to nothing."""
    axes.barh(y, value, color=_colour(model), edgecolor=_colour(model), linewidth=1.5, height=height)


def _write(axes: "Axes", text: str, x: float, y: float) -> None:
    """Beside a bar that ends at ``x``. Spaces would not keep the distance: browsers drop those at the ends."""
    axes.annotate(text, (x, y), xytext=(4, 0), textcoords="offset points", va="center")


def _colour(place: int) -> str:
    return COLOURS[place % len(COLOURS)]


def _shortened(name: str) -> str:
    """A name that fits, without what cannot be drawn; of a long one its end, which tells files apart."""
    name = "".join(sign if sign.isprintable() else "\ufffd" for sign in name)
    return name if len(name) <= LONGEST_NAME else f"…{name[1 - LONGEST_NAME :]}"
