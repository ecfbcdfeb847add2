"""The report on networks that label pixels is believed as far as it follows from its counts."""

import json
from pathlib import Path

import map_reports as made
import pytest
from reports import edit

from edgex.errors import DataError
from edgex.render.validation import show_report
from edgex.report import MapReport, read_report


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return made.write(tmp_path_factory.mktemp("report") / "one", made.outcome(40))


@pytest.fixture
def own(file: Path, tmp_path: Path) -> Path:
    """A copy to spoil."""
    copy = tmp_path / "report.json"
    copy.write_bytes(file.read_bytes())
    return copy


def test_it_comes_back_as_it_was_written(file: Path) -> None:
    found = read_report(file)
    assert isinstance(found, MapReport)
    assert found == made.report(made.outcome(40), found.predictions)
    assert found.to_json() == file.read_text()
    document = json.loads(file.read_text())
    assert document["schema"] == "edgex.segmentation-report/1"
    (artifact,) = document["artifacts"]
    drop = 100 * (document["baseline"]["miou"] - artifact["miou"])
    assert artifact["comparison"]["drop"]["points"] == pytest.approx(drop)
    assert len(artifact["class_iou"]) == 5


@pytest.mark.parametrize(
    ("path", "value", "message"),
    [
        (("schema",), "edgex.report/2", "has not the schema edgex.report/1 or edgex.segmentation-report/1"),
        (("schema",), ["edgex.report/1"], "has not the schema"),
        (("schema",), "edgex.report/1", "no edgex.report document"),
        (("baseline", "miou"), 0.99, "'baseline.miou' is not what follows"),
        (("baseline", "miou_interval", 0), 0.01, r"'baseline.miou_interval\[0\]' is not what follows"),
        (("artifacts", 0, "pixel_accuracy"), 1.0, "pixel_accuracy' is not what follows"),
        (("artifacts", 0, "class_iou", 2), 0.5, r"class_iou\[2\]' is not what follows"),
        (("artifacts", 0, "comparison", "drop", "high"), 0.1, "the drop.high of .* does not follow"),
        (("artifacts", 0, "comparison", "drop", "points"), -1.0, "the drop.points of .* does not follow"),
        (("artifacts", 0, "comparison", "agreement"), 1.0, "the agreement of .* does not follow"),
        (("artifacts", 0, "comparison", "discordant"), 0, "the discordant of .* does not follow"),
        (("artifacts", 0, "comparison", "images"), 41, "the images of .* does not follow"),
        (("artifacts", 0, "changed", 0), 24 * 24 + 1, "changed pixels of .* do not fit"),
        (("artifacts", 0, "changed"), [0] * 40, "changed pixels of .* do not fit"),
        (("artifacts", 0, "changed"), [1] * 39, "did not see the same images"),
        (("artifacts", 0, "counts"), [], "has counts of 0 images"),
        (("artifacts", 0, "counts", 0), [0, 5, 5, 5], "different masks"),
        (("baseline", "counts", 0), [0, 5, 6, 5], "do not add up"),
        (("baseline", "counts", 0), [0, 5, 5], "not of classes"),
        (("baseline", "counts", 0), [1, 5, 5, 5, 0, 5, 5, 5], "not of classes"),
        (("baseline", "counts", 0), [5, 5, 5, 5], "of a class that there is not"),
        (("baseline", "counts", 0), [0, 1 << 25, 0, 1 << 25], "less than or equal"),
        (("data", "class_names"), ["a"], "so many or few classes"),
        (("data", "height"), 23, "do not fit its counts|does not follow"),
        (("data", "images"), 39, "did not see the same images"),
        (("artifacts", 0, "name"), "net.fp32.onnx", "not different files"),
    ],
)
def test_changed_by_hand(own: Path, path: tuple[str | int, ...], value: object, message: str) -> None:
    edit(own, *path, value=value)
    with pytest.raises(DataError, match=message) as refusal:
        read_report(own)
    assert "edgex validate" in refusal.value.fix


def test_the_terminal_shows_pixel_accuracy_beside_mean_iou(capsys: pytest.CaptureFixture[str]) -> None:
    report = made.report(made.outcome(30, changed=0.1))
    show_report(report)
    shown = capsys.readouterr().out
    lines = [line.split() for line in shown.splitlines()]
    assert next(line for line in lines if "file" in line)[2:7] == ["mIoU", "%", "pixels", "%", "drop"]
    for file in (report.baseline, *report.artifacts):
        row = next(line for line in lines if line and file.name.endswith(line[0]))
        assert row[1:4] == ["onnxruntime", f"{100 * file.miou:.2f}", f"{100 * file.pixel_accuracy:.2f}"]


@pytest.mark.parametrize("images", [29, 30])
def test_the_terminal_says_why_bounds_say_nothing(images: int, capsys: pytest.CaptureFixture[str]) -> None:
    report = made.report(made.outcome(images))
    show_report(report)
    shown = capsys.readouterr().out
    assert ("With fewer than 30 images nothing is proven of mean IoU" in shown) == (images < 30)
    assert ("+100.00" in shown) == (images < 30)
    assert (report.baseline.miou_interval == (0, 1)) == (images < 30)
