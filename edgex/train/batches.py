"""Training batches: the same images in the same order and shifts for the same seed, from any step on."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from edgex.dataset import VOID, Dataset
from edgex.errors import DataError, UsageError
from edgex.graph.ir import Array, Graph, Pair
from edgex.parallel import ahead
from edgex.preprocess import Pixels, Preprocessing, stretch_mask
from edgex.train.head import pixels_of

Augment = Literal["shift", "flip", "none"]

FURTHEST_SHIFT = 0.1
"""Of height and width."""

HELD_OUT = 0.05
"""Share of the images that say when to stop, and are not trained on."""

MOST_HELD_OUT = 1000


class Batch(NamedTuple):
    """Images (n, height, width, channels) and class indices: (n,), zeros where there are no labels, or of each pixel.

    Those of pixels are (n, *size) with :data:`edgex.dataset.VOID`, and the size is that of the network's answers.
    """

    images: Array
    labels: NDArray[np.int64]


@dataclass(frozen=True)
class Batches:
    """Images to train on, in batches.

    Attributes:
        dataset: the images.
        preprocessing: what each goes through.
        size: images in a batch; what is left over at the end of an epoch waits for the next.
        augment: ``shift`` moves each image by up to a tenth, ``flip`` also mirrors half of them.
        seed: of order, shifts and flips.
        workers: threads that decode.
        answers: (height, width) of what a network says of pixels, where it is to learn masks; None for labels.

    Raises:
        UsageError: images are not stretched, so that masks would not fit.
    """

    dataset: Dataset
    preprocessing: Preprocessing
    size: int
    augment: Augment = "shift"
    seed: int = 0
    workers: int = 2
    answers: Pair | None = None

    def __post_init__(self) -> None:
        if self.answers is not None and self.preprocessing.resize != "stretch":
            raise UsageError(
                f"Images are resized by {self.preprocessing.resize!r}, and masks are stretched, so they would not fit.",
                fix="Use --resize stretch.",
            )

    @property
    def per_epoch(self) -> int:
        return len(self.dataset) // self.size

    def __len__(self) -> int:
        """Of one epoch in order, unless a whole batch cannot be read."""
        return -(-len(self.dataset) // self.size)

    def __iter__(self) -> Iterator[Batch]:
        """One epoch in order, as it is stored; the last batch may be smaller."""
        indices = np.arange(len(self.dataset))
        rows = [indices[start : start + self.size] for start in range(0, len(indices), self.size)]
        yield from (batch for batch in self._decoded([(0, row) for row in rows], "none") if len(batch.images))

    def from_step(self, step: int, end: int) -> Iterator[Batch]:
        """Shuffled and augmented batches of the steps from ``step`` up to ``end``, without unreadable images."""
        yield from self._decoded(self._drawn(step, end), self.augment)

    def _drawn(self, step: int, end: int) -> Iterator[tuple[int, NDArray[np.int64]]]:
        """Epoch and indices of each step's images."""
        drawn = -1
        for number in range(step, end):
            epoch, position = divmod(number, self.per_epoch)
            if epoch != drawn:
                order = np.random.default_rng([self.seed, epoch]).permutation(len(self.dataset))
                drawn = epoch
            yield epoch, order[position * self.size : (position + 1) * self.size]

    def _decoded(self, rows: Iterable[tuple[int, NDArray[np.int64]]], augment: Augment) -> Iterator[Batch]:
        labels = self.dataset.labels

        def load(row: tuple[int, NDArray[np.int64]]) -> Batch:
            epoch, indices = row
            images, masks, read = [], [], []
            for index in indices.tolist():
                try:
                    image, mask = self.preprocessing.apply(self.dataset[index]), self._mask(index)
                except DataError as error:
                    self.dataset.log.unreadable[self.dataset.items[index].name] = error.message
                    continue
                read.append(index)
                move = drawn_move(image.shape[:2], augment, np.random.default_rng([self.seed, epoch, index]))
                images.append(move.of_image(image))
                if mask is not None and self.answers is not None:
                    masks.append(stretch_mask(move.of_mask(mask), self.answers))
            shape = (0, *self.preprocessing.size, self.preprocessing.channels)
            stacked = np.stack(images) if images else np.empty(shape, np.float32)
            if self.answers is not None:
                return Batch(stacked, np.stack(masks).astype(np.int64) if masks else np.empty((0, *self.answers), int))
            return Batch(stacked, np.zeros(len(read), np.int64) if labels is None else labels[read])

        for batch in ahead(load, rows, self.workers, distance=2 * self.workers):
            bad = sorted(self.dataset.log.unreadable.values())
            if len(bad) > self.dataset.max_bad:
                raise DataError(
                    f"{len(bad)} images in {self.dataset.source.path} cannot be read: {'; '.join(bad[:10])}.",
                    fix="Repair or remove them, or allow them with --max-bad.",
                )
            yield batch

    def _mask(self, index: int) -> Pixels | None:
        """The mask of an image, of the size that preprocessing gives to the image; None where labels are learned."""
        return None if self.answers is None else self.dataset.mask(index, self.preprocessing.size)


