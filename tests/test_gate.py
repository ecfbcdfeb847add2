"""The gate: what passes, what fails, and that whatever is missing or wrong never passes."""

import math
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from reports import FLOAT, INT8, edit, latency, outcome, predictions, report, write, write_outcome

from edgex.errors import DataError, ExitCode, UsageError
from edgex.gate import Check, GateResult, Limits, gate, judge
from edgex.manifest import file_record
from edgex.predictions import PREDICTIONS_NAME, Predictions, load_predictions
from edgex.report import Speedup

TFLITE = "net.int8.tflite"


def found(**counts: int) -> Predictions:
    labels, baseline, other = outcome(**counts)
    return predictions(labels, {FLOAT: baseline, INT8: other})


def judged(limits: Limits | None = None, counts: Mapping[str, int] | None = None, **changes: Any) -> GateResult:
    """The verdict on one artifact."""
    return judge(report(found(**counts or {}), **changes), limits or Limits())


def checked(result: GateResult, name: str) -> Check:
    return next(check for check in result.results[0].checks if check.name == name)


# Accuracy


@pytest.mark.parametrize(
    ("lost", "gained", "margin", "verdict"),
    [
        (20, 16, 1.0, "pass"),
        (20, 16, 0.05, "inconclusive"),
        (20, 16, 0.0, "inconclusive"),
        (100, 20, 1.0, "fail"),
        (60, 20, 1.0, "inconclusive"),
        (400, 0, 1.0, "fail"),
        (0, 0, 1.0, "pass"),
        (0, 0, 0.05, "inconclusive"),
        (10, 100, 0.0, "pass"),
    ],
)
def test_max_drop(lost: int, gained: int, margin: float, verdict: str) -> None:
    result = judged(Limits(max_drop=margin), {"lost": lost, "gained": gained})
    assert result.verdict == result.results[0].verdict == verdict
    drop = result.results[0].comparison.drop  # type: ignore[union-attr]  it was made
    assert (drop.high < margin) == (verdict == "pass")
    assert (drop.low > margin) == (verdict == "fail")


def test_the_message_shows_the_side_of_the_limit() -> None:
    """Never that a drop of at most 0.36 is under 0.36."""
    result = judged(Limits(max_drop=0.36))
    comparison = result.results[0].comparison
    assert comparison is not None
    assert 0.355 < comparison.drop.high < 0.36
    assert "at most 0.359; 0.36 are allowed" in checked(result, "max-drop").message


def test_an_inconclusive_drop_says_how_many_images_would_settle_it() -> None:
    check = checked(judged(Limits(max_drop=0.3)), "max-drop")
    assert check.verdict == "inconclusive"
    assert check.images is not None
    assert check.images > 4000
    assert f"About {check.images:,} images in all" in check.message
    settled = {"images": check.images, "hits": int(0.85 * check.images)}
    share = check.images / 4000
    again = judged(Limits(max_drop=0.3), {**settled, "lost": round(20 * share), "gained": round(16 * share)})
    assert again.verdict == "pass"


def test_a_drop_at_the_limit_is_settled_by_no_number_of_images() -> None:
    check = checked(judged(Limits(max_drop=0.1), {"lost": 20, "gained": 16}), "max-drop")
    assert check.images is None
    assert "no number of images" in check.message


def test_where_nothing_is_gained_the_exact_test_decides() -> None:
    counts = {"images": 290, "hits": 280, "lost": 0, "gained": 0}
    check = checked(judged(counts=counts), "max-drop")
    assert check.verdict == "inconclusive"
    assert "more by the exact test" in check.message


# Classes


def of_classes(lost: Mapping[int, int], images: int = 500) -> GateResult:
    """Ten classes of so many images each, of which some lose some."""
    labels = np.repeat(np.arange(10, dtype=np.int32), images)
    other = labels.copy()
    for label, count in lost.items():
        other[images * label : images * label + count] = (label + 1) % 10
    both = predictions(labels, {FLOAT: labels, INT8: other})
    return judge(report(both), Limits(max_drop=100, max_class_drop=3))


def test_every_class_must_pass() -> None:
    assert of_classes({}).verdict == "pass"
    assert of_classes(dict.fromkeys(range(10), 5)).verdict == "pass"
    one = of_classes({3: 10})
    assert one.verdict == "inconclusive"
    assert "'class 3'" in checked(one, "max-class-drop").message


