"""Numpy's ``.npz`` files that anyone may have changed."""

import zipfile
from collections.abc import Collection
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

COMPRESSIONS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)
"""Those that numpy writes."""


def read_npz(file: Path, most: int, names: Collection[str] | None = None) -> dict[str, NDArray[Any]]:
    """The arrays in a file, by name.

    Args:
        file: that ``numpy.savez`` or ``numpy.savez_compressed`` wrote.
        most: bytes of the arrays together, once unpacked.
        names: of those to read, as far as they are there; None for all.

    Raises:
        OSError: it cannot be opened.
        ValueError: the arrays are larger, hold Python objects, or are bytes that numpy did not write. Damage to the
            directory, which has no checksum, can also make arrays go missing.
    """
    with file.open("rb") as stream:
        try:
            return _read(stream, most, names)
        except Exception as error:  # on damaged bytes zipfile, zlib and numpy raise every kind there is
            raise ValueError(str(error) or type(error).__name__) from error


def _read(stream: IO[bytes], most: int, names: Collection[str] | None) -> dict[str, NDArray[Any]]:
    with zipfile.ZipFile(stream) as archive:
        members = {member.filename.removesuffix(".npy"): member for member in archive.infolist()}
        if names is not None:
            members = {name: member for name, member in members.items() if name in names}
        if sum(member.file_size for member in members.values()) > most:
            raise ValueError(f"it holds more than {most >> 20} MiB")
        return {name: _array(archive, member) for name, member in members.items()}


def _array(archive: zipfile.ZipFile, member: zipfile.ZipInfo) -> NDArray[Any]:
    if member.compress_type not in COMPRESSIONS:
        raise ValueError(f"{member.filename!r} is compressed in a way that numpy does not")
    with archive.open(member) as stream:
        array = np.load(stream, allow_pickle=False)
        if not isinstance(array, np.ndarray) or stream.read(1):  # the checksum is compared at the end alone
            raise ValueError(f"{member.filename!r} is no array")
    return array
