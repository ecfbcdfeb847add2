"""The digits as ``torch_digits.py`` reads them: ``python torch_digits_file.py DIGITS.npz``, in a Python with edgex."""

import sys
from pathlib import Path

import numpy as np

from edgex.dataset import Role, open_dataset
from edgex.preprocess import Preprocessing, Scale

SIDE = 48


def digits(role: Role, scale: Scale) -> tuple[np.ndarray, np.ndarray]:
    """Images (n, height, width, 3) and labels."""
    dataset = open_dataset("digits", role=role)
    batches = dataset.batches(Preprocessing((SIDE, SIDE), 3, scale), 100)
    assert dataset.labels is not None
    return np.concatenate([images for _, images in batches]), np.array(dataset.labels)


def save_digits(file: Path) -> None:
    """Training images and labels, and test images."""
    (images, labels), (test, _) = (digits(role, "none") for role in ("training", "evaluation"))
    np.savez(file, train=images.astype(np.uint8), test=test.astype(np.uint8), labels=labels)


if __name__ == "__main__":
    save_digits(Path(sys.argv[1]))
