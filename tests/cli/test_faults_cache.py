"""Rows 37 and 38 of the faults to survive: what was kept is believed only where it is whole, and of the same inputs."""

import json
import shutil
import zipfile
from pathlib import Path

import numpy as np
import pytest
from command import edgex

from edgex.predictions import load_predictions
from edgex.resources import demo_model, digits_file

RECIPE = {"model": "model.keras", "target": "cpu", "calib": "digits", "data": "data.npz", "output": "out"}
QUICK = {"calib_count": 8, "threads": 1, "seconds": 0.1}


@pytest.fixture(scope="module")
def first(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project that was run. Not to be changed."""
    folder = tmp_path_factory.mktemp("cache")
    (folder / ".git").mkdir()
    shutil.copy(demo_model(), folder / "model.keras")
    save_digits(folder / "data.npz")
    keys = {**RECIPE, **QUICK}
    (folder / "edgex.toml").write_text("".join(f"{key} = {json.dumps(value)}\n" for key, value in keys.items()))
    assert found(folder) == [False, False]
    return folder


@pytest.fixture
def done(first: Path, tmp_path: Path) -> Path:
    return shutil.copytree(first, tmp_path / "done")


def save_digits(file: Path, noise: int = 0) -> None:
    with np.load(digits_file()) as digits:
        chosen = digits["split"] == "test"
        np.savez(file, x=digits["x"][chosen] ^ np.uint8(noise), y=digits["y"][chosen])


def save_again(model: Path) -> None:
    """The same members, packed otherwise."""
    with zipfile.ZipFile(demo_model()) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    with zipfile.ZipFile(model, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive:
        for name, content in members.items():
            archive.writestr(name, content)


def found(folder: Path) -> list[bool]:
    """Whether ``edgex run`` finds what quantize and validate made."""
    outcome = edgex("run", "--json", cwd=folder)
    assert outcome.code == 0, outcome.err
    return [stage["cached"] for stage in outcome.document["stages"][:2]]


def test_37_another_model_of_the_same_name(done: Path) -> None:
    assert found(done) == [True, True]
    save_again(done / "model.keras")
    assert found(done) == [False, False]
    assert edgex("verify", "out", cwd=done).code == 0


def test_37_other_images_of_the_same_name(done: Path) -> None:
    save_digits(done / "data.npz", noise=1)
    assert found(done) == [True, False]


def test_38_a_cut_ledger(done: Path) -> None:
    ledger = done / ".out.stages" / "run.json"
    content = ledger.read_bytes()
    ledger.write_bytes(content[: len(content) // 2])
    assert found(done) == [False, False]
    assert found(done) == [True, True]


@pytest.mark.parametrize("share", [0.3, 0.99])
def test_38_damaged_predictions_of_an_interrupted_run(done: Path, share: float) -> None:
    """Those of all images, so that they would be taken over if nobody looked."""
    predictions = done / "out" / "predictions.npz"
    whole = predictions.read_bytes()
    place = int(share * len(whole))
    (done / "out" / ".validate.npz").write_bytes(whole[:place] + b"\xff" * 16 + whole[place + 16 :])
    outcome = edgex("validate", "out", "--data", "data.npz", "--no-latency", "--threads", 1, cwd=done)
    assert outcome.code == 0, outcome.err
    assert not (done / "out" / ".validate.npz").exists()
    assert len(load_predictions(predictions)) == 500