def test_a_class_fails_with_its_share_of_the_error() -> None:
    """23 of 500 lost is over 3 points at 95 %, yet one of ten classes is so easily by chance; 28 are too many."""
    assert of_classes({3: 23}, 500).verdict == "inconclusive"
    alone = judged(Limits(max_drop=3), {"images": 500, "hits": 500, "lost": 23, "gained": 0})
    assert alone.verdict == "fail"
    failed = of_classes({3: 28, 4: 30}, 500)
    assert failed.verdict == "fail"
    message = checked(failed, "max-class-drop").message
    assert "'class 4'" in message
    assert "1 more classes fail" in message


def test_images_of_a_class_that_settle_it() -> None:
    check = checked(of_classes({3: 10}), "max-class-drop")
    assert check.images is not None
    assert check.images > 500
    assert f"{check.images:,} images of it" in check.message


def test_a_class_without_images_never_passes() -> None:
    labels, baseline, other = outcome(classes=9)
    both = predictions(labels, {FLOAT: baseline, INT8: other})
    result = judge(report(both), Limits(max_class_drop=50))
    assert checked(result, "max-class-drop").verdict == "inconclusive"
    assert "'class 9'" in checked(result, "max-class-drop").message
    without = judge(report(both), Limits())
    assert without.verdict == "pass"
    assert any("'class 9'" in note and "partial" in note for note in without.notes)


# Agreement


@pytest.mark.parametrize(("least", "verdict"), [(98, "pass"), (99.2, "inconclusive"), (99.9, "fail"), (100, "fail")])
def test_min_agreement(least: float, verdict: str) -> None:
    result = judged(Limits(min_agreement=least))
    check = checked(result, "min-agreement")
    assert check.verdict == verdict
    assert (check.images is not None) == (verdict == "inconclusive")
    assert "99.10 %" in check.message


def test_full_agreement_is_no_proof_of_it() -> None:
    check = checked(judged(Limits(min_agreement=100), {"lost": 0, "gained": 0}), "min-agreement")
    assert check.verdict == "inconclusive"


# Latency and size


@pytest.mark.parametrize(
    ("most", "noisy", "verdict"),
    [
        (12, False, "pass"),
        (12, True, "pass"),
        (10, False, "inconclusive"),
        (8, False, "fail"),
        (8, True, "inconclusive"),
        (11, False, "inconclusive"),
    ],
)
def test_max_latency(most: float, noisy: bool, verdict: str) -> None:
    result = judged(Limits(max_latency_ms=most), latency=latency(10, 9, 11), noisy=noisy)
    assert checked(result, "max-latency-ms").verdict == verdict


SPEEDUP = Speedup(ratio=2.0, low=1.8, high=2.2)


@pytest.mark.parametrize(
    ("least", "changes", "verdict"),
    [
        (1.5, {"speedup": SPEEDUP}, "pass"),
        (1.8, {"speedup": SPEEDUP}, "inconclusive"),
        (2.0, {"speedup": SPEEDUP}, "inconclusive"),
        (2.5, {"speedup": SPEEDUP}, "fail"),
        (1.5, {"speedup": SPEEDUP, "noisy": True}, "inconclusive"),
        (1.5, {"speedup": SPEEDUP, "noisy": None}, "inconclusive"),
        (0.0, {"speedup": None, "noisy": True}, "inconclusive"),
        (0.0, {"speedup": None}, "inconclusive"),
    ],
)
def test_min_speedup(least: float, changes: dict[str, Any], verdict: str) -> None:
    assert checked(judged(Limits(min_speedup=least), **changes), "min-speedup").verdict == verdict


@pytest.mark.parametrize(("most", "verdict"), [(21.2, "pass"), (21.199, "fail"), (25, "pass")])
def test_max_size(most: float, verdict: str) -> None:
    assert checked(judged(Limits(max_size_mb=most)), "max-size-mb").verdict == verdict


@pytest.mark.parametrize("limit", ["max_latency_ms", "min_speedup"])
def test_what_was_not_measured_never_passes(limit: str) -> None:
    result = judged(Limits(**{limit: 0.0 if limit == "min_speedup" else 1e9}), latency=None, noisy=None)
    assert result.verdict == "inconclusive"


