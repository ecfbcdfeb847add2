"""The columns of predictions survive the disk, and damage is noticed."""

import json
import zipfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from reports import FLOAT, INT8, outcome, predictions

from edgex import predictions as module
from edgex.errors import DataError
from edgex.predictions import PREDICTIONS_NAME, Predictions, load_predictions

Arrays = dict[str, np.ndarray]


@pytest.fixture
def some() -> Predictions:
    labels, baseline, other = outcome(images=40, hits=30, lost=3, gained=2)
    found = predictions(labels, {FLOAT: baseline, INT8: other})
    return replace(found, about=replace(found.about, seen=42, unreadable={"ä b.png": "is no image\n"}))


def saved(folder: Path, some: Predictions) -> Path:
    some.save(folder / PREDICTIONS_NAME)
    return folder / PREDICTIONS_NAME


def same(found: Predictions, some: Predictions) -> None:
    assert found.about == some.about
    assert list(found.of) == list(some.of)
    for name in ("hashes", "labels", "signal"):
        assert np.array_equal(getattr(found, name), getattr(some, name))
    for model, columns in some.of.items():
        for name in ("best", "probability", "noise"):
            assert np.array_equal(getattr(found.of[model], name), getattr(columns, name))


def test_round_trip(tmp_path: Path, some: Predictions) -> None:
    found = load_predictions(saved(tmp_path, some))
    same(found, some)
    assert (len(found), int(found.hits(FLOAT).sum()), int(found.hits(INT8).sum())) == (40, 30, 29)


def test_the_same_predictions_make_the_same_file(tmp_path: Path, some: Predictions) -> None:
    first = saved(tmp_path, some).read_bytes()
    assert saved(tmp_path, some).read_bytes() == first


def rewritten(change: Callable[[Arrays], object]) -> Callable[[Path], object]:
    def spoil(file: Path) -> None:
        with np.load(file) as content:
            arrays = dict(content)
        change(arrays)
        np.savez_compressed(file, **arrays)

    return spoil


def about(**changes: object) -> Callable[[Path], object]:
    def change(arrays: Arrays) -> None:
        document = {**json.loads(arrays["about"].tobytes()), **changes}
        arrays["about"] = np.frombuffer(json.dumps(document).encode(), np.uint8)

    return rewritten(change)


def column(name: str, value: np.ndarray) -> Callable[[Path], object]:
    return rewritten(lambda arrays: arrays.update({name: value}))


SPOILED = {
    "missing": Path.unlink,
    "empty": lambda file: file.write_bytes(b""),
    "text": lambda file: file.write_text("best,probability\n"),
    "truncated": lambda file: file.write_bytes(file.read_bytes()[:-40]),
    "another schema": about(schema="edgex.predictions/2"),
    "an unknown key": about(colour="red"),
    "a model without columns": about(models=[FLOAT, INT8, "third"]),
    "fewer names": about(names=["a"]),
    "names of the wrong type": about(names=7),
    "names that are none": about(unreadable=5),
    "fewer images seen than there are": about(seen=39),
    "images seen that are no number": about(seen="42"),
    "a class too few": about(class_names=["a", "b", "c", "d", "e", "f", "g", "h", "i"]),
    "a column less": rewritten(lambda arrays: arrays.pop("best.1")),
    "NaN": column("probability.1", np.full(40, np.nan, np.float32)),
    "infinite": column("signal", np.full(40, np.inf, np.float32)),
    "a negative class": column("labels", np.full(40, -1, np.int32)),
    "another type": column("labels", np.zeros(40, np.float64)),
    "another shape": column("noise.0", np.zeros(39, np.float32)),
    "text that is not about it": rewritten(lambda arrays: arrays.update(about=np.frombuffer(b"[" * 100_000, np.uint8))),
    "pickled": column("labels", np.array([{"a": 1}] * 40, dtype=object)),
}


@pytest.mark.parametrize("kind", SPOILED)
def test_damage_is_refused(tmp_path: Path, some: Predictions, kind: str) -> None:
    file = saved(tmp_path, some)
    SPOILED[kind](file)
    with pytest.raises(DataError, match=PREDICTIONS_NAME):
        load_predictions(file)


def test_a_flipped_bit_changes_nothing_or_is_noticed(tmp_path: Path, some: Predictions) -> None:
    """In every region of the file; what comes back is never anything else."""
    file = saved(tmp_path, some)
    content, noticed = file.read_bytes(), 0
    for place in range(0, len(content), 7):
        file.write_bytes(content[:place] + bytes([content[place] ^ (1 << place % 8)]) + content[place + 1 :])
        try:
            same(load_predictions(file), some)
        except DataError:
            noticed += 1
    assert noticed > len(content) / 21


def test_a_bomb_is_not_unpacked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MOST_BYTES", 2**20)
    file = tmp_path / PREDICTIONS_NAME
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("labels.npy", bytes(2**20 + 1))
    monkeypatch.setattr(np, "load", lambda *_args, **_options: pytest.fail("it was unpacked"))
    with pytest.raises(DataError, match="more than 1 MiB"):
        load_predictions(file)
