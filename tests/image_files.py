"""Images in folders and zips, for the tests of datasets."""

import io
import zipfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from edgex.preprocess import Preprocessing

SMALL = Preprocessing((4, 4), scale="none")


def jpeg(seed: int, side: int = 8) -> bytes:
    pixels = np.random.default_rng(seed).integers(0, 256, (side, side, 3), np.uint8)
    stream = io.BytesIO()
    Image.fromarray(pixels).save(stream, "JPEG")
    return stream.getvalue()


def fill(folder: Path, *names: str) -> Path:
    """A folder with an image of its own under each name."""
    for seed, name in enumerate(names):
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(jpeg(seed))
    return folder


def unpacked(folder: Path) -> Path:
    return folder


def zipped(folder: Path) -> Path:
    """A zip of everything below a folder, empty folders included, beside it."""
    archive = folder.with_suffix(".zip")
    with zipfile.ZipFile(archive, "w") as file:
        for path in sorted(folder.rglob("*")):
            file.write(path, path.relative_to(folder).as_posix())
    return archive


folder_and_zip = pytest.mark.parametrize("stored", [unpacked, zipped])
"""What follows must be the same for the folder itself and for a zip of it."""