# The whole


def two(verdicts: tuple[int, int]) -> GateResult:
    """Two artifacts that lose so many of 4,000 images."""
    labels, baseline, _ = outcome()
    others = [outcome(lost=lost, gained=0)[2] for lost in verdicts]
    return judge(report(predictions(labels, {FLOAT: baseline, INT8: others[0], TFLITE: others[1]})), Limits())


@pytest.mark.parametrize(
    ("lost", "verdict", "code"),
    [((10, 10), "pass", 0), ((10, 35), "inconclusive", 5), ((100, 35), "fail", 4), ((100, 10), "fail", 4)],
)
def test_the_worst_artifact_decides(lost: tuple[int, int], verdict: str, code: int) -> None:
    for order in (lost, lost[::-1]):
        result = two(order)
        assert (result.verdict, result.exit_code) == (verdict, ExitCode(code))


def test_the_worst_limit_decides() -> None:
    assert judged(Limits(max_size_mb=1)).verdict == "fail"
    assert judged(Limits(max_size_mb=1), noisy=True).verdict == "fail"
    assert judged(Limits(min_speedup=1)).verdict == "inconclusive"


def test_float_twins_are_not_judged() -> None:
    labels, baseline, other = outcome()
    bad = outcome(lost=2000)[2]
    result = judge(report(predictions(labels, {FLOAT: baseline, "net.fp16.onnx": bad, INT8: other})), Limits())
    assert [judgement.path.name for judgement in result.results] == [INT8]
    assert result.verdict == "pass"


def test_nothing_to_judge() -> None:
    labels, baseline, other = outcome()
    with pytest.raises(DataError, match="no INT8"):
        judge(report(predictions(labels, {FLOAT: baseline, "net.fp16.onnx": other})), Limits())


@pytest.mark.parametrize(
    "counts",
    [
        {"images": 1000, "hits": 100, "lost": 0, "gained": 0},
        {"images": 1000, "hits": 110, "lost": 2, "gained": 2},
        {"images": 4000, "hits": 0, "lost": 0, "gained": 0},
        {"images": 1, "hits": 1, "lost": 0, "gained": 0},
        {"images": 1, "hits": 1, "lost": 1, "gained": 0},
    ],
)
def test_a_baseline_no_better_than_chance_never_passes(counts: dict[str, int]) -> None:
    result = judged(Limits(max_drop=50), counts)
    assert result.verdict == "inconclusive"
    assert checked(result, "max-drop").images is None


def test_one_class_only_never_passes() -> None:
    result = judged(Limits(max_drop=50), {"classes": 1, "hits": 4000, "lost": 0, "gained": 0})
    assert result.verdict == "inconclusive"
    assert "one class" in checked(result, "max-drop").message


def test_unreadable_images_are_told() -> None:
    full = report(found())
    partial = full.model_copy(update={"data": full.data.model_copy(update={"unreadable": 3})})
    assert judge(partial, Limits()).notes == ("3 images could not be read and are not judged.",)


# Limits


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf, -0.1])
@pytest.mark.parametrize("name", Limits.__dataclass_fields__)
def test_limits_are_numbers(name: str, value: float) -> None:
    with pytest.raises(UsageError, match=name.replace("_", "-")):
        Limits(**{name: value})


@pytest.mark.parametrize("name", ["max_drop", "max_class_drop", "min_agreement"])
def test_percentages_end_at_100(name: str) -> None:
    Limits(**{name: 100})
    with pytest.raises(UsageError, match="100"):
        Limits(**{name: 100.5})


# Files


def test_a_directory_stands_for_its_report(tmp_path: Path) -> None:
    file = write_outcome(tmp_path / "out")
    assert gate(file) == gate(file.parent)
    assert gate(file).results[0].path == tmp_path / "out" / INT8
    assert gate(file).against == FLOAT


@pytest.mark.parametrize("name", [INT8, FLOAT])
def test_an_artifact_that_was_changed_is_refused(tmp_path: Path, name: str) -> None:
    file = write_outcome(tmp_path)
    (tmp_path / name).write_bytes(b"another")
    with pytest.raises(DataError, match=name):
        gate(file)


