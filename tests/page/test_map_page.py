"""The page on networks that label pixels shows what the report says, and asks for nothing."""

import base64
import io
import re
from dataclasses import replace
from html.parser import HTMLParser

import map_reports as made
import numpy as np
import pytest
from PIL import Image
from reports import FLOAT, INT8
from shapes import CLASSES, VOID

from edgex.gate import Limits, judge
from edgex.page import map_report_page
from edgex.page.map_gallery import SIDE, class_colour, map_uri
from edgex.page.words import advice
from edgex.report import LayerError
from edgex.segmentation.predictions import Kept, MapPredictions


def page_of(found: MapPredictions, limits: Limits | None = None, **changes: object) -> str:
    report = made.report(found, **changes)
    images = {name: np.full((10, 30, 3), 40 * row % 255, np.uint8) for row, name in enumerate(found.about.names)}
    return map_report_page(report, judge(report, limits or Limits()), found, images.get)


@pytest.fixture(scope="module")
def page() -> str:
    return page_of(made.outcome(40, 0.02), layer_errors=(LayerError(layer="conv", snr_db=20.0),))


class Structure(HTMLParser):
    """Open elements are closed in order; ids are single."""

    EMPTY = ("meta", "img", "link", "br", "path", "use", "image", "line", "circle", "rect")

    def __init__(self, page: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.ids: list[str] = []
        self.sources: list[str] = []
        self.feed(page)
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        named = dict(attrs)
        self.ids += [named["id"] or ""] if "id" in named else []
        self.sources += [named["src"] or ""] if "src" in named else []
        if tag not in self.EMPTY:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        if tag not in self.EMPTY:
            assert self.open.pop() == tag


def test_structure(page: str) -> None:
    found = Structure(page)
    assert len(set(found.ids)) == len(found.ids)
    assert "<script" not in page
    assert found.sources
    assert all(source.startswith("data:image/") for source in found.sources)
    for heading in ("files", "trade-off", "classes", "maps", "layers", "provenance"):
        assert heading in found.ids


def test_figures_are_those_of_the_report(page: str) -> None:
    report = made.report(made.outcome(40, 0.02))
    (artifact,) = report.artifacts
    for share in (report.baseline.miou, artifact.miou, artifact.pixel_accuracy, artifact.comparison.agreement):
        assert f"{100 * share:.2f}" in page
    drop = artifact.comparison.drop
    assert f"{drop.low:.2f} to {drop.high:.2f}" in page
    assert "Mean IoU against latency" in page
    for name, share in zip(CLASSES, report.baseline.class_iou, strict=True):
        assert share is not None
        assert re.search(
            rf"<bdi>{name}</bdi></th><td class=\"number\">[\d,]+</td>\s*<td class=\"number\">{100 * share:.2f}", page
        )


def test_the_legend_has_the_colours_of_the_maps(page: str) -> None:
    found = made.outcome(40, 0.02)
    legend = page[page.index('<ul class="legend">') :]
    colours = dict(re.findall(r'background: (#\w+)"></span><bdi>(\w+)', legend)[: len(CLASSES)])
    assert list(colours.values()) == list(CLASSES)
    assert len(colours) == len(CLASSES)
    uri = map_uri(found.kept.truth[0])
    image = Image.open(io.BytesIO(base64.b64decode(uri.partition(",")[2]))).convert("RGB")
    there = {"#{:02x}{:02x}{:02x}".format(*colour) for _, colour in image.getcolors()}
    expected = {colour for colour, name in colours.items() if CLASSES.index(name) in found.kept.truth[0]}
    assert expected <= there
    assert there <= expected | {"#e0e0c0"}
    assert VOID in found.kept.truth[0]
    assert uri in page


def test_colours_are_those_of_pascal_voc() -> None:
    assert [class_colour(index) for index in (0, 1, 2, 3, 8, 20)] == [
        (0, 0, 0),
        (128, 0, 0),
        (0, 128, 0),
        (128, 128, 0),
        (64, 0, 0),
        (0, 64, 128),
    ]
    assert len({class_colour(index) for index in range(255)}) == 255


def test_images_that_changed_most_come_first(page: str) -> None:
    found = made.outcome(40, 0.02)
    changed = found.changed(INT8)[found.kept.rows]
    shown = re.findall(r"<bdi>(\d+)\.png</bdi>: ([\d.]+) % of the pixels", page)
    assert [int(row) for row, _ in shown] == [
        int(found.kept.rows[place]) for place in np.argsort(-changed, kind="stable")
    ]
    assert [float(share) for _, share in shown] == sorted((float(share) for _, share in shown), reverse=True)
    assert "of 40 images changed anywhere; the 3 that changed most" in page


def test_nothing_changed_and_nothing_timed() -> None:
    page = page_of(made.outcome(40, 0.0), noisy=None)
    assert "None: it says the same as the float model of every pixel." in page
    assert "Pass: the quantized file may ship" in page
    assert "Latency was not measured." in page


def test_names_that_try_something() -> None:
    masks = made.truth(40)
    before = made.said(masks, 0.1, seed=1)
    of = {FLOAT: before, INT8: made.quantized(before, 0.05)}
    page = page_of(made.predictions(masks, of, names=lambda row: f"<script>alert({row})</script>\x1b.png"))
    assert "<script" not in page
    assert "\x1b" not in page
    Structure(page)


def test_images_that_cannot_be_read() -> None:
    found = made.outcome(40, 0.02)
    report = made.report(found)
    page = map_report_page(report, judge(report, Limits()), found, lambda _: None)
    assert page.count("image cannot be read") == 3


def test_images_are_shown_as_the_model_sees_them() -> None:
    """Stretched, as the maps beside them are of stretched images."""
    page = page_of(made.outcome(40, 0.02), settings={"preprocessing": {"size": [24, 24], "channels": 3}})
    uri = next(source for source in Structure(page).sources if source.startswith("data:image/jpeg"))
    assert Image.open(io.BytesIO(base64.b64decode(uri.partition(",")[2]))).size == (SIDE, SIDE)


def test_maps_that_were_too_large_to_keep() -> None:
    found = made.outcome(40, 0.02)
    none = Kept(found.kept.rows[:0], found.kept.truth[:0], found.kept.maps[:, :0])
    page = page_of(replace(found, kept=none))
    assert "images changed anywhere; their maps are too large to be kept." in page
    assert "of every pixel." not in page


def test_classes_that_are_not_there_are_none_that_are_left_out() -> None:
    masks = made.truth(40)
    masks[masks == 3] = 0
    before = made.said(masks, 0.1, seed=1)
    page = page_of(made.predictions(masks, {FLOAT: before, INT8: made.quantized(before, 0.02)}))
    assert "classes that drop most" not in page


def advised(found: MapPredictions, limits: Limits, **changes: object) -> str:
    report = made.report(found, **changes)
    (judgement,) = judge(report, limits).results
    return " ".join(advice(judgement))


def test_advice_is_what_a_segmenter_can_follow() -> None:
    bad = advised(made.outcome(40, 0.5), Limits())
    assert "edgex sensitivity" in bad
    assert "more images of the kind" in bad
    slow = advised(made.outcome(40, 0.0), Limits(max_latency_ms=1))
    assert "edgex bench" in slow


def test_advice_says_what_the_images_are_of() -> None:
    doubtful = made.outcome(120, 0.02)
    comparison = made.report(doubtful).comparisons[INT8]
    worst = max((each.drop for each in comparison.classes if each.drop), key=lambda drop: drop.upper())
    limits = Limits(max_drop=100, max_class_drop=(worst.value + worst.upper()) / 2)
    assert "new images. Adding" in advised(doubtful, limits)
    masks = made.truth(60)
    masks[10:][masks[10:] == 3] = 0
    before = made.said(masks, 0.02, seed=1)
    assert "30 new images of that class." in advised(made.predictions(masks, {FLOAT: before, INT8: before}), limits)
