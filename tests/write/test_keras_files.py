"""The bytes of ``.keras`` files, and the record in them."""

import hashlib
import io
import os
import subprocess
import sys
import zipfile
from collections.abc import Sequence
from pathlib import Path

import pytest
from graphs import tiny_xception
from keras_files import RECORD, assert_reads_back, opened, written

from edgex.errors import ModelError, UsageError
from edgex.graph.keras_archive import CONFIG_LIMIT
from edgex.graph.keras_record import read_record
from edgex.graph.read import read_model
from edgex.resources import demo_model
from edgex.write.keras import keras_file

# Bytes

WRITE = """
import hashlib, sys, time
from pathlib import Path
from edgex.graph.read import read_model
from edgex.write.keras import keras_file
time.sleep(1.1)  # HDF5 counts in seconds
content = keras_file(read_model(Path(sys.argv[1])), {"b": 1, "a": {"d": 2, "c": 3}})
print(hashlib.sha256(content).hexdigest())
print([name for name in ("keras", "onnx", "tensorflow", "tf_keras") if name in sys.modules])
"""


def test_another_process_writes_the_same_bytes_without_keras(tmp_path: Path) -> None:
    content = keras_file(read_model(demo_model()), {"a": {"c": 3, "d": 2}, "b": 1})
    environment = {**os.environ, "PYTHONHASHSEED": "1", "TZ": "Asia/Tokyo"}
    command: Sequence[str] = (sys.executable, "-c", WRITE, str(demo_model()))
    done = subprocess.run(command, env=environment, cwd=tmp_path, capture_output=True, text=True, check=True)
    assert done.stdout.split("\n")[:2] == [hashlib.sha256(content).hexdigest(), "[]"]


def test_members_have_no_date() -> None:
    with zipfile.ZipFile(io.BytesIO(keras_file(tiny_xception(), RECORD))) as archive:
        assert archive.namelist() == ["metadata.json", "config.json", "model.weights.h5", "edgex.json"]
        assert {entry.date_time for entry in archive.infolist()} == {(1980, 1, 1, 0, 0, 0)}
        assert b"date" not in archive.read("metadata.json")


# The record


def spoilt(path: Path, record: bytes, compression: int = zipfile.ZIP_STORED) -> Path:
    """A file whose record is replaced."""
    with zipfile.ZipFile(path) as archive:
        members = {name: archive.read(name) for name in archive.namelist()} | {"edgex.json": record}
    with zipfile.ZipFile(path, "w", compression) as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return path


def test_a_record_comes_back_and_changes_nothing(tmp_path: Path) -> None:
    path = tmp_path / "model.keras"
    path.write_bytes(keras_file(tiny_xception(), RECORD))
    assert read_record(path) == RECORD
    assert_reads_back(tiny_xception(), path)
    assert "predictions" in [layer.name for layer in opened(path).layers]


def test_no_record(tmp_path: Path) -> None:
    assert read_record(written(tiny_xception(), tmp_path)) is None
    opened(tmp_path / "model.keras").save(tmp_path / "model.h5")
    assert read_record(tmp_path / "model.h5") is None


@pytest.mark.parametrize(
    ("record", "reason"),
    [(b"{", "damaged"), (b"[1, 2]", "not a JSON object"), (b"\xff\xfe\xfd", "damaged"), (b"[" * 100_000, "damaged")],
    ids=["cut off", "list", "not text", "deep"],
)
def test_a_bad_record_is_refused(record: bytes, reason: str, tmp_path: Path) -> None:
    path = spoilt(written(tiny_xception(), tmp_path), record)
    with pytest.raises(ModelError, match=reason) as caught:
        read_record(path)
    assert str(path) in caught.value.message


def test_a_record_larger_than_any_is_refused(tmp_path: Path) -> None:
    path = spoilt(written(tiny_xception(), tmp_path), bytes(2 << 20), zipfile.ZIP_DEFLATED)
    with pytest.raises(ModelError, match="bomb"):
        read_record(path)
    with pytest.raises(ModelError, match=rf"edgex\.json is over {CONFIG_LIMIT >> 20} MiB"):
        read_record(spoilt(path, bytes(CONFIG_LIMIT + 1)))


def test_a_record_of_what_is_no_model_is_refused(tmp_path: Path) -> None:
    path = written(tiny_xception(), tmp_path)
    path.write_bytes(path.read_bytes()[:2000])
    with pytest.raises(ModelError, match="damaged"):
        read_record(path)
    path.write_text("record")
    with pytest.raises(ModelError, match="not a Keras model"):
        read_record(path)
    with pytest.raises(UsageError, match="does not exist"):
        read_record(tmp_path / "no.keras")