def test_an_artifact_that_is_the_same_is_not(tmp_path: Path) -> None:
    file = write_outcome(tmp_path)
    (tmp_path / INT8).write_bytes(INT8.encode())  # of which the helper made the hash
    assert gate(file).verdict == "pass"


def test_a_baseline_from_elsewhere_is_not_looked_for(tmp_path: Path) -> None:
    labels, baseline, other = outcome()
    both = predictions(labels, {"models/net.fp32.onnx": baseline, INT8: other})
    (tmp_path / "models").mkdir()
    (tmp_path / "models/net.fp32.onnx").write_bytes(b"another")
    assert gate(write(tmp_path, both)).verdict == "pass"


# Against an earlier release


def releases(folder: Path, new: Predictions, old: Predictions) -> tuple[Path, Path]:
    return write(folder / "new", new), write(folder / "old", old)


def release(lost: int = 20, gained: int = 16, images: int = 4000) -> Predictions:
    return found(lost=lost, gained=gained, images=images)


def test_the_earlier_artifact_stands_for_the_float_model(tmp_path: Path) -> None:
    """The new release loses no more than the old; to the float model both lose more than a point."""
    new, old = releases(tmp_path, release(lost=80), release(lost=80))
    assert gate(new, Limits(max_drop=1)).verdict == "fail"
    result = gate(new, Limits(max_drop=1), old)
    assert result.verdict == "pass"
    assert result.against == str(old)
    comparison = result.results[0].comparison
    assert comparison is not None
    assert (comparison.lost, comparison.gained, comparison.images) == (0, 0, 4000)


def test_a_release_worse_than_the_last_fails(tmp_path: Path) -> None:
    new, old = releases(tmp_path, release(lost=120, gained=0), release(lost=0, gained=120))
    assert gate(new, Limits(max_drop=4), old.parent).verdict == "fail"


def test_only_shared_images_count(tmp_path: Path) -> None:
    """Of 4,000 images the earlier release saw the first 3,000 and the new one the last 3,000, in another order."""
    random = np.random.default_rng(0)
    labels = random.integers(0, 10, 4000)
    said = [np.where(random.random(4000) < share, labels, random.integers(0, 10, 4000)) for share in (0.9, 0.9, 0.85)]
    order = 1000 + random.permutation(3000)
    new = predictions(labels[order], {FLOAT: said[0][order], INT8: said[2][order]}, contents=order.tolist())
    old = predictions(labels[:3000], {FLOAT: said[0][:3000], INT8: said[1][:3000]})
    files = releases(tmp_path, new, old)
    result = gate(files[0], Limits(), files[1])
    right = [each[1000:3000] == labels[1000:3000] for each in said]
    comparison = result.results[0].comparison
    assert comparison is not None
    assert comparison.images == 2000
    assert comparison.lost == int((right[1] & ~right[2]).sum())
    assert comparison.gained == int((right[2] & ~right[1]).sum())
    assert any("the 2,000 images that both releases saw" in note for note in result.notes)


def test_no_shared_image(tmp_path: Path) -> None:
    labels, baseline, other = outcome()
    said = {FLOAT: baseline, INT8: other}
    new, old = releases(
        tmp_path, predictions(labels, said), predictions(labels, said, contents=[f"x{i}" for i in range(4000)])
    )
    with pytest.raises(DataError, match="no image in common"):
        gate(new, Limits(), old)


def test_copies_of_an_image_go_with_copies(tmp_path: Path) -> None:
    """Three copies of one image in the new set and two in the old are two shared images."""
    labels, baseline, other = outcome()
    labels, baseline, other = (np.concatenate([column[:1], column[:1], column]) for column in (labels, baseline, other))
    said = {FLOAT: baseline, INT8: other}
    new = predictions(labels, said, contents=[0, 0, *range(4000)])
    old = predictions(labels[1:], {model: column[1:] for model, column in said.items()}, contents=[0, *range(4000)])
    files = releases(tmp_path, new, old)
    for first, second in (files, files[::-1]):
        comparison = gate(first, Limits(), second).results[0].comparison
        assert comparison is not None
        assert (comparison.images, comparison.lost) == (4001, 0)


