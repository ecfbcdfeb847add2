"""A report survives the disk; one that was edited or damaged is refused."""

import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError
from reports import FLOAT, INT8, edit, outcome, predictions, report, write_outcome

from edgex.errors import DataError
from edgex.report import LayerError, Report, Speedup, read_report


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return write_outcome(tmp_path)


def test_round_trip(file: Path) -> None:
    found = read_report(file)
    assert found.to_json() == file.read_text()
    assert found.baseline.top1 == 0.85
    assert found.artifacts[0].top1 == (3400 - 20 + 16) / 4000
    assert found.artifacts[0].comparison.drop.points == pytest.approx(0.1)


def test_document_begins_with_the_schema(file: Path) -> None:
    assert next(iter(json.loads(file.read_text()).items())) == ("schema", "edgex.report/1")


def test_every_part_of_a_report_round_trips(tmp_path: Path) -> None:
    labels, baseline, other = outcome()
    full = report(
        predictions(labels, {FLOAT: baseline, INT8: other}),
        speedup=Speedup(ratio=1.5, low=1.4, high=1.6),
        layer_errors=(LayerError(layer="conv", snr_db=20.0),),
        machine={"cpu": 'a "fast"\n<one>', "cores": 2},
        settings={"threads": None, "nested": {"a": [1, 2.5, True]}},
    )
    path = tmp_path / "report.json"
    path.write_text(full.to_json())
    assert read_report(path) == full


ARTIFACT = ("artifacts", 0)
COMPARISON = (*ARTIFACT, "comparison")

EDITS: dict[str, tuple[tuple[str | int, ...], Any]] = {
    "accuracy": ((*ARTIFACT, "top1"), 0.95),
    "interval": ((*ARTIFACT, "top1_interval"), [0.9, 0.99]),
    "hits": ((*ARTIFACT, "hits"), 3500),
    "hits beyond the images": (("baseline", "hits"), 4100),
    "top-5 under top-1": (("baseline", "hits5"), 3000),
    "drop": ((*COMPARISON, "drop", "points"), 0.0),
    "bound": ((*COMPARISON, "drop", "high"), 0.2),
    "lost": ((*COMPARISON, "lost"), 0),
    "lost of a class": ((*COMPARISON, "classes", 0, "lost"), 0),
    "agreeing": ((*COMPARISON, "agreeing"), 3999),
    "images": (("data", "images"), 40_000),
    "images of one file": ((*ARTIFACT, "images"), 5000),
    "classes in another order": (("data", "class_names"), [f"class {index}" for index in reversed(range(10))]),
    "an artifact twice": (("baseline", "name"), INT8),
    "a name with a folder": ((*ARTIFACT, "name"), "../net.int8.onnx"),
    "a name longer than that of a file": (("baseline", "name"), "x" * 5000 + ".fp32.onnx"),
    "a name in a file system that has no such": ((*ARTIFACT, "name"), "\udcff\ud800.int8.onnx"),
    "counts beyond floats": (("data", "images"), 10**400),
    "an interval backwards": ((*ARTIFACT, "latency", "low_ms"), 12.0),
    "no latency": ((*ARTIFACT, "latency", "median_ms"), 0),
    "text for a number": (("baseline", "bytes"), "21200000"),
    "another schema": (("schema",), "edgex.report/2"),
    "an unknown key": (("colour",), "red"),
    "an unknown key inside": ((*COMPARISON, "note"), "fine"),
    "NaN": ((*ARTIFACT, "snr_db"), math.nan),
    "infinite": ((*ARTIFACT, "latency", "high_ms"), math.inf),
    "an unknown precision": ((*ARTIFACT, "precision"), "int4"),
}


@pytest.mark.parametrize("kind", EDITS)
def test_edits_are_refused(file: Path, kind: str) -> None:
    path, value = EDITS[kind]
    edit(file, *path, value=value)
    with pytest.raises(DataError, match=r"report\.json"):
        read_report(file)


def test_more_images_than_there_are_is_refused(tmp_path: Path) -> None:
    """Bounds of counts take their time: not that of a number that someone wrote there."""
    labels, baseline, other = outcome(images=1, hits=1, lost=0, gained=0, classes=1)
    small = report(predictions(labels, {FLOAT: baseline, INT8: other}, class_names=["one"])).document()
    file = tmp_path / "report.json"
    for count in (10_000_001, 10**90):
        text = json.dumps(small).replace('"images": 1', f'"images": {count}')
        file.write_text(text)
        with pytest.raises(DataError, match="less than or equal to 10000000"):
            read_report(file)


def test_edits_that_agree_with_each_other_are_refused(file: Path) -> None:
    edit(file, "baseline", "hits5", value=3000)
    edit(file, "baseline", "top5", value=0.75)
    with pytest.raises(DataError, match="do not add up"):
        read_report(file)


def test_the_message_names_what_is_no_number(file: Path) -> None:
    edit(file, "settings", value={"a": math.nan})
    with pytest.raises(DataError, match="NaN, which is no measurement"):
        read_report(file)


def test_a_number_beyond_floats_is_refused(file: Path) -> None:
    for old in ('"snr_db": 30.0', '"settings": {}'):
        text = file.read_text()
        assert text.count(old) == 1
        file.write_text(text.replace(old, old.split(":")[0] + (": 1e999" if "snr" in old else ': {"a": 1e999}')))
        with pytest.raises(DataError):
            read_report(file)
        file.write_text(text)


DAMAGE: dict[str, Callable[[Path], object]] = {
    "missing": Path.unlink,
    "empty": lambda file: file.write_text(""),
    "truncated": lambda file: file.write_text(file.read_text()[:900]),
    "no object": lambda file: file.write_text("[1, 2]"),
    "another document": lambda file: file.write_text('{"schema": "edgex.eval/1", "results": []}'),
    "no text": lambda file: file.write_bytes(b"\xff\xfe\x00"),
    "nested without end": lambda file: file.write_text("[" * 100_000),
    "nested deeply inside": lambda file: edit(file, "settings", value={"a": json.loads("[" * 500 + "]" * 500)}),
}


@pytest.mark.parametrize("kind", DAMAGE)
def test_damage_is_refused(file: Path, kind: str) -> None:
    DAMAGE[kind](file)
    with pytest.raises(DataError, match=r"report\.json"):
        read_report(file)


def test_another_machines_last_digit_is_no_edit(file: Path) -> None:
    bound = json.loads(file.read_text())["artifacts"][0]["comparison"]["drop"]["high"]
    edit(file, *COMPARISON, "drop", "high", value=math.nextafter(bound, 1))
    read_report(file)
    edit(file, *COMPARISON, "drop", "high", value=bound * (1 + 1e-6))
    with pytest.raises(DataError, match="high"):
        read_report(file)


def test_messages_have_one_line(file: Path) -> None:
    """Keys of a hostile file are no commands to a CI system that reads the log."""
    edit(file, "\n::error::gotcha", value=1)
    with pytest.raises(DataError) as error:
        read_report(file)
    assert "\n" not in error.value.message


def test_a_report_is_not_made_of_what_contradicts_itself() -> None:
    labels, baseline, other = outcome()
    found = predictions(labels, {FLOAT: baseline, INT8: other})
    with pytest.raises(ValidationError, match="did not see the same images"):
        Report(**{**dict(report(found)), "data": report(found).data.model_copy(update={"images": 3999})})
