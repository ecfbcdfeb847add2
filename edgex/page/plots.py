"""The plots of the page, each an SVG element."""

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, NamedTuple

from edgex.comparison import ClassComparison, Drop
from edgex.gate import Verdict
from edgex.page.svg import ACCENT, INK, MUTED, SERIES, VERDICT_COLOURS, draw, printable
from edgex.report import FileFacts, Latency, LayerError, LayerSensitivity

if TYPE_CHECKING:
    from matplotlib.axes import Axes

MOST_ROWS = 20
"""Of a plot with names down its side."""

LONGEST_NAME = 20
"""Characters of a name beside a plot; the middle of longer ones is left out."""

MARKERS = "osD^vP"

Bounds = tuple[float, float, float]
"""Low, middle and high."""


Named = tuple[str, str]
"""What a figure is called on an axis, and in a title."""


class Share(NamedTuple):
    """A fraction, and its 95 % interval."""

    value: float
    interval: tuple[float, float]


def drop_plot(drops: Sequence[tuple[str, Verdict, Drop]], limit: float, of: Named) -> str:
    """The drop of each artifact with its bounds, beside the limit and in the colour of the verdict on it."""
    rows = [(name, (drop.low, drop.points, drop.high)) for name, _, drop in drops]
    colours = [VERDICT_COLOURS[verdict] for _, verdict, _ in drops]

    def paint(axes: "Axes") -> None:
        _intervals(axes, rows, colours, limit)
        axes.set_xlabel(f"{of[0]} drop, points")

    told = _told(rows)
    return draw("drop", f"Drop of {of[1]} of each artifact", f"{told} {limit:g} allowed.", _height(rows), paint)


def class_plot(key: str, classes: Sequence[ClassComparison], limit: float | None) -> str:
    """The drop of each class with its bounds. All must have images."""
    rows = [
        (each.name, (100 * paired.lower_bound(), 100 * paired.drop, 100 * paired.upper_bound()))
        for each in classes
        if (paired := each.paired)
    ]
    return rows_plot(key, "Drop of accuracy by class", rows, limit)


def rows_plot(key: str, title: str, rows: Sequence[tuple[str, Bounds]], limit: float | None) -> str:
    """Drops in points with their bounds, by name; coloured where they keep clear of 0."""
    colours = [MUTED if low <= 0 <= high else ACCENT for _, (low, _, high) in rows]

    def paint(axes: "Axes") -> None:
        _intervals(axes, rows, colours, limit)
        axes.set_xlabel("drop, points")

    return draw(key, title, _told(rows), _height(rows), paint)


def trade_off_plot(files: Sequence[tuple[FileFacts, Latency, Share]], names: Mapping[str, str], of: Named) -> str:
    """Accuracy against latency with 95 % intervals; a marker's area is the file's size."""
    largest = max(file.bytes for file, _, _ in files)
    points = [(latency.median_ms, 100 * share.value) for _, latency, share in files]
    # A label that begins with an underscore would not be shown, so the size comes first
    labels = [f"{file.bytes / 1e6:.3g} MB  {shortened(names[file.name])}" for file, _, _ in files]
    columns = 2 if max(map(len, labels)) <= LONGEST_NAME else 1
    height = 290 + 20 * len(files) / columns
    told = [
        f"{names[file.name]}: {100 * share.value:.2f} % at {latency.median_ms:.3g} ms" for file, latency, share in files
    ]

    def paint(axes: "Axes") -> None:
        from matplotlib.lines import Line2D

        front = pareto_front(points)
        axes.step([x for x, _ in front], [y for _, y in front], where="post", color=MUTED, linestyle=":", zorder=1)
        handles = []
        for index, ((file, latency, share), (x, y)) in enumerate(zip(files, points, strict=True)):
            colour, marker = SERIES[index % len(SERIES)], MARKERS[index % len(MARKERS)]
            low, high = (100 * end for end in share.interval)
            axes.hlines(y, latency.low_ms, latency.high_ms, color=colour)
            axes.vlines(x, low, high, color=colour)
            axes.scatter(x, y, s=300 * file.bytes / largest, color=colour, marker=marker, alpha=0.75, linewidths=0)
            handles.append(Line2D([], [], color=colour, marker=marker, linestyle="none", label=labels[index]))
        axes.set_xlim(left=0)
        axes.grid(visible=True)
        axes.set_xlabel("median latency, ms")
        axes.set_ylabel(f"{of[0]}, %")
        axes.figure.legend(handles=handles, loc="outside lower center", ncols=columns, frameon=False, fontsize=11)

    return draw("tradeoff", f"{of[1]} against latency of each file", _sentence(told), height, paint)