def test_classes_go_by_name(tmp_path: Path) -> None:
    """The old report has the classes in another order, and one that the new one has not."""
    names = [f"class {index}" for index in range(10)]
    old = release(lost=30, gained=10)
    said = {model: 10 - columns.top1 for model, columns in old.of.items()}
    turned = predictions(10 - old.labels, said, class_names=["extra", *reversed(names)])
    files = releases(tmp_path, release(lost=40, gained=10), turned)
    result = gate(files[0], Limits(), files[1])
    comparison = result.results[0].comparison
    assert comparison is not None
    assert (comparison.lost, comparison.gained) == (10, 0)
    assert [each.name for each in comparison.classes] == [*names, "extra"]


def test_images_of_another_label_are_refused(tmp_path: Path) -> None:
    old = release()
    labels = old.labels.copy()
    labels[7] = (labels[7] + 1) % 10
    new, earlier = releases(tmp_path, release(), replace(old, labels=labels))
    with pytest.raises(DataError, match="label the same images differently"):
        gate(new, Limits(), earlier)


def test_kinds_go_together_whatever_the_names(tmp_path: Path) -> None:
    labels, baseline, other = outcome()
    good, bad = outcome(lost=0, gained=0)[2], outcome(lost=200, gained=0)[2]
    old = predictions(labels, {"v1.fp32.onnx": baseline, "v1.int8.tflite": bad, "v1.int8.onnx": good})
    files = releases(tmp_path, predictions(labels, {FLOAT: baseline, INT8: other, TFLITE: other}), old)
    onnx, tflite = gate(files[0], Limits(), files[1]).results
    assert onnx.comparison is not None
    assert tflite.comparison is not None
    assert (onnx.comparison.lost, tflite.comparison.lost) == (20, 0)


@pytest.mark.parametrize("kinds", [[TFLITE], [INT8, "other.int8.onnx"]])
def test_an_artifact_without_a_counterpart_never_passes(tmp_path: Path, kinds: list[str]) -> None:
    labels, baseline, other = outcome()
    old = predictions(labels, {FLOAT: baseline, **dict.fromkeys(kinds, other)})
    files = releases(tmp_path, release(), old)
    result = gate(files[0], Limits(max_class_drop=50, min_agreement=1), files[1])
    assert {check.verdict for check in result.results[0].checks} == {"inconclusive"}
    assert result.results[0].comparison is None


def test_a_missing_file_of_predictions(tmp_path: Path) -> None:
    files = releases(tmp_path, release(), release())
    (files[1].parent / PREDICTIONS_NAME).unlink()
    with pytest.raises(DataError, match="is missing"):
        gate(files[0], Limits(), files[1])
    assert gate(files[1]).verdict == "pass"


def test_predictions_of_another_report_are_refused(tmp_path: Path) -> None:
    files = releases(tmp_path, release(), release(lost=3))
    (files[0].parent / PREDICTIONS_NAME).write_bytes((files[1].parent / PREDICTIONS_NAME).read_bytes())
    with pytest.raises(DataError, match="not the file"):
        gate(files[0], Limits(), files[1])


SPOILED: dict[str, Callable[[Predictions], Predictions]] = {
    "fewer hits": lambda new: replace(new, labels=np.roll(new.labels, 1)),
    "other models": lambda new: replace(
        new, about=replace(new.about, models=(FLOAT, TFLITE)), of={FLOAT: new.of[FLOAT], TFLITE: new.of[INT8]}
    ),
    "other classes": lambda new: replace(new, about=replace(new.about, class_names=tuple("abcdefghij"))),
}


@pytest.mark.parametrize("kind", SPOILED)
def test_predictions_that_contradict_the_report_are_refused(tmp_path: Path, kind: str) -> None:
    """Even if the report names their hash."""
    new, old = releases(tmp_path, release(), release())
    beside = new.parent / PREDICTIONS_NAME
    SPOILED[kind](load_predictions(beside)).save(beside)
    edit(new, "predictions", value=file_record(beside).sha256)
    with pytest.raises(DataError, match="do not follow"):
        gate(new, Limits(), old)


def test_an_edited_count_is_refused(tmp_path: Path) -> None:
    file = write_outcome(tmp_path, lost=200)
    edit(file, "artifacts", 0, "comparison", "classes", 0, "lost", value=0)
    with pytest.raises(DataError):
        gate(file)
