"""``edgex run`` as a user runs it, and what ``edgex.toml`` says to it."""

import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from command import Outcome, edgex, refused
from reports import write_outcome

from edgex.cli.run import configured_recipe
from edgex.config import Config
from edgex.errors import ExitCode
from edgex.gate import Limits
from edgex.pipeline import QuantizeOptions
from edgex.resources import demo_model, digits_file
from edgex.run import Recipe
from edgex.target import load_target
from edgex.validate import ValidateOptions

DEMO = {"model": "demo", "target": "cpu", "calib": "digits", "data": "digits"}
QUICK = {"calib_count": 8, "threads": 1, "seconds": 0.1, "output": "out"}
TRAINED = {"mode": "qat", "train": "digits"}
PRUNED = {"prune": "channels", "train": "digits"}


def say(folder: Path, **keys: object) -> None:
    """Write an ``edgex.toml``."""
    (folder / "edgex.toml").write_text("".join(f"{key} = {json.dumps(value)}\n" for key, value in keys.items()))


def run(folder: Path, *options: object, **variables: str) -> Outcome:
    return edgex("run", *options, cwd=folder, **{"GITHUB_ACTIONS": "", **variables})


@pytest.fixture(scope="module")
def first(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Outcome]:
    """A project in which the demo was run, and what that said. Not to be changed."""
    folder = tmp_path_factory.mktemp("run")
    (folder / ".git").mkdir()
    say(folder, **DEMO, **QUICK)
    return folder, run(folder)


@pytest.fixture
def done(first: tuple[Path, Outcome], tmp_path: Path) -> Path:
    """A copy of that project."""
    return shutil.copytree(first[0], tmp_path / "done")


# What it says


def test_the_first_run(first: tuple[Path, Outcome]) -> None:
    folder, outcome = first
    assert outcome.code == 0, outcome.err
    for words in ("quantize", "validate", "done", "int8.onnx", "max-drop", "500 images", "Look at out/report.html"):
        assert words in outcome.out
    assert "found" not in outcome.out
    assert outcome.out.count("The drop is") == 2, "once for each INT8 file"
    assert "Only 8 calibration images" in outcome.err
    assert edgex("verify", "out", cwd=folder).code == 0


def test_the_second_run(first: tuple[Path, Outcome]) -> None:
    folder, outcome = first
    again = run(folder)
    assert again.code == 0, again.err
    assert again.out.count("found") == 2
    assert again.out.split("file")[1] == outcome.out.split("file")[1], "the same tables"
    assert "Only 8 calibration images" in again.err
    assert "…" not in again.err, "nothing is done, so there is no progress to show"


def test_document(first: tuple[Path, Outcome]) -> None:
    folder, _ = first
    document = run(folder, "--json").document
    judged = edgex("gate", "out", "--json", cwd=folder).document
    own = {"schema", "directory", "page", "stages", "warnings"}
    assert {key: value for key, value in document.items() if key not in own} == {
        key: value for key, value in judged.items() if key != "schema"
    }
    assert document["schema"] == "edgex.run/1"
    assert (document["directory"], document["page"]) == ("out", "out/report.html")
    assert [(stage["name"], stage["cached"]) for stage in document["stages"]] == [
        ("quantize", True),
        ("validate", True),
        ("gate", False),
    ]
    assert all(stage["seconds"] > 0 for stage in document["stages"])


@pytest.mark.parametrize(
    ("limits", "code"),
    [({"max_size_mb": 0.001}, ExitCode.GATE_FAILED), ({"max_drop": 0.05}, ExitCode.INCONCLUSIVE)],
)
def test_the_exit_code_is_the_gates(done: Path, limits: dict[str, float], code: ExitCode) -> None:
    say(done, **DEMO, **QUICK, **limits)
    outcome = run(done, "--json")
    assert outcome.code == code
    assert [stage["cached"] for stage in outcome.document["stages"]] == [True, True, False]
    assert outcome.document["limits"].items() >= limits.items()
    assert edgex("gate", "out", cwd=done).code == code
    assert run(done).out.rstrip().splitlines()[-2] == outcome.document["verdict"]


