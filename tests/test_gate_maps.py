"""The gate on networks that label pixels: mean IoU, IoU by class, pixel accuracy, equal pixels, an earlier release."""

from pathlib import Path

import map_reports as made
import numpy as np
import pytest
import reports
from reports import FLOAT, INT8

from edgex.errors import DataError
from edgex.gate import Limits, gate, judge
from edgex.render.gate import gate_document
from edgex.segmentation.predictions import load_map_predictions

GOOD, BAD = 0.004, 0.3


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Reports of files that change more and more."""
    folder = tmp_path_factory.mktemp("gate")
    for name, changed in (("good", GOOD), ("middling", 0.02), ("bad", BAD)):
        made.write(folder / name, made.outcome(80, changed))
    return folder


def the_check(file: Path, name: str = "max-drop", **limits: float) -> tuple[str, str, int | None]:
    (judgement,) = gate(file, Limits(**limits)).results
    (check,) = [check for check in judgement.checks if check.name == name]
    return check.verdict, check.message, check.images


def test_verdicts_on_mean_iou(folder: Path) -> None:
    verdict, message, images = the_check(folder / "good", max_drop=2)
    assert (verdict, images) == ("pass", None)
    assert message.startswith("The drop of mean IoU is ")
    assert "2 are allowed" in message
    verdict, message, _ = the_check(folder / "bad", max_drop=2)
    assert verdict == "fail"
    assert "at least" in message
    drop = judge(made.report(made.outcome(80, 0.02)), Limits()).results[0].comparison.drop
    verdict, message, images = the_check(folder / "middling", max_drop=round((drop.points + drop.high) / 2, 3))
    assert verdict == "inconclusive"
    assert images is not None
    assert images > 80
    assert f"About {images:,} images" in message


def test_json_of_the_gate(folder: Path) -> None:
    document = gate_document(gate(folder / "bad"))
    assert document["verdict"] == "fail"
    (result,) = document["results"]
    assert set(result["drop"]) == {"points", "low", "high", "images", "discordant"}
    assert result["drop"]["images"] == 80
    found = made.outcome(80, BAD)
    assert result["drop"]["discordant"] == int((found.changed(INT8) > 0).sum()) > 60
    assert result["drop"]["low"] < result["drop"]["points"] < result["drop"]["high"]


@pytest.mark.parametrize("images", [5, 29])
def test_too_few_images_prove_nothing(images: int) -> None:
    found = made.outcome(images, 0.0)
    limits = Limits(max_class_drop=1, max_pixel_drop=1, min_agreement=90)
    (judgement,) = judge(made.report(found), limits).results
    assert [check.verdict for check in judgement.checks] == ["inconclusive"] * 4
    assert all(f"There are {images} images" in check.message for check in judgement.checks)
    assert all(check.images == 30 for check in judgement.checks)


def test_images_that_are_all_void_prove_nothing() -> None:
    masks = made.truth(40)
    masks[29:] = 255
    before = made.said(masks, 0.1, seed=1)
    found = made.predictions(masks, {FLOAT: before, INT8: before})
    (judgement,) = judge(made.report(found), Limits(min_agreement=90)).results
    drop, agreement = judgement.checks
    assert (drop.verdict, drop.images) == ("inconclusive", 30)
    assert "There are 29 images with pixels that are not void" in drop.message
    assert agreement.verdict == "pass", "which void pixels count in"


def test_equal_maps_pass(tmp_path: Path) -> None:
    assert the_check(made.write(tmp_path / "a", made.outcome(40, 0.0)), max_drop=0.01)[0] == "pass"


def test_iou_of_classes(tmp_path: Path) -> None:
    """One class of five is taken for another: its own check fails, and names it."""
    masks = made.truth(150)
    before = made.said(masks, 0.05, seed=1)
    after = np.where((before == 4) & (np.arange(150) % 3 == 0)[:, None, None], 1, before).astype(np.uint8)
    file = made.write(tmp_path / "a", made.predictions(masks, {FLOAT: before, INT8: after}))
    verdict, message, _ = the_check(file, "max-class-drop", max_class_drop=5, max_drop=50)
    assert verdict == "fail"
    assert "The IoU of 'ring' drops by" in message
    assert the_check(file, "max-class-drop", max_class_drop=60, max_drop=50)[0] == "pass"


def test_rare_and_absent_classes_prove_nothing(tmp_path: Path) -> None:
    masks = made.truth(60)
    masks[masks == 3] = 0
    rare = masks.copy()
    rare[10:][rare[10:] == 2] = 0
    for truth, words in ((masks, "no pixel of the classes 'triangle'"), (rare, "no pixel of the classes 'triangle'")):
        before = made.said(truth, 0.02, seed=1)
        before[before == 3] = 0
        file = made.write(tmp_path / "a", made.predictions(truth, {FLOAT: before, INT8: before}))
        assert words in the_check(file, "max-class-drop", max_class_drop=5)[1]
        assert any("no pixel of the classes" in note for note in gate(file).notes)
    masks = made.truth(60)
    masks[10:][masks[10:] == 3] = 0
    before = made.said(masks, 0.02, seed=1)
    file = made.write(tmp_path / "b", made.predictions(masks, {FLOAT: before, INT8: before}))
    verdict, message, images = the_check(file, "max-class-drop", max_class_drop=5)
    assert verdict == "inconclusive"
    assert "images with 'triangle'" in message
    assert images == 30
    of_class = gate(file, Limits(max_class_drop=5)).results[0].checks[1]
    assert of_class.of == "of it"
    assert "of" not in gate_document(gate(file, Limits(max_class_drop=5)))["results"][0]["checks"][1]


def test_verdicts_on_pixel_accuracy(folder: Path) -> None:
    verdict, message, images = the_check(folder / "good", "max-pixel-drop", max_pixel_drop=2)
    assert (verdict, images) == ("pass", None)
    assert message.startswith("The drop of pixel accuracy is ")
    assert "2 are allowed" in message
    assert the_check(folder / "bad", "max-pixel-drop", max_pixel_drop=2)[0] == "fail"
    report = made.report(made.outcome(80, 0.02))
    drop = report.comparisons[INT8].pixel_drop
    accuracy = report.baseline.pixel_accuracy, report.artifacts[0].pixel_accuracy
    assert drop.value == pytest.approx(100 * (accuracy[0] - accuracy[1]))
    margin = round((drop.value + drop.upper()) / 2, 3)
    verdict, message, images = the_check(folder / "middling", "max-pixel-drop", max_pixel_drop=margin)
    assert verdict == "inconclusive"
    assert f"is {drop.value:.2f} points, between {drop.lower():.2f} and {drop.upper():.2f}" in message
    assert f"About {images:,} images" in message


def test_pixel_accuracy_is_judged_only_if_asked_for_and_by_a_limit_of_its_own(tmp_path: Path) -> None:
    """Half of the commonest class is lost: for all classes that is little, and for all pixels much."""
    masks = made.truth(80)
    before = made.said(masks, 0.02, seed=1)
    after = np.where((masks == 0) & (np.arange(made.SIZE) % 2 == 0), 1, before).astype(np.uint8)
    file = made.write(tmp_path / "a", made.predictions(masks, {FLOAT: before, INT8: after}))
    assert [check.name for check in gate(file, Limits(max_drop=30)).results[0].checks] == ["max-drop"]
    result = gate(file, Limits(max_drop=30, max_pixel_drop=30))
    checks = {check.name: check.verdict for check in result.results[0].checks}
    assert checks == {"max-drop": "pass", "max-pixel-drop": "fail"}
    assert result.verdict == "fail"
    document = gate_document(result)
    assert document["limits"]["max_pixel_drop"] == 30
    assert document["results"][0]["checks"][1]["name"] == "max-pixel-drop"


def test_equal_pixels(folder: Path) -> None:
    verdict, message, _ = the_check(folder / "good", "min-agreement", min_agreement=99)
    assert verdict == "pass"
    assert "of the pixels are labelled alike" in message
    assert the_check(folder / "bad", "min-agreement", min_agreement=99)[0] == "fail"


def test_a_float_model_that_sees_nothing_proves_nothing(tmp_path: Path) -> None:
    masks = made.truth(60)
    before = made.quantized(np.zeros_like(masks), 0.9)
    file = made.write(tmp_path / "a", made.predictions(masks, {FLOAT: before, INT8: before}))
    verdict, message, _ = the_check(file)
    assert verdict == "inconclusive"
    assert "not surely better than always saying the commonest class" in message
    assert the_check(file, "max-pixel-drop", max_pixel_drop=50) == (verdict, message, None)
    one = np.where(masks == made.shapes(1).masks.max(), 0, 0).astype(np.uint8)
    file = made.write(tmp_path / "b", made.predictions(one, {FLOAT: one, INT8: one}))
    assert "All pixels are of one class" in the_check(file)[1]


def test_a_float_model_that_is_known_for_more(folder: Path) -> None:
    verdict, message, _ = the_check(folder / "good", baseline_accuracy=99)
    assert verdict == "inconclusive"
    assert "is known for 99 %: masks or preprocessing" in message


# An earlier release


def test_against_an_earlier_release(folder: Path) -> None:
    worse = gate(folder / "bad", Limits(max_drop=2, max_pixel_drop=2, min_agreement=90), folder / "good")
    (judgement,) = worse.results
    assert judgement.verdict == "fail"
    _, pixels, agreement = judgement.checks
    assert pixels.verdict == "fail", "which the counts tell that are kept"
    assert agreement.verdict == "inconclusive"
    assert "were not kept" in agreement.message
    again = gate(folder / "good", Limits(max_drop=2), folder / "good")
    assert again.verdict == "pass"
    assert gate_document(again)["results"][0]["drop"]["discordant"] == 0
    assert gate_document(worse)["results"][0]["drop"]["discordant"] > 60


def test_an_artifact_without_a_counterpart_never_passes(folder: Path, tmp_path: Path) -> None:
    masks = made.truth(80)
    before = made.said(masks, 0.1, seed=1)
    made.write(tmp_path / "old", made.predictions(masks, {FLOAT: before, "net.int8.tflite": before}))
    limits = Limits(max_class_drop=50, max_pixel_drop=50, min_agreement=1)
    (judgement,) = gate(folder / "good", limits, tmp_path / "old").results
    assert [(check.name, check.verdict) for check in judgement.checks] == [
        (name, "inconclusive") for name in ("max-drop", "max-class-drop", "max-pixel-drop", "min-agreement")
    ]


def test_releases_that_cannot_be_compared(folder: Path, tmp_path: Path) -> None:
    reports.write_outcome(tmp_path / "classes", images=100, hits=85, lost=1, gained=1)
    with pytest.raises(DataError, match="one is of a classifier"):
        gate(folder / "good", Limits(), tmp_path / "classes")
    other = made.truth(80, seed=5)
    before = made.said(other, 0.1, seed=1)
    made.write(tmp_path / "masks", made.predictions(other, {FLOAT: before, INT8: before}))
    with pytest.raises(DataError, match="other masks for the same images"):
        gate(folder / "good", Limits(), tmp_path / "masks")


def test_releases_that_share_only_void_pixels(tmp_path: Path) -> None:
    masks = made.truth(12)
    masks[:6] = 255
    before = made.said(masks, 0.1, seed=1)
    made.write(tmp_path / "now", made.predictions(masks, {FLOAT: before, INT8: before}))
    # Images are known by their number: the later ones are others
    few = made.predictions(masks, {FLOAT: before, INT8: before})
    few.hashes[6:] += 1
    made.write(tmp_path / "earlier", few)
    with pytest.raises(DataError, match=r"All pixels of the 6 images that .* share are void") as refusal:
        gate(tmp_path / "now", Limits(), tmp_path / "earlier")
    assert "masks" in refusal.value.fix


def test_some_images_of_an_earlier_release(folder: Path, tmp_path: Path) -> None:
    masks = made.truth(80)[:50]
    before = made.said(made.truth(80), 0.1, seed=1)[:50]
    made.write(tmp_path / "few", made.predictions(masks, {FLOAT: before, INT8: before}))
    found = gate(folder / "good", Limits(max_drop=5), tmp_path / "few")
    assert found.results[0].comparison.images == 50
    assert any("50 images that both releases saw" in note for note in found.notes)


def test_predictions_come_back(folder: Path) -> None:
    found, again = made.outcome(80, GOOD), load_map_predictions(folder / "good" / "predictions.npz")
    assert again.about == found.about
    for model, of in found.of.items():
        np.testing.assert_array_equal(again.of[model].confusions.cells, of.confusions.cells)
        np.testing.assert_array_equal(again.of[model].equal, of.equal)
    np.testing.assert_array_equal(again.kept.maps, found.kept.maps)


@pytest.mark.parametrize(
    ("name", "change"),
    [
        ("cells.1", lambda a: a + 60_000),
        ("pixels.0", lambda a: a * 10_000),
        ("starts.0", lambda a: a[::-1]),
        ("equal.1", lambda a: a + 10_000),
        ("noise.1", lambda a: a - 1e9),
        ("kept_maps", lambda a: a + 5),
        ("kept_rows", lambda a: a + 1000),
        ("kept_truth", lambda a: a[:, :-1]),
        ("hashes", lambda a: a[:-1]),
        ("signal", lambda a: a * np.nan),
    ],
)
def test_predictions_refused(folder: Path, tmp_path: Path, name: str, change) -> None:
    with np.load(folder / "good" / "predictions.npz") as file:
        arrays = dict(file)
    arrays[name] = change(arrays[name]).astype(arrays[name].dtype)
    np.savez(tmp_path / "spoilt.npz", **arrays)
    with pytest.raises(DataError, match="holds no predictions that can be read"):
        load_map_predictions(tmp_path / "spoilt.npz")
