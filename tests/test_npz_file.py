"""Arrays come back as they went, or not at all."""

import io
import zipfile
from pathlib import Path

import numpy as np
import pytest

from edgex.npz_file import read_npz

MIB = 1 << 20
ARRAYS = {
    "numbers": np.arange(40, dtype=np.float32).reshape(5, 8),
    "text": np.array("about"),
    "none": np.zeros((0, 3), np.int32),
}


@pytest.fixture(params=[np.savez, np.savez_compressed])
def file(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    request.param(tmp_path / "a.npz", **ARRAYS)
    return tmp_path / "a.npz"


def same(found: dict[str, np.ndarray]) -> bool:
    return all(name in ARRAYS and described(array) == described(ARRAYS[name]) for name, array in found.items())


def described(array: np.ndarray) -> tuple[np.dtype, tuple[int, ...], bytes]:
    return array.dtype, array.shape, array.tobytes()


def test_arrays(file: Path) -> None:
    found = read_npz(file, MIB)
    assert same(found)
    assert found.keys() == ARRAYS.keys()
    assert read_npz(file, MIB, ("text", "missing")).keys() == {"text"}


def test_a_flipped_bit_changes_nothing_or_is_noticed(file: Path) -> None:
    """In the arrays, in their headers, in those of the members. One in the directory may hide an array."""
    content, noticed = file.read_bytes(), 0
    for place in range(0, len(content), 3):
        file.write_bytes(content[:place] + bytes([content[place] ^ (1 << place % 8)]) + content[place + 1 :])
        try:
            found = read_npz(file, MIB)
        except ValueError:
            noticed += 1
        else:
            assert same(found)
    assert noticed > len(content) / 6


def test_a_cut_file(file: Path) -> None:
    content = file.read_bytes()
    for size in range(0, len(content), 31):
        file.write_bytes(content[:size])
        with pytest.raises(ValueError):  # noqa: PT011  the words are zipfile's and numpy's
            read_npz(file, MIB)


def test_a_bomb_is_not_unpacked(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "a.npz", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("x.npy", bytes(MIB + 1))
    with pytest.raises(ValueError, match="more than 1 MiB"):
        read_npz(tmp_path / "a.npz", MIB)
    assert read_npz(tmp_path / "a.npz", MIB, ("y",)) == {}


def member(content: bytes, path: Path, compression: int = zipfile.ZIP_DEFLATED) -> Path:
    with zipfile.ZipFile(path, "w", compression) as archive:
        archive.writestr("x.npy", content)
    return path


def npy(array: np.ndarray) -> bytes:
    stream = io.BytesIO()
    np.save(stream, array, allow_pickle=True)
    return stream.getvalue()


def header(shape: tuple[int, ...]) -> bytes:
    stream = io.BytesIO()
    np.lib.format.write_array_header_1_0(stream, {"descr": "|u1", "fortran_order": False, "shape": shape})
    return stream.getvalue()


def archive_of(content: bytes) -> bytes:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as archive:
        archive.writestr("x.npy", content)
    return stream.getvalue()


REFUSED = {
    "objects": npy(np.array([{}], object)),
    "a shape larger than memory": header((10**15,)),
    "a shape larger than numbers": header((10**30,)),
    "more than its shape": npy(np.zeros(3)) + b"!",
    "no array": b"text",
    "nothing": b"",
    "a pickle": b"\x80\x04]\x94.",
    "an archive": archive_of(npy(np.zeros(3))),
}


@pytest.mark.parametrize("kind", REFUSED)
def test_members_refused(tmp_path: Path, kind: str) -> None:
    with pytest.raises(ValueError):  # noqa: PT011  the words are zipfile's and numpy's
        read_npz(member(REFUSED[kind], tmp_path / "a.npz"), MIB)


@pytest.mark.parametrize("compression", [zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_compressions_of_others(tmp_path: Path, compression: int) -> None:
    with pytest.raises(ValueError, match="in a way that numpy does not"):
        read_npz(member(npy(np.zeros(3)), tmp_path / "a.npz", compression), MIB)


def test_a_file_that_is_missing(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        read_npz(tmp_path / "a.npz", MIB)