class Taught(NamedTuple):
    """What a dataset teaches a network.

    Attributes:
        labelled: whether it says what the network is to answer.
        answers: (height, width) of the masks that it says it with; None for labels.
    """

    labelled: bool
    answers: Pair | None

    @property
    def measure(self) -> str:
        """What the share of right answers is called; the teacher says what is right where nothing else does."""
        if not self.labelled:
            return "agreement"
        return "top-1" if self.answers is None else "pixel accuracy"


def what_is_taught(graph: Graph, dataset: Dataset) -> Taught:
    """Labels teach who classifies images, and masks who classifies pixels."""
    pixels = pixels_of(graph)
    if pixels is None:
        return Taught(dataset.labels is not None, None)
    return Taught(dataset.segmented, pixels if dataset.segmented else None)


def hold_out(dataset: Dataset, seed: int, batch: int) -> tuple[Dataset, Dataset]:
    """Split into images to train on and images that say when to stop.

    Raises:
        UsageError: fewer than a batch are left to train on.
    """
    drawn = dataset.sample(None, seed)
    count = min(max(1, round(HELD_OUT * len(drawn))), MOST_HELD_OUT)
    held_out, rest = (
        replace(drawn, items=items, log=dataset.log) for items in (drawn.items[:count], drawn.items[count:])
    )
    if len(rest) < batch:
        raise UsageError(
            f"{dataset.source.path} has {len(rest)} images to train on, less than a batch of {batch}.",
            fix="Give more images, or a smaller --batch.",
        )
    return rest, held_out


@dataclass(frozen=True)
class Move:
    """How an image is moved: which of its rows and columns come to lie where, and which of them are beyond its edge.

    Attributes:
        rows: (height,) indices into its rows.
        columns: (width,) likewise.
        outside: (height, width), True where nothing of the image comes to lie.
    """

    rows: NDArray[np.int64]
    columns: NDArray[np.int64]
    outside: NDArray[np.bool_]

    def of_image(self, image: Array) -> Array:
        """An image (height, width, channels), its edges drawn out."""
        return image[self.rows][:, self.columns]

    def of_mask(self, mask: Pixels) -> Pixels:
        """Its mask (height, width): nobody says what is outside, so that is void."""
        moved: Pixels = np.where(self.outside, np.uint8(VOID), mask[self.rows][:, self.columns])
        return moved


def drawn_move(size: Pair, augment: Augment, draw: np.random.Generator) -> Move:
    """A move of images of (height, width), perhaps mirrored."""
    height, width = size
    down, right = (0, 0) if augment == "none" else (int(draw.integers(-reach, reach + 1)) for reach in _reaches(size))
    rows, columns = np.arange(height) - down, np.arange(width) - right
    if augment == "flip" and draw.random() < 0.5:
        columns = columns[::-1]
    outside = ((rows < 0) | (rows >= height))[:, None] | (columns < 0) | (columns >= width)
    return Move(np.clip(rows, 0, height - 1), np.clip(columns, 0, width - 1), outside)


def _reaches(size: Pair) -> Pair:
    height, width = size
    return int(FURTHEST_SHIFT * height), int(FURTHEST_SHIFT * width)
