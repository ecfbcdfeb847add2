"""Matplotlib's SVG, made fit to stand inside a page: in the page's colours and font, and with ids of its own."""

import logging
import re
import warnings
from collections.abc import Callable
from io import BytesIO
from typing import TYPE_CHECKING
from xml.etree import ElementTree as ET

if TYPE_CHECKING:
    from matplotlib.axes import Axes

WIDTH = 400
"""Units of all plots; a column of the page, so that text is of about the same size on a phone."""

POINTS_PER_INCH = 72
"""Also the units per inch of matplotlib's SVG."""

INK, MUTED, ACCENT = "#000001", "#000002", "#000003"
VERDICT_COLOURS = {"pass": "#000011", "fail": "#000012", "inconclusive": "#000013"}
SERIES = ("#000021", "#000022", "#000023", "#000024", "#000025", "#000026")

PAGE_COLOURS = {
    INK: "currentColor",
    MUTED: "var(--muted)",
    ACCENT: "var(--accent)",
    **{colour: f"var(--{verdict})" for verdict, colour in VERDICT_COLOURS.items()},
    **{colour: f"var(--series-{index})" for index, colour in enumerate(SERIES)},
}
"""What is drawn in a colour on the left gets the one on the right, which is another in dark mode."""

STYLE = {
    "axes.edgecolor": MUTED,
    "axes.facecolor": "none",
    "axes.formatter.useoffset": False,
    "axes.labelcolor": INK,
    "axes.spines.right": False,
    "axes.spines.top": False,
    "figure.facecolor": "none",
    "font.size": 12,
    "grid.alpha": 0.3,
    "grid.color": MUTED,
    "svg.fonttype": "none",
    "text.color": INK,
    "text.parse_math": False,  # a $ in a name is a $
    "xtick.color": INK,
    "ytick.color": INK,
}

UNPRINTABLE = re.compile("[^\t\n -~\xa0-\u2029\u202f-\u2065\u206a-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
"""What XML has no place for, and marks that turn the direction of all text behind them."""


def printable(text: str) -> str:
    """Text that a page can show, with the replacement character for what it cannot."""
    return UNPRINTABLE.sub("\ufffd", text)


def draw(key: str, title: str, description: str, height: float, paint: Callable[["Axes"], None]) -> str:
    """An SVG element to stand in HTML. The same for the same picture.

    Args:
        key: of the plot in its page, which makes its ids others than those of all other plots.
        title: for who cannot see it.
        description: of what is to be seen, for the same.
        height: in units, of which it is ``WIDTH`` wide.
        paint: draws, in colours of ``PAGE_COLOURS`` only. Names that it shows must be :func:`printable`.
    """
    # Where it keeps its list of fonts, and that it could not, is nothing to tell the user
    logging.getLogger("matplotlib").setLevel(logging.ERROR)
    from matplotlib import style
    from matplotlib.figure import Figure

    with style.context(["default", {**STYLE, "svg.hashsalt": key}]), warnings.catch_warnings():
        # Browsers have glyphs that the font measured with lacks
        warnings.filterwarnings("ignore", message="Glyph .* missing")
        figure = Figure(figsize=(WIDTH / POINTS_PER_INCH, height / POINTS_PER_INCH), layout="constrained")
        paint(figure.subplots())
        file = BytesIO()
        figure.savefig(file, format="svg", metadata={"Date": None})
    return _for_page(file.getvalue(), key, title, description)


def _for_page(content: bytes, key: str, title: str, description: str) -> str:
    root = ET.fromstring(content)  # noqa: S314 - matplotlib wrote it, and declares no entities
    for parent in root.iter():
        for child in list(parent):
            if _local(child.tag) in ("metadata", "style"):  # whose rules would hold for the whole page
                parent.remove(child)
    values = [value for element in root.iter() for value in element.attrib.values()]
    referred = {found for value in values for pair in re.findall(r"^#(\w+)$|url\(#(\w+)\)", value) for found in pair}
    for element in root.iter():
        element.tag = _local(element.tag)
        kept = {name: value for name, value in element.attrib.items() if name != "id" or value in referred}
        element.attrib = {_local(name): _themed(value) for name, value in kept.items()}
    labels = {f"{key}-title": ("title", title), f"{key}-description": ("desc", description)}
    root.attrib = {"viewBox": root.attrib["viewBox"], "role": "img", "aria-labelledby": " ".join(labels)}
    for place, (name, (tag, text)) in enumerate(labels.items()):
        label = ET.Element(tag, {"id": name})
        label.text = printable(text)
        root.insert(place, label)
    return ET.tostring(root, encoding="unicode")


def _themed(value: str) -> str:
    return re.sub("#[0-9a-f]{6}(?![0-9a-f])", lambda found: PAGE_COLOURS.get(found.group(), found.group()), value)


def _local(name: str) -> str:
    """A name without its namespace, of which HTML needs none."""
    return name.rpartition("}")[2]
