"""Of networks that label pixels INT8 costs points of mean IoU, as validate measures them."""

import re
from dataclasses import replace
from pathlib import Path

import pytest
from graphs import tiny_xception
from segmenters import colour_segmenter, corrupted
from shapes import CLASSES, shapes

from edgex.compare import CompareOptions, CompareReport, Int8Artifact, compare_models, write_chart
from edgex.errors import UsageError
from edgex.pipeline import QuantizeOptions, quantize
from edgex.render.comparison import compare_document, show_comparison
from edgex.segmentation import MapComparison
from edgex.target import load_target
from edgex.validate import ValidateOptions, validate
from edgex.write.keras import keras_file
from edgex.write.onnx import onnx_model

SIZE = 24


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two networks, one of them spoilt, and images with masks for both. Not to be changed."""
    folder = tmp_path_factory.mktemp("segmenters")
    good = colour_segmenter(SIZE)
    (folder / "good.keras").write_bytes(keras_file(good))
    (folder / "bad.onnx").write_bytes(onnx_model(corrupted(good, 0.3)).SerializeToString())
    (folder / "classifier.keras").write_bytes(keras_file(tiny_xception(classes=len(CLASSES))))
    shapes(40, SIZE, seed=1).write_folder(folder / "calib")
    shapes(36, SIZE, seed=2, void=True).write_folder(folder / "val")
    shapes(8, SIZE, seed=3).write_folder(folder / "few")
    return folder


def options(folder: Path, data: str = "val", **more: object) -> CompareOptions:
    known = {"latency": False, "calib": folder / "calib", "data": folder / data, "threads": 1}
    return CompareOptions(**{**known, **more})


@pytest.fixture(scope="module")
def report(folder: Path) -> CompareReport:
    return compare_models([folder / "good.keras", folder / "bad.onnx"], options(folder))


def map_cost(artifact: Int8Artifact) -> MapComparison:
    assert isinstance(artifact.cost, MapComparison)
    return artifact.cost


def test_the_cost_is_what_validate_says(folder: Path, report: CompareReport, tmp_path: Path) -> None:
    assert (report.measure, report.images) == ("mean IoU", 36)
    models = compare_document(report)["results"]
    assert models[1]["int8"][0]["cost"]["float_miou"] < models[0]["int8"][0]["cost"]["float_miou"] - 0.1
    for name, model, shown in zip(("good.keras", "bad.onnx"), report.models, models, strict=True):
        out = tmp_path / name
        quantize(folder / name, load_target("cpu"), folder / "calib", out, QuantizeOptions(threads=1))
        found = validate(out, folder / "val", options=ValidateOptions(latency=False, threads=1)).report
        known = {f"{each.precision}.{each.format}": each for each in found.artifacts}
        assert len(model.int8) == 2
        for artifact, document in zip(model.int8, shown["int8"], strict=True):
            figures = known[str(artifact.kind)]
            cost = map_cost(artifact)
            assert cost.drop == figures.comparison.drop
            assert cost.discordant == figures.comparison.discordant > 0
            assert document["cost"] == {
                "float_miou": found.baseline.miou,
                "int8_miou": figures.miou,
                "drop": figures.comparison.drop.model_dump(),
                "agreement": figures.comparison.agreement,
            }


def test_table_and_chart_name_the_measure(
    report: CompareReport, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert compare_document(report)["measure"] == "mean IoU"
    show_comparison(report)
    shown = capsys.readouterr().out
    assert "points of mean IoU on 36 images" in shown
    assert "top-1" not in shown
    write_chart(report, tmp_path / "chart.svg")
    drawn = (tmp_path / "chart.svg").read_text(encoding="utf-8")
    assert "points of mean IoU lost by INT8 on 36 images" in drawn
    for artifact in report.models[0].int8:
        drop = map_cost(artifact).drop
        assert artifact.lost == f"{drop.points:+.2f}, at most {drop.high:.2f}"
        assert artifact.lost in drawn


def test_few_images_prove_nothing(folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    report = compare_models([folder / "good.keras"], options(folder, "few"))
    show_comparison(report)
    shown = capsys.readouterr().out
    assert shown.count(", unproven") == 2
    assert "fewer than 30 images" in shown
    write_chart(report, tmp_path / "chart.svg")
    drawn = (tmp_path / "chart.svg").read_text(encoding="utf-8")
    assert drawn.count(", unproven") == 2
    whiskers = re.findall(r'd="M (\S+) \S+ \s*L (\S+) \S+ \s*"[^>]*stroke-width: 1.2"', drawn)
    assert len(whiskers) == 2
    assert all(left == right for left, right in whiskers), "a whisker up to 100 points"


def test_a_wrong_scale_is_not_passed_over(folder: Path) -> None:
    (warning,) = (
        each
        for each in compare_models([folder / "good.keras"], options(folder, preprocess="caffe")).warnings
        if "commonest class" in each
    )
    assert warning.startswith(f"{folder / 'good.keras'}: The float model has a mean IoU of ")


@pytest.mark.parametrize(
    ("models", "data", "words"),
    [
        (
            ("good.keras", "classifier.keras"),
            "val",
            "classifier.keras is a classifier of 5 classes, and .*val has masks",
        ),
        (("demo", "good.keras"), "digits", "good.keras is no classifier.* one label for each image"),
    ],
)
def test_classifiers_and_segmenters_are_not_measured_on_the_same_images(
    models: tuple[str, ...], data: str, words: str, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise AssertionError("there was work before the refusal")

    monkeypatch.setattr("edgex.compare.comparing.quantize", refuse)
    paths = [name if name == "demo" else folder / name for name in models]
    given = options(folder) if data == "val" else replace(options(folder), calib="digits", data="digits")
    with pytest.raises(UsageError, match=words):
        compare_models(paths, given)
    with pytest.raises(UsageError, match="masks are stretched"):
        compare_models([folder / "good.keras"], options(folder, resize="crop"))
