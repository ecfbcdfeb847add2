"""A run does what has changed, and finds the rest; as the Python functions do it."""

import json
import os
import shutil
import zipfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

import edgex
from edgex.api import Limits, QuantizeOptions, Recipe, ValidateOptions, gate, load_target, run
from edgex.errors import OutputError, UsageError
from edgex.manifest import verify
from edgex.output import locked
from edgex.resources import demo_model, digits_file
from edgex.run import RunReport
from edgex.run.ledger import LEDGER_SCHEMA, Ledger
from edgex.train.loop import TrainOptions

FAST = ValidateOptions(latency=False, threads=1)
FEW = QuantizeOptions(calib_count=8)


def recipe_in(folder: Path, **changes: Any) -> Recipe:
    """For the demo, into ``folder/out``."""
    parts = {"calib": "digits", "data": "digits", "quantize": FEW, "validate": FAST}
    return Recipe(**{"model": demo_model(), "target": load_target("cpu"), "output": folder / "out", **parts, **changes})


def found(report: RunReport) -> list[bool]:
    """Whether each stage was found done."""
    assert [stage.name for stage in report.stages] == ["quantize", "validate", "gate"]
    return [stage.cached for stage in report.stages]


def written(folder: Path) -> dict[str, int]:
    """When each file of the output was."""
    return {file.name: file.stat().st_mtime_ns for file in (folder / "out").iterdir()}


def ledger_file(folder: Path) -> Path:
    return folder / ".out.stages" / "run.json"


@pytest.fixture(scope="module")
def first(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, RunReport]:
    """A folder in which the demo was run, and how that went. Not to be changed."""
    folder = tmp_path_factory.mktemp("first")
    return folder, run(recipe_in(folder))


@pytest.fixture
def done(first: tuple[Path, RunReport], tmp_path: Path) -> Path:
    """A copy of that folder."""
    return shutil.copytree(first[0], tmp_path / "done")


@pytest.fixture
def digits_zip(tmp_path: Path) -> Path:
    return save_digits(tmp_path / "digits.zip", 40)


def save_digits(file: Path, count: int) -> Path:
    """The first test images, in class folders."""
    with np.load(digits_file()) as digits, zipfile.ZipFile(file, "w") as archive:
        for index in np.flatnonzero(digits["split"] == "test")[:count]:
            with archive.open(f"{digits['y'][index]}/{index}.png", "w") as stream:
                Image.fromarray(digits["x"][index, ..., 0]).save(stream, "PNG")
    return file


# What is done, and what is found


def test_the_first_run_does_all(first: tuple[Path, RunReport]) -> None:
    folder, report = first
    assert found(report) == [False, False, False]
    assert all(stage.seconds > 0 for stage in report.stages)
    assert verify(folder / "out") == []
    assert report.verdict == gate(folder / "out")
    assert report.verdict.verdict == "pass"
    assert report.validation.report.data.images == 500
    assert any("Only 8 calibration images" in warning for warning in report.warnings)
    assert sorted(file.name for file in folder.iterdir()) == [".out.stages", "out"]


def test_the_second_finds_all(first: tuple[Path, RunReport], done: Path) -> None:
    before, state = written(done), ledger_file(done).read_bytes()
    calls: list[str] = []
    report = run(recipe_in(done), lambda what, _done, _total: calls.append(what))
    assert found(report) == [True, True, False]
    assert calls == []
    assert written(done) == before
    assert ledger_file(done).read_bytes() == state
    assert report.warnings == first[1].warnings
    assert report.validation.report == first[1].validation.report
    assert replace(report.verdict, results=()) == replace(first[1].verdict, results=())


def test_other_limits_are_judged_without_measuring_again(done: Path) -> None:
    before = written(done)
    strict = recipe_in(done, validate=replace(FAST, limits=Limits(max_drop=0.05)))
    report = run(strict)
    assert found(report) == [True, True, False]
    assert report.verdict.verdict == "inconclusive"
    changed = {name for name, when in written(done).items() if before[name] != when}
    assert changed == {"report.html"}
    assert "0.05 are allowed" in (done / "out" / "report.html").read_text()
    before = written(done)
    run(strict)
    assert written(done) == before


