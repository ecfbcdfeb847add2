"""Checkpoints: whole, of this run, or not there at all; and the history that they carry."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from disks import mounted

from edgex.errors import OutputError
from edgex.train.checkpoint import Checkpoint, History, load_checkpoint

HISTORY = History((1.5, 0.1 + 0.2), (0.9, 2 / 3), earliest=1)
STATE = (np.arange(6, dtype=np.float32).reshape(2, 3), np.array(7, np.int64), np.array([np.pi, -0.0], np.float32))
CHECKPOINT = Checkpoint("run", 12, HISTORY, STATE * 4, STATE[::2])


@pytest.fixture
def file(tmp_path: Path) -> Path:
    file = tmp_path / ".out.checkpoint.npz"
    CHECKPOINT.save(file)
    return file


def test_it_comes_back_as_it_went(file: Path) -> None:
    found = load_checkpoint(file, "run")
    assert found is not None
    assert (found.key, found.step, found.history) == ("run", 12, HISTORY)
    for arrays, saved in ((found.state, CHECKPOINT.state), (found.best, CHECKPOINT.best)):
        assert [array.tobytes() for array in arrays] == [array.tobytes() for array in saved]
        assert [(array.dtype, array.shape) for array in arrays] == [(array.dtype, array.shape) for array in saved]
    assert [path.name for path in file.parent.iterdir()] == [file.name]


def test_it_takes_the_place_of_the_one_before(file: Path) -> None:
    Checkpoint("run", 13, HISTORY, STATE, STATE).save(file)
    found = load_checkpoint(file, "run")
    assert found is not None
    assert found.step == 13
    assert [path.name for path in file.parent.iterdir()] == [file.name]


def test_none_is_none(tmp_path: Path) -> None:
    assert load_checkpoint(tmp_path / "none.npz", "run") is None


def test_that_of_another_run_is_none(file: Path) -> None:
    assert load_checkpoint(file, "another run") is None


@pytest.mark.parametrize("share", [0.0, 0.1, 0.5, 0.9, 0.999])
def test_a_cut_one_is_none(file: Path, share: float) -> None:
    content = file.read_bytes()
    file.write_bytes(content[: int(share * len(content))])
    assert load_checkpoint(file, "run") is None


def test_a_damaged_one_is_none(file: Path) -> None:
    content = bytearray(file.read_bytes())
    place = content.index(STATE[0].tobytes())
    content[place + 5] ^= 0xFF
    file.write_bytes(content)
    assert load_checkpoint(file, "run") is None


def test_a_flipped_bit_changes_nothing_or_is_noticed(file: Path) -> None:
    """Wherever it is. None of them comes back as another checkpoint."""
    content = file.read_bytes()
    for place in range(0, len(content), 23):
        file.write_bytes(content[:place] + bytes([content[place] ^ (1 << place % 8)]) + content[place + 1 :])
        found = load_checkpoint(file, "run")
        if found is not None:
            assert (found.step, found.history) == (12, HISTORY)
            for arrays, saved in ((found.state, CHECKPOINT.state), (found.best, CHECKPOINT.best)):
                assert [array.tobytes() for array in arrays] == [array.tobytes() for array in saved]


def test_something_else_is_none(file: Path) -> None:
    np.savez(file, x=np.zeros(3))
    assert load_checkpoint(file, "run") is None
    file.write_text("{}")
    assert load_checkpoint(file, "run") is None


KILLED = """
import os, sys
from pathlib import Path
from edgex.train.checkpoint import Checkpoint, History
os.fsync = lambda _descriptor: os._exit(9)  # between writing and renaming
Checkpoint("run", 99, History(), (), ()).save(Path(sys.argv[1]))
"""


def test_a_killed_save_leaves_nothing_for_long(file: Path) -> None:
    before = file.read_bytes()
    assert subprocess.run([sys.executable, "-c", KILLED, file]).returncode == 9
    assert file.read_bytes() == before
    assert len(list(file.parent.iterdir())) == 2
    CHECKPOINT.save(file)
    assert [path.name for path in file.parent.iterdir()] == [file.name]


def test_a_full_disk(tmp_path: Path) -> None:
    with mounted(tmp_path / "disk", "size=64k") as disk:
        file = disk / "checkpoint.npz"
        CHECKPOINT.save(file)
        with pytest.raises(OutputError, match="No space left") as refusal:
            Checkpoint("run", 13, HISTORY, (np.zeros(100_000, np.float32),), STATE).save(file)
        assert str(file) in refusal.value.message
        assert [path.name for path in disk.iterdir()] == [file.name]
        found = load_checkpoint(file, "run")
    assert found is not None
    assert found.step == 12


def test_no_folder(tmp_path: Path) -> None:
    with pytest.raises(OutputError, match="No such file"):
        CHECKPOINT.save(tmp_path / "gone" / "checkpoint.npz")


# History


def test_the_best_epoch_has_the_least_loss() -> None:
    assert History((3.0, 1.0, 2.0), (0.0, 0.0, 1.0)).best == 1
    assert History((3.0, 3.0), (0.0, 1.0)).best == 0, "training must gain something"
    assert History((3.0, float("nan"), 2.0), (0.0, 0.0, 0.0)).best == 2, "what overflowed is no gain"


def test_a_loss_that_overflowed_survives_the_disk(tmp_path: Path) -> None:
    history = History((0.5, float("nan"), float("inf")), (0.9, 0.1, 0.1))
    Checkpoint("run", 1, history, STATE, STATE).save(tmp_path / "a.npz")
    found = load_checkpoint(tmp_path / "a.npz", "run")
    assert found is not None
    assert (str(found.history), found.history.best) == (str(history), 0)
    assert history.finite_losses == (0.5, None, None), "for JSON, which has no such numbers"


def test_patience() -> None:
    history = History((3.0, 1.0), (0.0, 0.0))
    assert not history.stale(1)
    history = history.with_epoch(1.5, 0.0)
    assert history.stale(1)
    assert not history.stale(2)
    assert not history.with_epoch(0.5, 0.0).stale(1)


def test_a_sentence() -> None:
    history = History((0.5, 0.25, 0.4), (0.9, 0.975, 0.95))
    assert str(history) == (
        "the loss on the images held out went from 0.5000 to 0.2500, top-1 there from 90.0 to 97.5 %; "
        "best after 1 of 2 epochs."
    )


def test_epochs_before_a_network_is_sparse_count_for_nothing() -> None:
    history = History((0.1, 0.2), (0.9, 0.8), earliest=3)
    assert not history.stale(1)
    for loss in (0.3, 1.5, 1.2):
        history = history.with_epoch(loss, 0.0)
    assert (history.best, history.earliest) == (4, 3)
    assert not history.stale(1)
    assert history.with_epoch(1.3, 0.0).stale(1)
