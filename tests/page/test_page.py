"""What the page says, that nothing in a report can break out of it, and that it is made anew the same."""

import os
import re
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
from synthetic import CLASSES, FLOAT, HOSTILE, JUDGED, LAYERS, SENSITIVITY, Made, hostile, small

import edgex
from edgex.gate import Limits
from edgex.page.gallery import MOST_FLIPS
from edgex.page.plots import pareto_front

VOID = {"meta", "img", "br", "link"}
NO_SCRIPT = {"script", "link", "iframe", "object", "embed", "base", "form"}


class Reader(HTMLParser):
    """What a browser would see: every tag, every id, and all text that is shown."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.attributes: list[tuple[str, str]] = []
        self.text = ""
        self.open: list[str] = []
        self.feed(page)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += [(name, value or "") for name, value in attrs]
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.handle_starttag(tag, attrs)
        if tag not in VOID:
            self.open.pop()

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag
        self.text += " " if tag in ("td", "th") else ""

    def handle_data(self, data: str) -> None:
        if not self.open or self.open[-1] != "style":
            self.text += data

    @property
    def words(self) -> str:
        return " ".join(self.text.split())

    def all(self, name: str) -> list[str]:
        return [value for attribute, value in self.attributes if attribute == name]


def test_the_page_shows_what_was_measured(page: str) -> None:
    made = Made()
    read, report = Reader(page), made.report()
    for file in (report.baseline, *report.artifacts):
        assert f"{100 * file.top1:.2f}" in read.words
        assert file.sha256 in read.words
    for artifact in report.artifacts:
        drop = artifact.comparison.drop
        assert f"{drop.points:.2f}{drop.low:.2f} to {drop.high:.2f}" in read.words
        assert f"{100 * artifact.comparison.agreement:.2f}" in read.words
    for check in (check for each in made.result().results for check in each.checks):
        assert check.message in read.words
    for text in ("val.zip", "Some CPU", "bench.seconds", "onnxruntime", "block2_sepconv1.depthwise", *CLASSES):
        assert text in read.words
    assert read.open == []


def test_the_verdict_comes_first(page: str) -> None:
    assert re.search(r"<h\d[^>]*>(.*?)</h", page, re.DOTALL)
    headings = re.findall(r"<(h\d)", page)
    assert headings[0] == "h1"
    assert headings.count("h1") == 1
    assert page.index("Inconclusive: not proven yet for 2 of 2") < page.index("<table")


@pytest.mark.parametrize(
    ("made", "headline", "to_do"),
    [
        (small(lost=0, gained=0.01), "Pass: the quantized file may ship", "Ship it."),
        (small(judged=JUDGED, lost=0), "Pass: 2 of 2 quantized files may ship", "Ship it."),
        (small(lost=0.3), "Fail: do not ship the quantized file", "edgex sensitivity"),
        (small(judged=JUDGED, lost=0.3), "Fail: do not ship 2 of 2 quantized files", "edgex sensitivity"),
        (small(), "Inconclusive: not proven yet for the", "Validate once on about"),
        (small(classes=("cat",)), "Inconclusive", "chosen before looking"),
        (small(lost=0, limits=Limits(max_size_mb=1)), "Fail: do not ship", "a smaller model"),
        (small(lost=0, limits=Limits(max_latency_ms=1)), "Fail: do not ship", "edgex bench"),
        (small(lost=0, limits=Limits(min_speedup=1), noisy=True), "Inconclusive", "does nothing else"),
    ],
)
def test_each_verdict_says_what_to_do(made: Made, headline: str, to_do: str) -> None:
    words = Reader(made.page()).words
    assert headline in words
    assert to_do in words.partition("All files")[0]


def test_what_fails_comes_before_what_is_open() -> None:
    made = small(lost=0.3, limits=Limits(min_speedup=1), noisy=True)
    words = Reader(made.page()).words.partition("All files")[0]
    assert "edgex sensitivity" in words
    assert "does nothing else" not in words


def test_the_same_report_gives_the_same_bytes(page: str) -> None:
    assert Made().page() == page


def test_another_process_gives_the_same_bytes_silently(page: str) -> None:
    script = "import sys; from synthetic import Made; sys.stdout.buffer.write(Made().page().encode())"
    path = os.pathsep.join(map(str, (Path(__file__).parent, Path(edgex.__file__).parents[1])))
    # Where matplotlib can keep nothing, it says so
    settings = {**os.environ, "PYTHONPATH": path, "MPLCONFIGDIR": f"{__file__}/not/a/folder"}
    done = subprocess.run([sys.executable, "-c", script], env=settings, capture_output=True)
    assert done.stdout.decode() == page
    assert done.stderr == b""


def test_nothing_outside_is_named_and_nothing_runs(page: str) -> None:
    read = Reader(page)
    assert not NO_SCRIPT & set(read.tags)
    assert read.tags.count("style") == 1  # what matplotlib styles would be the whole page
    assert not [name for name, _ in read.attributes if name.startswith("on")]
    assert all(value.startswith("#") for value in read.all("href"))
    assert all(value.startswith("data:image/jpeg;base64,") for value in read.all("src"))
    style = re.search(r"<style>(.*?)</style>", page, re.DOTALL)
    assert style
    assert not re.search(r"url\(|@import", style[1])
    assert "default-src 'none'" in page


def test_ids_are_unique_and_every_reference_has_its_target(page: str) -> None:
    read = Reader(page)
    ids = read.all("id")
    assert len(ids) == len(set(ids)) > 20
    urls = [found for _, value in read.attributes for found in re.findall(r"url\(#([^)]*)\)", value)]
    told = [part for value in read.all("aria-labelledby") for part in value.split()]
    assert {value.removeprefix("#") for value in read.all("href")} | set(urls) | set(told) <= set(ids)


def test_plots_are_told_in_words_and_their_text_is_text(page: str) -> None:
    read = Reader(page)
    count = read.tags.count("svg")
    assert count == len(read.all("viewbox")) == read.tags.count("desc") == 6
    assert "top-1 drop, points" in read.words
    assert "int8.onnx: " in read.words


def test_plots_have_no_colour_that_is_not_the_pages(page: str) -> None:
    drawn = "".join(re.findall(r"<svg.*?</svg>", page, re.DOTALL))
    assert set(re.findall("#[0-9a-f]{6}", drawn)) == set()
    used = set(re.findall(r"var\((--[\w-]+)\)", page))
    for theme in themes(page):
        assert used <= set(theme)


def themes(page: str) -> list[dict[str, str]]:
    """Colours by name: in light, and in dark."""
    blocks = re.findall(r":root \{(.*?)\}", page, re.DOTALL)
    return [dict(re.findall(r"(--[\w-]+): (#[0-9a-f]{6});", block)) for block in blocks]


def luminance(colour: str) -> float:
    """Relative, as WCAG 2.2 has it."""
    parts = np.array([int(colour[place : place + 2], 16) for place in (1, 3, 5)]) / 255
    linear = np.where(parts <= 0.04045, parts / 12.92, ((parts + 0.055) / 1.055) ** 2.4)
    return float(linear @ (0.2126, 0.7152, 0.0722))


def test_contrast_is_enough_in_light_and_dark(page: str) -> None:
    light, dark = themes(page)
    assert luminance(light["--paper"]) > 0.9
    assert luminance(dark["--paper"]) < 0.1
    for theme in (light, dark):
        for ground in (theme["--paper"], theme["--card"]):
            for name in theme.keys() - {"--paper", "--card", "--line"}:
                darker, lighter = sorted((luminance(ground), luminance(theme[name])))
                assert (lighter + 0.05) / (darker + 0.05) >= 4.5, name


def test_headers_of_tables_say_what_they_head(page: str) -> None:
    assert page.count("<th ") == len(re.findall(r'<th [^>]*?scope="(?:col|row)"', page)) > 20


@pytest.mark.filterwarnings("error")
def test_hostile_names_are_only_text() -> None:
    page = hostile().page()
    read = Reader(page)
    page.encode()
    assert set(read.tags) == set(Reader(Made(warnings=("odd",)).page()).tags)
    assert not [name for name, _ in read.attributes if name.startswith("on")]
    for name in HOSTILE:
        shown = "a\ufffdb\ufffd[31m\ufffdtxt.exe" if "\x00" in name else name
        # As a class, a layer, an operation, a setting and a warning
        assert read.words.count(shown) > 30


def test_a_dollar_in_a_plot_is_a_dollar() -> None:
    page = small(classes=("$x_1$", "b")).page()
    drawn = "".join(re.findall(r"<svg.*?</svg>", page, re.DOTALL))
    assert re.search(r"<text[^>]*>\$x_1\$</text>", drawn)


def test_without_latency_there_is_no_plot_of_it() -> None:
    words = Reader(small(timed=False).page()).words
    assert "Latency was not measured." in words
    assert "Accuracy against latency" not in words
    assert "too noisy" not in words


def test_a_noisy_machine_claims_no_speed_up(page: str) -> None:
    words = Reader(small(noisy=True).page()).words
    assert "too noisy to claim a speed-up" in words
    assert "2.00×" in Reader(page).words
    assert "2.00×" not in words


def test_without_layers_there_is_no_section_of_them() -> None:
    words = Reader(small().page()).words
    assert "Error by layer" not in words
    assert "Error by layer" in Reader(small(layer_errors=LAYERS).page()).words


def test_without_flips_it_says_so() -> None:
    made = small(lost=0, gained=0)
    read = Reader(made.page())
    assert "it is right on the same images as the float model" in read.words
    assert "it says the same as the float model of every image" in read.words
    assert "img" not in read.tags


def test_an_image_that_cannot_be_read_leaves_a_gap() -> None:
    read = Reader(small(pixels=lambda _name: None).page())
    assert "img" not in read.tags
    assert read.words.count("image cannot be read") == Reader(small().page()).tags.count("img") > 10


def test_gray_and_odd_images_are_shown() -> None:
    shapes = {0: (1, 900, 1), 1: (300, 2, 3), 2: (5, 5, 1)}
    made = small(pixels=lambda name: np.zeros(shapes[len(name) % 3], np.uint8))
    assert Reader(made.page()).tags.count("img") > 10


def test_flips_are_few_and_the_lost_come_first() -> None:
    made = small(images=4000, lost=0.1, gained=0.05)
    page = made.page()
    assert Reader(page).tags.count("img") == MOST_FLIPS
    assert page.index("Lost: ") < page.index("Gained: ")
    figures = made.report().artifacts[0].comparison
    assert f"Lost: {figures.lost}; the 16 surest" in page
    assert f"Gained: {figures.gained}; the 8 surest" in page


def test_a_flip_has_its_label_and_both_predictions() -> None:
    made = small()
    predictions = made.predictions()
    right = [predictions.hits(name) for name in (FLOAT, JUDGED[0])]
    said = [predictions.of[name] for name in (FLOAT, JUDGED[0])]
    lost, gained = Reader(made.page()).words.split("Lost: 12")[1].split("Gained: 10")
    for part, flipped in ((lost, right[0] & ~right[1]), (gained, right[1] & ~right[0])):
        surest = int(np.flatnonzero(flipped)[said[1].probability[flipped].argmax()])
        texts = [f"{CLASSES[one.top1[surest]]} {100 * one.probability[surest]:.0f} %" for one in said]
        assert f" {CLASSES[predictions.labels[surest]]} float: {texts[0]} now: {texts[1]}" in part[:60]


def test_a_changed_confusion_says_what_it_did() -> None:
    made = small()
    confusions = made.report().artifacts[0].confusions
    words = Reader(made.page()).words
    for each in confusions[:10]:
        effect = "lost" if each.baseline == each.label else "gained" if each.artifact == each.label else "wrong still"
        assert f"{each.label} {each.baseline} → {each.artifact} {effect} {each.images}" in words


@pytest.mark.parametrize(
    ("points", "front"),
    [
        ([(2, 80)], [(2, 80)]),
        ([(3, 85), (1, 80), (2, 79)], [(1, 80), (3, 85)]),
        ([(1, 80), (1, 81), (2, 81)], [(1, 81)]),
    ],
)
def test_the_front_holds_what_nothing_beats(
    points: list[tuple[float, float]], front: list[tuple[float, float]]
) -> None:
    assert pareto_front(points) == front


def test_layers_are_ranked_by_their_noise() -> None:
    rows = Reader(small(sensitivity=SENSITIVITY[::-1]).page()).words.split("Each layer alone")[1]
    worst, other = (rows.index(f"{name}: ") for name in ("block2_sepconv1.depthwise", "block1_conv1"))
    assert worst < other
    assert "block2_sepconv1.depthwise: 1.4 %; block1_conv1: 0.079 %" in rows
    assert "predictions Dense" not in rows  # which costs nothing


def test_of_a_thousand_classes_the_worst_are_shown() -> None:
    classes = [f"class {index}" for index in range(1000)]
    made = small(classes=classes, images=5000)
    page = made.page()
    words = Reader(page).words
    assert "The 20 classes that drop most, of 1,000." in words
    worst = made.report().artifacts[0].comparison.worst_classes()
    assert worst[0].name in words
    assert len(page) < 700_000


def test_classes_without_images_are_none_that_are_left_out() -> None:
    made = small(classes=("cat", "dog", "frog"), images=2)
    assert "classes that drop most" not in Reader(made.page()).words


def test_the_page_is_small(page: str) -> None:
    assert len(page.encode()) < 400_000


def test_importing_the_page_imports_nothing_heavy() -> None:
    script = "import sys, edgex.page; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert not {"matplotlib", "jinja2", "PIL"} & set(done.stdout.split())