def test_other_images_are_validated_on(done: Path, digits_zip: Path) -> None:
    before = written(done)
    report = run(recipe_in(done, data=digits_zip))
    assert found(report) == [True, False, False]
    assert report.validation.report.data.images == 40
    changed = {name for name, when in written(done).items() if before[name] != when}
    assert changed == {"report.html", "report.json", "predictions.npz"}


def test_a_new_option_quantizes_again(done: Path) -> None:
    report = run(recipe_in(done, quantize=replace(FEW, calib_count=9)))
    assert found(report) == [False, False, False]
    recipe = json.loads((done / "out" / "manifest.json").read_text())["recipe"]
    assert recipe["calib_count"] == 9


def test_a_changed_artifact_is_made_again(done: Path) -> None:
    with (done / "out" / "xception-digits.int8.tflite").open("ab") as file:
        file.write(b"!")
    assert found(run(recipe_in(done))) == [False, False, False]
    assert verify(done / "out") == []


def test_a_report_that_is_gone_or_changed_is_made_again(done: Path) -> None:
    report = done / "out" / "report.json"
    report.unlink()
    assert found(run(recipe_in(done))) == [True, False, False]
    report.write_text(report.read_text().replace('"noisy": null', '"noisy": true'))
    assert found(run(recipe_in(done))) == [True, False, False]
    (done / "out" / "report.html").unlink()
    assert found(run(recipe_in(done))) == [True, True, False]
    assert (done / "out" / "report.html").is_file()


def test_fresh_does_all_again(done: Path) -> None:
    kept = done / ".out.stages" / "quantize"
    kept.mkdir()
    (kept / "trained").touch()
    assert found(run(recipe_in(done), fresh=True)) == [False, False, False]
    assert not kept.exists()


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"{",
        b"\xff",
        b"[]",
        b'{"schema": "edgex.stages/1", "stages": {"a": 1}}',
        pytest.param(b"[" * 100_000, id="lists without end"),
    ],
)
def test_a_damaged_ledger_has_no_entries(content: bytes, tmp_path: Path) -> None:
    file = tmp_path / "run.json"
    file.write_bytes(content)
    ledger = Ledger(file, tmp_path)
    assert ledger.find("quantize", "key") is None
    ledger.keep("quantize", "key", [])
    assert Ledger(file, tmp_path).find("quantize", "key") is not None


def test_a_file_that_can_have_no_such_name_is_not_there(tmp_path: Path) -> None:
    file = tmp_path / "run.json"
    for name in ("a\\u0000", "x" * 300):
        entry = f'{{"quantize": {{"key": "key", "files": {{"{name}": "00"}}, "warnings": []}}}}'
        file.write_text(f'{{"schema": "{LEDGER_SCHEMA}", "stages": {entry}}}')
        assert Ledger(file, tmp_path).find("quantize", "key") is None


def test_a_ledger_of_another_version_is_not_believed(done: Path) -> None:
    file = ledger_file(done)
    file.write_text(file.read_text().replace(LEDGER_SCHEMA, "edgex.stages/0"))
    assert found(run(recipe_in(done))) == [False, False, False]
    assert found(run(recipe_in(done))) == [True, True, False]


def test_a_ledger_keeps_names_that_are_no_text(tmp_path: Path) -> None:
    odd = os.fsdecode(b"\xff.png")
    Ledger(tmp_path / "run.json", tmp_path).keep("quantize", "key", [], [f"{odd} is odd"])
    entry = Ledger(tmp_path / "run.json", tmp_path).find("quantize", "key")
    assert entry is not None
    assert entry.warnings == ("?.png is odd",)


def test_an_interrupted_run_goes_on_with_what_is_left(tmp_path: Path, digits_zip: Path) -> None:
    def interrupt(what: str, _done: int, _total: int) -> None:
        if what.startswith("evaluate"):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run(recipe_in(tmp_path, calib=digits_zip), interrupt)
    assert found(run(recipe_in(tmp_path, calib=digits_zip))) == [True, False, False]


# What is refused


def test_one_run_at_a_time(done: Path) -> None:
    with locked(ledger_file(done)), pytest.raises(OutputError, match=f"is being written by process {os.getpid()}"):
        run(recipe_in(done))


