"""Makes ``digits.npz`` and the images of ``calib_data`` from scikit-learn's digits.

    python -m edgex.demo.digits

The data: E. Alpaydin, C. Kaynak, "Optical Recognition of Handwritten Digits", UCI Machine Learning Repository, 1998,
doi.org/10.24432/C50P49, CC BY 4.0; its test part, as ``sklearn.datasets.load_digits`` ships it.
"""

import hashlib
import json
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from edgex.resources import calib_data_dir, digits_file

CALIBRATION_IMAGES = 100
TEST_IMAGES = 500
"""The rest, 1,197 images, is for training."""

MANIFEST_SCHEMA = "edgex.calib-data/1"


class Digits(NamedTuple):
    """The arrays of ``digits.npz``: uint8 (1797, 8, 8, 1), uint8 (1797,), and train, calibration or test (1797,)."""

    x: NDArray[np.uint8]
    y: NDArray[np.uint8]
    split: NDArray[np.str_]


def load_from_sklearn() -> Digits:
    """All digits. Each split has every class in proportion; the 17 gray levels are spread over 0…255."""
    from sklearn.datasets import load_digits
    from sklearn.model_selection import train_test_split

    digits = load_digits()
    levels = digits.images[..., np.newaxis]
    labels = digits.target.astype(np.uint8)
    rest, test = train_test_split(np.arange(len(labels)), test_size=TEST_IMAGES, stratify=labels, random_state=0)
    _, calibration = train_test_split(rest, test_size=CALIBRATION_IMAGES, stratify=labels[rest], random_state=0)
    split = np.full(len(labels), "train", dtype="<U11")
    split[test] = "test"
    split[calibration] = "calibration"
    return Digits(np.rint(levels * 255 / 16).astype(np.uint8), labels, split)


def write_calibration_images(digits: Path, folder: Path) -> None:
    """The calibration split of a ``digits.npz`` as ``folder/<digit>/<index>.png``, and its ``manifest.json``.

    The manifest holds the sha256 of every image. The bytes are the same with every zlib, because nothing is compressed.
    """
    from PIL import Image

    hashes = {}
    with np.load(digits) as arrays:
        x, y, split = arrays["x"], arrays["y"], arrays["split"]
    for index in np.flatnonzero(split == "calibration"):
        name = f"{y[index]}/{index:04d}.png"
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(x[index, :, :, 0]).save(path, compress_level=0)
        hashes[name] = hashlib.sha256(path.read_bytes()).hexdigest()
    document = {"schema": MANIFEST_SCHEMA, "sha256": dict(sorted(hashes.items()))}
    (folder / "manifest.json").write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    np.savez_compressed(digits_file(), **load_from_sklearn()._asdict())
    write_calibration_images(digits_file(), calib_data_dir())
