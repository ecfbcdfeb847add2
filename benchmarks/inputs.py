"""What the benchmarks work on: the real model and images beside the checkout, and made ones at 299×299."""

import math
import os
import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from benchmarks.processes import run

REAL_SIZE = 71
FULL_SIZE = 299
PHOTO_SIZE = (375, 500)
"""Height and width of a typical image of ImageNet."""
TRAINING_IMAGES = 4_000


class UnavailableError(Exception):
    """What a benchmark needs is not here."""


@dataclass(frozen=True)
class Workplace:
    """Where the benchmarks work, and how thoroughly.

    Attributes:
        folder: for everything they make; models and oracles' files that are there already are used again.
        shared: the folder with the real model and images.
        quick: few images and rounds, to see that all runs.
        nncf_python: Python of an environment with nncf, which wants versions of its own.
    """

    folder: Path
    shared: Path
    quick: bool = False
    nncf_python: Path | None = None

    def subfolder(self, name: str) -> Path:
        """A folder of that name; a quick run's own, since its files come from fewer images."""
        path = self.folder / (f"{name}-quick" if self.quick else name)
        path.mkdir(exist_ok=True)
        return path

    def real(self, name: str) -> Path:
        """A file of the real model and images. UnavailableError without it."""
        path = self.shared / name
        if not path.is_file():
            raise UnavailableError(f"{path} is missing.")
        return path

    def real_model(self) -> Path:
        return self.real(f"models/xception-cifar10-{REAL_SIZE}.keras")

    def full_model(self) -> Path:
        """The full Xception at 299×299 with random weights."""
        path = self.folder / f"xception-{FULL_SIZE}.keras"
        if not path.exists():
            run(sys.executable, "-m", "benchmarks.inputs", path, folder=self.folder)
        return path

    def photos(self) -> Path:
        """A folder of 64 images, half of them JPEG and half PNG: soft blots of random colours."""
        from PIL import Image

        count = 8 if self.quick else 64
        folder = self.folder / f"photos-{count}"
        if not folder.is_dir():
            folder.mkdir()
            random = np.random.default_rng(0)
            height, width = PHOTO_SIZE
            for number in range(count):
                blots = Image.fromarray(random.integers(0, 256, (9, 12, 3), np.uint8))
                photo = blots.resize((width, height), Image.Resampling.BICUBIC)
                photo.save(folder / f"{number:04}.{('jpg', 'png')[number % 2]}")
        return folder


def some_training_images(workplace: Workplace, batch: int) -> Path:
    """A fifth of the training images: training takes hours on all of them. In a quick run a few batches."""
    from edgex.dataset import open_dataset

    file = workplace.subfolder("training") / "images.npz"
    if not file.exists():
        count = 8 * batch if workplace.quick else TRAINING_IMAGES
        dataset = open_dataset(workplace.real("data/cifar10-train.zip"), role="training").sample(count)
        np.savez(file, x=np.stack([dataset[index] for index in range(len(dataset))]), y=dataset.labels)
    return file


def preprocessed(calib: Path, size: int, count: int | None = None) -> NDArray[np.float32]:
    """Images as Xception reads them, (images, size, size, 3)."""
    from edgex.dataset import open_dataset
    from edgex.preprocess import Preprocessing

    dataset = open_dataset(calib, role="calibration").sample(count)
    return np.concatenate([images for _, images in dataset.batches(Preprocessing(size=(size, size)))])


def save_full_xception(path: Path) -> None:
    """Save Xception with weights that keep an image alive from layer to layer, and batch norms that do something."""
    os.environ["KERAS_BACKEND"] = "tensorflow"
    import keras

    random = np.random.default_rng(0)
    model = keras.applications.Xception(weights=None, input_shape=(FULL_SIZE, FULL_SIZE, 3))
    for variable in model.weights:
        shape = tuple(variable.shape)
        if "kernel" in variable.path:
            fan_in = math.prod(shape[:2] if "depthwise" in variable.path else shape[:-1])
            variable.assign(random.normal(0.0, math.sqrt(2 / fan_in), shape))
        elif variable.path.endswith(("variance", "gamma")):
            variable.assign(random.uniform(0.5, 1.5, shape))
        else:
            variable.assign(random.normal(0.0, 0.3, shape))
    model.save(path)


if __name__ == "__main__":
    save_full_xception(Path(sys.argv[1]))