def test_images_that_are_missing_cost_no_work(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="nowhere does not exist"):
        run(recipe_in(tmp_path, data="nowhere"))
    assert list(tmp_path.iterdir()) == []


def test_places_that_cannot_be_written(tmp_path: Path) -> None:
    with pytest.raises(OutputError, match="out cannot be written"):
        run(recipe_in(tmp_path / "nowhere"))
    (tmp_path / "out").mkdir()
    with pytest.raises(OutputError, match="edgex did not write it"):
        run(recipe_in(tmp_path))


# What the artifacts follow from


def test_images_are_known_by_content(tmp_path: Path, digits_zip: Path) -> None:
    key = recipe_in(tmp_path, calib=digits_zip).quantize_key()
    moved = digits_zip.rename(tmp_path / "other.zip")
    os.utime(moved, (0, 0))
    assert recipe_in(tmp_path, calib=moved).quantize_key() == key
    fewer = save_digits(tmp_path / "fewer.zip", 39)
    assert recipe_in(tmp_path, calib=fewer).quantize_key() != key


def test_labels_are_part_of_images(tmp_path: Path) -> None:
    """Also names of classes that leave every index as it is."""
    Image.new("L", (8, 8)).save(tmp_path / "a.png")
    keys = set()
    for label in ("cat", "dog"):
        (tmp_path / "labels.csv").write_text(f"path,label\na.png,{label}\n")
        keys.add(recipe_in(tmp_path, calib=tmp_path / "labels.csv").quantize_key())
    assert len(keys) == 2


def keys_of_others(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[str, str]]:
    """What differs from the recipe of the tests above, and the key of that."""
    yield "nothing", recipe_in(folder).quantize_key()
    (folder / "other.keras").write_bytes(demo_model().read_bytes())
    yield "name of the model", recipe_in(folder, model=folder / "other.keras").quantize_key()
    with zipfile.ZipFile(folder / "other.keras", "a") as archive:
        archive.comment = b"!"
    yield "content of the model", recipe_in(folder, model=folder / "other.keras").quantize_key()
    yield "baseline", recipe_in(folder, baseline=folder / "other.keras").quantize_key()
    yield "target", recipe_in(folder, target=load_target("cpu", arch="arm")).quantize_key()
    yield "options", recipe_in(folder, quantize=replace(FEW, io="int8")).quantize_key()
    training = recipe_in(folder, train="digits", quantize=replace(FEW, qat=TrainOptions()))
    yield "training", training.quantize_key()
    yield "threads that train", replace(training, quantize=replace(training.quantize, threads=7)).quantize_key()
    monkeypatch.setattr(edgex, "__version__", "9.9")
    yield "version", recipe_in(folder).quantize_key()


def test_each_input_changes_the_key(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    keys = list(keys_of_others(tmp_path, monkeypatch))
    assert len({key for _, key in keys}) == len(keys), keys


def test_threads_that_do_not_train_change_nothing(tmp_path: Path) -> None:
    """And neither does the place of the output."""
    one, two = (recipe_in(tmp_path, quantize=replace(FEW, threads=threads)).quantize_key() for threads in (1, 2))
    assert one == two
    assert recipe_in(tmp_path / "elsewhere").quantize_key() == recipe_in(tmp_path).quantize_key()


def test_each_option_of_validate_changes_its_key(first: tuple[Path, RunReport]) -> None:
    folder, _ = first
    changes = {"max_bad": 1, "runtime": "onnxruntime", "threads": 2, "latency": True, "seconds": 9.0}
    key = recipe_in(folder).validate_key()
    others = {
        name: recipe_in(folder, validate=replace(FAST, **{name: value})).validate_key()
        for name, value in changes.items()
    }
    assert len({key, *others.values()}) == 1 + len(changes), others
    assert recipe_in(folder, validate=replace(FAST, limits=Limits(max_drop=9))).validate_key() == key


def test_a_new_sensitivity_is_part_of_the_report(done: Path) -> None:
    key = recipe_in(done).validate_key()
    (done / "out" / "sensitivity.json").write_text("{}")
    assert recipe_in(done).validate_key() != key