def pareto_front(points: Sequence[tuple[float, float]]) -> list[tuple[float, float]]:
    """Points (latency, accuracy) than which none is both faster and better, by latency."""
    front: list[tuple[float, float]] = []
    for point in sorted(points, key=lambda point: (point[0], -point[1])):
        if not front or point[1] > front[-1][1]:
            front.append(point)
    return front


def layer_plot(errors: Sequence[LayerError]) -> str:
    """Signal-to-noise ratio from layer to layer, in the order of the network."""
    worst = min(range(len(errors)), key=lambda index: errors[index].snr_db)

    def paint(axes: "Axes") -> None:
        places = range(1, len(errors) + 1)
        axes.plot(places, [each.snr_db for each in errors], color=ACCENT, marker=".", linewidth=1)
        axes.annotate(
            f"{shortened(errors[worst].layer)}, {errors[worst].snr_db:.1f} dB",
            (places[worst], errors[worst].snr_db),
            xytext=(0, -16),
            textcoords="offset points",
            ha="left" if worst < len(errors) / 2 else "right",
        )
        axes.margins(y=0.2)
        axes.grid(visible=True, axis="y")
        axes.set_xlabel("layer, from input to output")
        axes.set_ylabel("signal-to-noise, dB")

    told = f"From {errors[0].snr_db:.1f} dB at {errors[0].layer} to {errors[-1].snr_db:.1f} dB at {errors[-1].layer}."
    return draw("layers", "Signal-to-noise ratio of each layer's output", told, 260, paint)


def sensitivity_plot(rows: Sequence[tuple[LayerSensitivity, float]]) -> str:
    """What each layer's quantization alone adds to the noise of the logits, in percent of the signal."""

    def paint(axes: "Axes") -> None:
        axes.barh(range(len(rows)), [noise for _, noise in rows], color=ACCENT, height=0.7)
        _name_rows(axes, [each.layer for each, _ in rows])
        axes.set_xlabel("noise of the logits, % of the signal")

    told = _sentence(f"{each.layer}: {noise:.2g} %" for each, noise in rows)
    return draw("sensitivity", "Noise that each layer's quantization alone costs", told, _height(rows), paint)


def shortened(name: str) -> str:
    """A name that fits beside a plot."""
    name = printable(" ".join(name.split()))
    half = LONGEST_NAME // 2
    return name if len(name) <= LONGEST_NAME else f"{name[:half]}…{name[1 - half :]}"


def _intervals(axes: "Axes", rows: Sequence[tuple[str, Bounds]], colours: Sequence[str], limit: float | None) -> None:
    """A dot with its bounds for each row, from the top down, and lines at 0 and at the limit."""
    axes.axvline(0, color=MUTED, linewidth=1)
    if limit is not None:
        axes.axvline(limit, color=INK, linewidth=1, linestyle="--")
        place = axes.get_xaxis_transform()
        axes.text(limit, 1.0, f"{limit:g} allowed", transform=place, ha="center", va="bottom", fontsize=11)
    for place_of_row, ((_, (low, middle, high)), colour) in enumerate(zip(rows, colours, strict=True)):
        axes.hlines(place_of_row, low, high, color=colour, linewidth=2)
        axes.plot(middle, place_of_row, "o", color=colour)
    _name_rows(axes, [name for name, _ in rows])


def _name_rows(axes: "Axes", names: Sequence[str]) -> None:
    axes.set_yticks(range(len(names)), [shortened(name) for name in names])
    axes.set_ylim(len(names) - 0.4, -0.6)
    axes.tick_params(axis="y", length=0)
    axes.grid(visible=True, axis="x")


def _height(rows: Sequence[object]) -> float:
    return 70 + 22 * len(rows)


def _told(rows: Sequence[tuple[str, Bounds]]) -> str:
    return _sentence(f"{name}: {middle:.2f} points, {low:.2f} to {high:.2f}" for name, (low, middle, high) in rows)


def _sentence(parts: Iterable[str]) -> str:
    return f"{'; '.join(parts)}."
