"""``edgex reproduce`` as a user runs it, and that the same command gives the same bytes."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from command import edgex, refused

from edgex.errors import ExitCode
from edgex.manifest import file_record
from edgex.resources import demo_model

FEW = ("--calib", "digits", "--calib-count", 8)
DEMO = ("--calib", "digits")


def changed(directory: Path, change: Callable[[Any], object]) -> None:
    """Edit the manifest."""
    file = directory / "manifest.json"
    document = json.loads(file.read_text())
    change(document)
    file.write_text(json.dumps(document))


@pytest.fixture
def project(folder: Path, project: Path) -> Path:
    """A copy of the demo's, to be changed."""
    shutil.copytree(project / "out", folder / "out")
    return folder


def test_a_directory_is_made_again(project: Path) -> None:
    outcome = edgex("-q", "reproduce", "out", "demo", *DEMO, cwd=project)
    assert outcome.code == 0, outcome.err
    assert outcome.out == "out is made again, bit by bit\n"
    assert {path.name for path in project.iterdir()} == {".git", "out"}
    document = edgex("reproduce", "out", "demo", *DEMO, "--json", cwd=project).document
    assert document == {
        "schema": "edgex.reproduce/1",
        "directory": "out",
        "identical": True,
        "problems": [],
        "changed": [],
    }


@pytest.mark.parametrize(
    "options",
    [
        ("--target", "cpu", "--arch", "arm", "--method", "minmax", "--io", "int8"),
        ("--target", "jetson", "--jetpack", "4.6.1", "--keep-float", "block2", "--calib-seed", 3),
        ("--target", "gpu-desktop", "--resize", "pad", "--input-size", 32, "--preprocess", "none", "--cross-layer"),
    ],
)
def test_by_the_options_of_then(options: tuple[object, ...], folder: Path) -> None:
    made = edgex("-q", "quantize", "demo", *FEW, "-o", "out", *options, cwd=folder)
    assert made.code == 0, made.err
    outcome = edgex("-q", "reproduce", "out", "demo", *DEMO, cwd=folder)
    assert outcome.code == 0, outcome.out + outcome.err


def test_what_was_exported_needs_no_images(folder: Path) -> None:
    assert edgex("export", "demo", "--target", "jetson", "--input-size", 40, "-o", "out", cwd=folder).code == 0
    outcome = edgex("reproduce", "out", "demo", cwd=folder)
    assert outcome.code == 0, outcome.out + outcome.err


def test_another_baseline_is_part_of_it(folder: Path) -> None:
    shutil.copy(demo_model(), folder / "before.keras")
    options = ("--target", "cpu", "--baseline", "before.keras", "-o", "out")
    assert edgex("quantize", "demo", *FEW, *options, cwd=folder).code == 0
    again = ("reproduce", "out", "demo", *DEMO)
    refused(edgex(*again, cwd=folder), ExitCode.USAGE, "--baseline is missing: it was before.keras")
    assert edgex(*again, "--baseline", "before.keras", cwd=folder).code == 0


def test_a_target_of_ones_own_is_asked_for(folder: Path) -> None:
    from edgex.resources import targets_dir

    text = (targets_dir() / "cpu.toml").read_text().replace('name = "cpu"', 'name = "mine"')
    (folder / "mine.toml").write_text(text)
    assert edgex("quantize", "demo", *FEW, "--target", "mine.toml", "-o", "out", cwd=folder).code == 0
    refused(edgex("reproduce", "out", "demo", *DEMO, cwd=folder), ExitCode.RUNTIME_MISSING, "no target 'mine'")
    assert edgex("reproduce", "out", "demo", *DEMO, "--target", "mine.toml", cwd=folder).code == 0
    refused(edgex("reproduce", "out", "demo", *DEMO, "--target", "cpu.toml", cwd=folder), ExitCode.USAGE, "cpu.toml")


