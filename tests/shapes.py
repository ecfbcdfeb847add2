"""A made-up segmentation set: shapes on textured ground, with noise, the same for the same seed.

What a pixel shows is told by its surroundings: shapes cover each other, their edges are blended with what lies below,
and with ``hues`` false their colours tell nothing, so that a network must know their outlines.
"""

import zipfile
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image

CLASSES = ("ground", "disc", "box", "triangle", "ring")
COLOURS = np.array([(110, 110, 110), (210, 60, 50), (50, 90, 210), (60, 180, 70), (220, 190, 50)], np.float32)
"""About which the colours of each class lie."""

VOID = 255
PALETTE = [0, 0, 0, 200, 0, 0, 0, 0, 200, 0, 200, 0, 200, 200, 0, *[255] * 3 * 251]
"""Of 256 colours: Pillow stores an image of fewer in fewer bits, and 255 would become another index."""

Pixels = NDArray[np.uint8]


class Shapes(NamedTuple):
    """Images uint8 (n, size, size, 3), and masks uint8 (n, size, size) of indices into ``CLASSES``."""

    images: Pixels
    masks: Pixels

    def write_folder(self, folder: Path, classes: bool = True) -> Path:
        """``images/`` and ``masks/`` of PNG files in two folders inside each, and ``classes.txt``."""
        for number, (image, mask) in enumerate(zip(*self, strict=True)):
            name = f"{'even' if number % 2 == 0 else 'odd'}/{number:04}.png"
            for part, pixels in (("images", image), ("masks", mask)):
                file = folder / part / name
                file.parent.mkdir(parents=True, exist_ok=True)
                picture = Image.fromarray(pixels)
                if part == "masks":
                    picture.putpalette(PALETTE)
                picture.save(file)
        if classes:
            (folder / "classes.txt").write_text("\n".join(CLASSES) + "\n")
        return folder

    def write_zip(self, file: Path, classes: bool = True) -> Path:
        """The same in an archive."""
        folder = self.write_folder(file.with_suffix(""), classes)
        with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
            for path in sorted(folder.rglob("*")):
                archive.write(path, path.relative_to(folder).as_posix())
        return file

    def write_npz(self, file: Path) -> Path:
        """Arrays ``x`` and ``y``; their classes have no names."""
        np.savez_compressed(file, x=self.images, y=self.masks)
        return file


def shapes(
    count: int,
    size: int = 64,
    seed: int = 0,
    *,
    most: int = 4,
    noise: float = 12.0,
    jitter: float = 30.0,
    hues: bool = True,
    void: bool = False,
) -> Shapes:
    """Draw ``count`` images.

    Args:
        size: of their sides, in pixels.
        seed: of everything; image i is the same whatever ``count`` is.
        most: shapes in an image; there is one at least.
        noise: standard deviation of each pixel, of 255.
        jitter: standard deviation of a shape's colour about that of its class; a third of it is texture.
        hues: whether classes have colours; else those of shapes are drawn from all.
        void: whether the pixels within one of an edge are void, as those of PASCAL VOC.
    """
    images = np.empty((count, size, size, 3), np.uint8)
    masks = np.empty((count, size, size), np.uint8)
    for number in range(count):
        random = np.random.default_rng([seed, number])
        image = _texture(random, size, jitter) + COLOURS[0] + random.normal(0, jitter / 3, 3)
        mask = np.zeros((size, size), np.uint8)
        edge = np.zeros((size, size), bool)
        for _ in range(random.integers(1, most + 1)):
            label = int(random.integers(1, len(CLASSES)))
            distance = _distance(random, size, CLASSES[label])
            colour = COLOURS[label] + random.normal(0, jitter, 3) if hues else random.uniform(20, 235, 3)
            cover = np.clip(0.5 - distance, 0, 1)[..., np.newaxis]
            image = image * (1 - cover) + (colour + _texture(random, size, jitter / 3)) * cover
            mask[distance < 0] = label
            edge = (edge & (distance > 1)) | (np.abs(distance) <= 1)
        image = image + random.normal(0, noise, image.shape)
        images[number] = np.clip(np.rint(image), 0, 255).astype(np.uint8)
        masks[number] = np.where(edge, VOID, mask) if void else mask
    return Shapes(images, masks)


def _texture(random: np.random.Generator, size: int, deviation: float) -> NDArray[np.float32]:
    """Smooth gray noise (size, size, 1): blotches of an eighth of the side."""
    coarse = random.normal(0, deviation, (8, 8)).astype(np.float32)
    smooth = Image.fromarray(coarse).resize((size, size), Image.Resampling.BICUBIC)
    return np.asarray(smooth)[..., np.newaxis]


def _distance(random: np.random.Generator, size: int, kind: str) -> NDArray[np.float64]:
    """Of each pixel to the outline of a shape at a drawn place, (size, size); negative inside."""
    radius = random.uniform(0.12, 0.28) * size
    (x, y), angle = random.uniform(0.15, 0.85, 2) * size, random.uniform(0, 2 * np.pi)
    rows, columns = np.mgrid[:size, :size] + 0.5
    across = (columns - x) * np.cos(angle) + (rows - y) * np.sin(angle)
    along = (rows - y) * np.cos(angle) - (columns - x) * np.sin(angle)
    match kind:
        case "disc":
            return np.hypot(across, along) - radius
        case "box":
            return np.maximum(abs(across) - radius, abs(along) - random.uniform(0.5, 1) * radius)
        case "triangle":
            turns = np.arange(3) * 2 * np.pi / 3
            sides = [across * np.cos(turn) + along * np.sin(turn) - 0.6 * radius for turn in turns]
            return np.maximum.reduce(sides)
        case _:
            return abs(np.hypot(across, along) - 0.8 * radius) - 0.25 * radius