def test_fresh(done: Path) -> None:
    """It quantizes again, unless what calibration is to see would measure nothing."""
    with np.load(digits_file()) as digits:
        seen = digits["split"] == "calibration"
        np.savez(done / "seen.npz", x=digits["x"][seen], y=digits["y"][seen])
    artifact = done / "out" / "xception-digits.int8.onnx"
    before = artifact.stat().st_mtime_ns
    for options in ((), ("--fresh",)):
        say(done, **{**DEMO, "data": "seen.npz"}, **QUICK)
        refused(run(done, *options), ExitCode.USAGE, "calibrated with")
        assert artifact.stat().st_mtime_ns == before
    say(done, **DEMO, **QUICK)
    assert run(done, "--fresh").code == 0
    assert artifact.stat().st_mtime_ns > before


def test_in_github_actions(first: tuple[Path, Outcome]) -> None:
    folder, _ = first
    lines = run(folder, GITHUB_ACTIONS="true").out.splitlines()
    assert lines[0].startswith("::stop-commands::")
    assert lines[-1].startswith("::notice title=edgex gate::")


def test_what_it_needs(folder: Path) -> None:
    refused(run(folder), ExitCode.USAGE, "no edgex.toml", "edgex init", "model, target, calib, data")
    say(folder, model="demo", target="cpu")
    refused(run(folder), ExitCode.USAGE, "edgex.toml has no calib and no data", "Set calib, data")
    say(folder, **DEMO, mode="qat")
    refused(run(folder), ExitCode.USAGE, "train", "edgex.toml")
    say(folder, **DEMO, max_drop=101)
    refused(run(folder), ExitCode.USAGE, "--max-drop 101", "from 0 to 100")
    say(folder, **DEMO, prune="2:4", train="digits")
    refused(run(folder), ExitCode.USAGE, "On cpu", 'Prune with prune = "channels"', "force = true, in edgex.toml.")
    say(folder, **DEMO, prune="2:4", force=True, train="gone.zip")
    refused(run(folder), ExitCode.USAGE, "gone.zip")
    shutil.rmtree(folder / ".xception-digits-cpu.stages")
    (folder / "edgex.toml").unlink()
    (folder / "pyproject.toml").write_text('[tool.edgex]\nmodel = "demo"\ntarget = "cpu"\ncalib = "digits"\n')
    refused(run(folder), ExitCode.USAGE, "pyproject.toml has no tool.edgex.data")
    assert {path.name for path in folder.iterdir()} == {".git", "pyproject.toml"}


# What edgex.toml says


def configured(folder: Path, **keys: object) -> Recipe:
    say(folder, **{**DEMO, **keys})
    return configured_recipe()


