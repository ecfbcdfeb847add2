"""What the gate reads: reports, the artifacts beside them, and the predictions of an earlier release."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from reports import FLOAT, INT8, edit, outcome, predictions, write, write_outcome

from edgex.errors import DataError
from edgex.gate import Limits, gate
from edgex.manifest import file_record
from edgex.predictions import PREDICTIONS_NAME, Predictions, load_predictions

TFLITE = "net.int8.tflite"


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
    labels, baseline, other = outcome(lost=lost, gained=gained, images=images)
    return predictions(labels, {FLOAT: baseline, INT8: other})


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