def test_what_differs_is_named(project: Path) -> None:
    def other(document: Any) -> None:
        document["artifacts"][0]["sha256"] = "0" * 64
        document["files"] = [{"name": "more.json", "bytes": 1, "sha256": "0" * 64}]
        document["versions"]["numpy"] = "1.0"

    changed(project / "out", other)
    outcome = edgex("-q", "reproduce", "out", "demo", *DEMO, cwd=project)
    assert outcome.code == ExitCode.INPUT_OUTPUT
    assert "xception-digits.int8.onnx came out otherwise\n" in outcome.out
    assert "more.json was not written this time\n" in outcome.out
    assert "plan.json was not written then\n" in outcome.out
    assert "numpy was 1.0 then, and is " in outcome.out
    assert outcome.out.endswith("out: 3 files differ\n")


def test_other_inputs_are_refused_before_the_work(project: Path) -> None:
    model = project / "xception-digits.keras"
    model.write_bytes(demo_model().read_bytes() + b" ")
    message = refused(edgex("reproduce", "out", model.name, *DEMO, cwd=project), ExitCode.USAGE, "SHA-256")
    assert "xception-digits.keras is not the xception-digits.keras of then" in message
    refused(edgex("reproduce", "out", cwd=project), ExitCode.USAGE, "MODEL is missing")
    refused(edgex("reproduce", "out", "demo", cwd=project), ExitCode.USAGE, "--calib is missing")
    changed(project / "out", lambda document: document["data"].update(fingerprint="0" * 64))
    refused(edgex("reproduce", "out", "demo", *DEMO, cwd=project), ExitCode.USAGE, "The images of digits are not those")


def test_a_measurement_cannot_be_made_again(project: Path) -> None:
    def to_latency(document: Any) -> None:
        document["recipe"]["prune"] = {"method": "channels", "latency": 0.5}

    changed(project / "out", to_latency)
    refused(edgex("reproduce", "out", "demo", *DEMO, cwd=project), ExitCode.INPUT_OUTPUT, "cannot be followed")
    training = {"epochs": 2, "batch": 32, "learning_rate": None, "augment": "shift", "seed": 0}
    whole = {"sparsity": None, "importance": "taylor", "steps": 2, "force": False, "train": training}
    changed(project / "out", lambda document: document["recipe"]["prune"].update(whole))
    refused(edgex("reproduce", "out", "demo", *DEMO, cwd=project), ExitCode.USAGE, "0.5 of a latency")


@pytest.mark.parametrize(
    "recipe", [{"method": "other"}, {"method": 3}, {"calib_count": "many"}, {"of_tomorrow": 1}, {"input_size": []}]
)
def test_a_recipe_that_is_not_understood(recipe: dict[str, object], project: Path) -> None:
    changed(project / "out", lambda document: document["recipe"].update(recipe))
    outcome = edgex("reproduce", "out", "demo", *DEMO, cwd=project)
    refused(outcome, ExitCode.INPUT_OUTPUT, "The recipe in the manifest of out cannot be followed")


def test_threads_that_are_none(project: Path) -> None:
    changed(project / "out", lambda document: document["training"].update(threads="many"))
    outcome = edgex("reproduce", "out", "demo", *DEMO, "--train", "digits", cwd=project)
    refused(outcome, ExitCode.INPUT_OUTPUT, "The recipe in the manifest of out cannot be followed")


def test_ten_runs_give_the_same_bytes(project: Path) -> None:
    """Wherever they run, by however many threads, whatever Python hashes strings to; the manifest too."""
    expected = {path.name: file_record(path).sha256 for path in (project / "out").iterdir()}
    for number in range(10):
        folder = project / f"run {number}"
        folder.mkdir()
        arguments = ("demo", "--target", "cpu", "--calib", "digits", "--calib-count", 40, "-o", "out")
        threads = ("--threads", 1 + number % 4)
        seed = {"PYTHONHASHSEED": str(number), "TZ": f"UTC{number}", "LC_ALL": "C" if number % 2 else "C.UTF-8"}
        outcome = edgex("quantize", *arguments, *threads, cwd=folder, **seed)
        assert outcome.code == 0, outcome.err
        assert {path.name: file_record(path).sha256 for path in (folder / "out").iterdir()} == expected, number
