"""The chart shows what was found, in a file that stands by itself."""

import re
from dataclasses import replace
from pathlib import Path
from xml.etree import ElementTree as ET

import numpy as np
import pytest
from graphs import tiny_xception

from edgex.bench import BenchResult
from edgex.bench.interval import Interval
from edgex.compare import ComparedModel, CompareReport, Int8Artifact, ModelLatency, check_chart, write_chart
from edgex.comparison import compare
from edgex.errors import UsageError
from edgex.inspection import inspect_graph
from edgex.records import ArtifactKind

ONNX = ArtifactKind("int8", "onnx")
NAMES = ("xception", "models/<b>&$x$.keras")


def latency(median: float, runtime: str) -> ModelLatency:
    interval = Interval(0.9 * median, 1.2 * median)
    result = BenchResult(Path("x.onnx"), runtime, 1, 30, 1.0, 1.0, median, median, None, interval, ())
    return ModelLatency(ONNX, result)


@pytest.fixture(scope="module")
def report() -> CompareReport:
    counted = inspect_graph(tiny_xception())
    models = [
        ComparedModel(
            name,
            False,
            replace(counted, parameters=round(4.56e6 * (place + 1))),
            (Int8Artifact(ONNX, 7_890_000),),
            (latency(12.3 + place, "onnxruntime"), latency(45.6, "openvino")),
        )
        for place, name in enumerate(NAMES)
    ]
    return CompareReport(tuple(models))


def texts(file: Path) -> set[str]:
    return {"".join(node.itertext()).strip() for node in ET.parse(file).iter() if node.tag.endswith("}text")}


def spans(file: Path, style: str) -> list[tuple[float, float]]:
    """From where to where on the page paths of a style reach, in the order drawn."""
    found = []
    for path in ET.parse(file).iter():
        if path.tag.endswith("}path") and style in path.get("style", ""):
            places = [float(x) for x in re.findall(r"[ML] (-?[\d.]+) ", path.get("d", ""))]
            found.append((min(places), max(places)))
    return found


def widths(file: Path, colour: str) -> list[float]:
    """Of the bars in a colour, in the order drawn."""
    return [right - left for left, right in spans(file, f"fill: {colour}")]


def test_svg_has_every_name_and_figure(report: CompareReport, tmp_path: Path) -> None:
    file = tmp_path / "chart.svg"
    write_chart(report, file)
    assert {*NAMES, "4.56", "9.12", "7.89", "12.3", "13.3", "45.6"} <= texts(file)
    assert {"int8.onnx in onnxruntime", "int8.onnx in openvino", "int8.onnx, MB", "parameters, M"} <= texts(file)
    assert not any("lost by INT8" in text for text in texts(file)), "it was not measured"
    first = file.read_bytes()
    write_chart(report, file)
    assert file.read_bytes() == first


def test_bars_are_as_long_as_their_values(report: CompareReport, tmp_path: Path) -> None:
    write_chart(report, tmp_path / "chart.svg")
    one, other = (widths(tmp_path / "chart.svg", colour) for colour in ("#0550ae", "#a04100"))
    ratios = np.divide(other[:6], one[:6])  # parameters, MACs, float32, INT8, two latencies
    assert ratios == pytest.approx([2, 1, 1, 1, 13.3 / 12.3, 1], rel=1e-4)


def test_what_int8_costs_with_its_bound(report: CompareReport, tmp_path: Path) -> None:
    """Of 100 images one loses ten, the other gains five; a third was never trained."""
    labels = np.zeros(100, int)
    some = [(np.arange(100) < count).astype(int) for count in (10, 5)]
    costs = [compare(labels, labels, some[0], "ab"), compare(labels, some[1], labels, "ab")]
    models = [
        replace(model, latencies=(), int8=(replace(model.int8[0], cost=cost),))
        for model, cost in zip(report.models, costs, strict=True)
    ]
    models.append(replace(report.models[0], fresh=True, latencies=()))
    file = tmp_path / "chart.svg"
    write_chart(CompareReport(tuple(models), images=100), file)
    shown = texts(file)
    assert {"points of top-1 lost by INT8 on 100 images, up to the 95 % bound", "int8.onnx", "untrained"} <= shown
    worse, better = (cost.drop for cost in costs)
    assert {f"+10.00, at most {worse.high:.2f}", f"-5.00, at most {better.high:.2f}"} <= shown
    assert not any("latency" in text for text in shown)
    one, other = (spans(file, f"fill: {colour}")[-2] for colour in ("#0550ae", "#a04100"))  # the last is the legend's
    point = (one[1] - one[0]) / 10
    assert other == pytest.approx((one[0] - 5 * point, one[0]), abs=0.01), "a gain goes to the left"
    whiskers = spans(file, "stroke: #1f2328; stroke-width: 1.2")
    ends = [(one[0] + drop.points * point, one[0] + drop.high * point) for drop in (worse, better)]
    assert np.array(whiskers) == pytest.approx(np.array(ends), abs=0.01)


def test_counts_alone(report: CompareReport, tmp_path: Path) -> None:
    counts = CompareReport(tuple(replace(model, int8=(), latencies=()) for model in report.models))
    write_chart(counts, tmp_path / "chart.svg")
    shown = texts(tmp_path / "chart.svg")
    assert {"4.56", "9.12", *NAMES} <= shown
    assert not any("onnx" in text or "latency" in text or "lost" in text for text in shown)


def test_a_page_and_a_picture(report: CompareReport, tmp_path: Path) -> None:
    write_chart(report, tmp_path / "chart.html")
    page = (tmp_path / "chart.html").read_text(encoding="utf-8")
    assert page.startswith("<!DOCTYPE html>")
    assert "<svg" in page
    assert "<?xml" not in page
    assert "<b>" not in page
    write_chart(report, tmp_path / "chart.PNG")
    assert (tmp_path / "chart.PNG").read_bytes().startswith(b"\x89PNG")


def test_a_name_that_says_no_format(report: CompareReport, tmp_path: Path) -> None:
    for name in ("chart", "chart.jpg"):
        with pytest.raises(UsageError, match=re.escape(name)):
            check_chart(Path(name))
        with pytest.raises(UsageError):
            write_chart(report, tmp_path / name)
    assert list(tmp_path.iterdir()) == []