@pytest.fixture
def here(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(folder)
    return folder


def test_what_is_not_said_is_as_the_commands_have_it(here: Path) -> None:
    assert configured(here) == Recipe(
        model=demo_model(),
        target=load_target("cpu"),
        calib="digits",
        data="digits",
        output=Path("xception-digits-cpu"),
        train=None,
        quantize=QuantizeOptions(),
        validate=ValidateOptions(),
    )


CHANGES: dict[str, tuple[object, dict[str, str]]] = {
    "model": ("other.keras", {}),
    "target": ("gpu-desktop", {}),
    "arch": ("arm", {}),
    "jetpack": ("5.1.2", {"target": "jetson"}),
    "output": ("elsewhere", {}),
    "calib": ("calib.zip", {}),
    "calib_count": (9, {}),
    "calib_seed": (1, {}),
    "method": ("minmax", {}),
    "budget": (1.5, {}),
    "cross_layer": (True, {}),
    "weight_bits": (4, {}),
    "rounding": ("learned", {}),
    "correct_bias": (True, {}),
    "keep_float": ("^block1_", {}),
    "io": ("int8", {}),
    "data": ("val.zip", {}),
    "preprocess": ("none", {}),
    "resize": ("crop", {}),
    "input_size": (64, {}),
    "max_bad": (3, {}),
    "prune": ("channels", {"train": "digits"}),
    "sparsity": (0.25, PRUNED),
    "prune_latency": (0.6, PRUNED),
    "importance": ("norm", PRUNED),
    "prune_steps": (3, PRUNED),
    "prune_epochs": (5, PRUNED),
    "force": (True, PRUNED),
    "baseline": ("before.keras", {}),
    "mode": ("qat", {"train": "digits"}),
    "train": ("train.zip", TRAINED),
    "epochs": (7, TRAINED),
    "batch": (8, TRAINED),
    "learning_rate": (1e-4, TRAINED),
    "augment": ("flip", TRAINED),
    "train_seed": (3, TRAINED),
    "threads": (3, {}),
    "seconds": (0.5, {}),
    "max_drop": (0.5, {}),
    "max_class_drop": (5.0, {}),
    "max_pixel_drop": (1.0, {}),
    "min_agreement": (95.0, {}),
    "max_latency_ms": (20.0, {}),
    "min_speedup": (1.5, {}),
    "max_size_mb": (30.0, {}),
    "baseline_accuracy": (85.0, {}),
}
"""Of each key another value than its default, and the keys without which it says nothing."""


def test_every_key_is_tried() -> None:
    assert CHANGES.keys() == Config.model_fields.keys()


@pytest.mark.parametrize("key", CHANGES)
def test_every_key_reaches_the_stages(key: str, here: Path) -> None:
    value, others = CHANGES[key]
    assert configured(here, **others) != configured(here, **{**others, key: value})


def test_keys_of_several_stages_reach_each(here: Path) -> None:
    plain = configured(here)
    both = configured(here, max_bad=3, threads=5)
    assert both.quantize == replace(plain.quantize, max_bad=3, threads=5)
    assert both.validate == replace(plain.validate, max_bad=3, threads=5)
    trained = configured(here, **{**PRUNED, **TRAINED}, batch=8, augment="flip", train_seed=3).quantize
    assert trained.prune is not None
    assert trained.qat is not None
    for options in (trained.prune.train, trained.qat):
        assert (options.batch, options.augment, options.seed) == (8, "flip", 3)


# The gate and validate read it, too


def test_limits_of_the_gate(folder: Path) -> None:
    write_outcome(folder / "out")
    limits: dict[str, Any] = {"max_drop": 0.05, "max_class_drop": 10, "min_agreement": 98, "max_latency_ms": 12}
    limits |= {"baseline_accuracy": 85, "min_speedup": 0.5, "max_size_mb": 22}
    say(folder, **limits)
    document = edgex("gate", "out", "--json", cwd=folder).document
    assert document["limits"] == {**limits, "max_pixel_drop": None}
    one = edgex("gate", "out", "--json", "--max-drop", 1.0, cwd=folder).document
    assert one["limits"] == {**limits, "max_drop": 1.0, "max_pixel_drop": None}
    say(folder)
    assert edgex("gate", "out", "--json", cwd=folder).document["limits"] == {
        **dict.fromkeys(document["limits"]),
        "max_drop": Limits().max_drop,
    }


def test_a_limit_of_pixels_is_no_limit_of_a_classifier(folder: Path) -> None:
    write_outcome(folder / "out")
    say(folder, max_pixel_drop=0.5)
    refused(edgex("gate", "out", cwd=folder), 2, "max_drop", "net.fp32.onnx classifies whole images")


def test_validate_judges_by_them(done: Path) -> None:
    say(done, **DEMO, threads=1, seconds=0.2, max_size_mb=0.001)
    outcome = edgex("validate", "out", "--no-latency", cwd=done)
    assert outcome.code == 0, outcome.err
    assert outcome.out.count("fail: xception-digits.int8") == 2
    assert "0.001 are allowed" in outcome.out, "the check that failed, and not another"
    report = json.loads((done / "out" / "report.json").read_text())
    assert report["settings"]["seconds"] == 0.2
    document = edgex("validate", "out", "--no-latency", "--seconds", 0.1, "--json", cwd=done).document
    assert (document["settings"]["seconds"], document["verdict"]) == (0.1, "fail")
