"""Images in a fixed order, and what is known of each."""

import hashlib
import json
from collections import Counter
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from edgex.dataset.masks import Masks, checked_mask
from edgex.dataset.text import shortened
from edgex.errors import DataError, UsageError
from edgex.graph.ir import Pair
from edgex.parallel import ahead
from edgex.preprocess import Pixels, Preprocessing, stretch_mask
from edgex.sources import Source

MASKS_WANTED = "Put a mask into masks/ for each image in images/: images/a.jpg, masks/a.png."

Indices = NDArray[np.int64]
Batch = tuple[Indices, NDArray[np.float32]]


class MaskedBatch(NamedTuple):
    """Indices into ``items`` (n,), images float32 (n, height, width, channels), masks uint8 (n, *size)."""

    indices: Indices
    images: NDArray[np.float32]
    masks: Pixels


@dataclass(frozen=True)
class Item:
    """One image: its name within the source, and the index of its class."""

    name: str
    label: int | None = None


@dataclass
class DecodingLog:
    """What was met while decoding so far.

    Attributes:
        unreadable: image name → what is wrong with it.
        reoriented: names of the images that their EXIF orientation turned or mirrored.
    """

    unreadable: dict[str, str] = field(default_factory=dict)
    reoriented: set[str] = field(default_factory=set)


@dataclass(frozen=True)
class Dataset:
    """Images in a fixed order, decoded when they are asked for.

    Attributes:
        source: reads an image by name.
        items: the images, sorted by name.
        class_names: by class index; empty without labels or masks.
        masks: class indices of each image's pixels; None if there are none, or they are not wanted.
        counted: whether the classes are as many as the highest index met tells, and there may be more.
        ignored: entries of a folder or archive that are no images.
        warnings: sentences about what is odd but usable.
        max_bad: how many unreadable images :meth:`batches` passes over.
        log: grows while images are decoded.
    """

    source: Source
    items: tuple[Item, ...]
    class_names: tuple[str, ...] = ()
    masks: Masks | None = None
    counted: bool = False
    ignored: int = 0
    warnings: tuple[str, ...] = ()
    max_bad: int = 0
    log: DecodingLog = field(default_factory=DecodingLog, compare=False)

    def __len__(self) -> int:
        return len(self.items)

    def __getitem__(self, index: int) -> Pixels:
        """Image ``index``, uint8 (height, width, 1 or 3). DataError if it cannot be read."""
        return self.source.image(self.items[index].name).pixels

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(item.name for item in self.items)

    @cached_property
    def labels(self) -> NDArray[np.int64] | None:
        """Class indices (images,), or None without labels."""
        labels = [item.label for item in self.items if item.label is not None]
        return np.array(labels, np.int64) if len(labels) == len(self.items) else None

    @property
    def segmented(self) -> bool:
        """Whether a mask labels each pixel."""
        return self.masks is not None

    def mask(self, index: int, size: Pair | None = None) -> Pixels:
        """The class index of each pixel of image ``index``, uint8 (height, width); :data:`edgex.dataset.VOID` is none.

        Args:
            index: into ``items``.
            size: (height, width) to bring it to, as ``stretch`` brings the image, but by the nearest pixel; None for
                its own.

        Raises:
            DataError: there are no masks, or this one cannot be read, has another size than its image, or an index
                beyond the classes.
        """
        name = self.items[index].name
        return self._mask(name, self.source.shape(name), size)

    def _mask(self, name: str, shape: Pair, size: Pair | None) -> Pixels:
        if self.masks is None:
            raise DataError(f"{self.source.path} has no masks.", fix=MASKS_WANTED)
        mask = checked_mask(self.masks, name, shape, len(self.class_names))
        return mask if size is None else stretch_mask(mask, size)

    @cached_property
    def content_hashes(self) -> tuple[str | None, ...]:
        """The sha256 of each image as it is stored: a file's bytes, or an array's. None for one that is unreadable.

        Masks are not in them, so that an image is known again where it comes without.
        """
        return tuple(_sha256(self.source.content, name) for name in self.names)

    @cached_property
    def mask_hashes(self) -> tuple[str | None, ...]:
        """The same of each mask; empty if there are none."""
        return () if self.masks is None else tuple(_sha256(self.masks.content, name) for name in self.names)

    @cached_property
    def fingerprint(self) -> str:
        """One sha256 over the name, content and label or mask of every image, in order."""
        labels = self.mask_hashes if self.segmented else [item.label for item in self.items]
        rows = [list(row) for row in zip(self.names, self.content_hashes, labels, strict=True)]
        return hashlib.sha256(json.dumps(rows).encode()).hexdigest()

    def sample(self, count: int | None, seed: int = 0) -> "Dataset":
        """Some of the images, in an order of which every head has the classes as evenly as they allow.

        The same for the same names and seed, everywhere.

        Args:
            count: images to choose; None, or more than there are, for all.
            seed: of the choice.
        """

        def rank(item: Item) -> bytes:
            return hashlib.sha256(json.dumps([seed, item.name]).encode()).digest()

        turns: Counter[int | None] = Counter()
        drawn: list[tuple[int, Item]] = []
        for item in sorted(self.items, key=rank):
            drawn.append((turns[item.label], item))
            turns[item.label] += 1
        drawn.sort(key=lambda turn_and_item: turn_and_item[0])  # stable: within a turn by rank
        return replace(self, items=tuple(item for _, item in drawn[:count]), log=DecodingLog())

    def batches(
        self, preprocessing: Preprocessing, batch: int = 1, workers: int = 2, start: int = 0
    ) -> Iterator[Batch]:
        """Preprocessed images in order, decoded ahead of their use by a few threads, in constant memory.

        Args:
            preprocessing: what each image goes through.
            batch: images at a time; the last batch may be smaller.
            workers: threads that decode.
            start: index of the first image.

        Yields:
            Indices into ``items`` (n,), and images float32 (n, height, width, channels). Unreadable images are
            missing, and are found in ``log``.

        Raises:
            DataError: more than ``max_bad`` images are unreadable. All are read first, so that it names them all.
        """

        for indices, images, _ in self._loaded(preprocessing, None, batch, workers, start):
            yield indices, images

    def masked_batches(
        self, preprocessing: Preprocessing, size: Pair, batch: int = 1, workers: int = 2, start: int = 0
    ) -> Iterator[MaskedBatch]:
        """:meth:`batches` with the masks, brought to ``size``, (height, width). An image without a mask is unreadable.

        Raises:
            DataError: as :meth:`batches`, or there are no masks.
            UsageError: images are not stretched, so that masks would not fit them.
        """
        if not self.segmented:
            raise DataError(f"{self.source.path} has no masks.", fix=MASKS_WANTED)
        self.check_resize(preprocessing)
        for indices, images, masks in self._loaded(preprocessing, size, batch, workers, start):
            yield MaskedBatch(indices, images, np.stack(masks))

    def check_resize(self, preprocessing: Preprocessing) -> None:
        """UsageError if there are masks and images are not stretched, so that masks would not fit them."""
        if self.segmented and preprocessing.resize != "stretch":
            raise UsageError(
                f"Images are resized by {preprocessing.resize!r}, and masks are stretched, so they would not fit.",
                fix="Quantize, or evaluate, with --resize stretch.",
            )

    def _loaded(
        self, preprocessing: Preprocessing, size: Pair | None, batch: int, workers: int, start: int
    ) -> Iterator[tuple[Indices, NDArray[np.float32], list[Pixels]]]:
        """Batches, with masks of ``size`` if that is given."""

        def load(item: Item) -> _Loaded | DataError:
            try:
                image = self.source.image(item.name)
                height, width, _ = image.pixels.shape
                mask = None if size is None else self._mask(item.name, (height, width), size)
            except DataError as error:
                return error
            return _Loaded(preprocessing.apply(image.pixels), mask, image.reoriented)

        indices: list[int] = []
        images: list[NDArray[np.float32]] = []
        masks: list[Pixels] = []
        decoded = ahead(load, self.items[start:], workers, distance=batch + 2 * workers)
        for index, loaded in enumerate(decoded, start):
            name = self.items[index].name
            if isinstance(loaded, DataError):
                self.log.unreadable[name] = loaded.message
                continue
            if loaded.reoriented:
                self.log.reoriented.add(name)
            indices.append(index)
            images.append(loaded.image)
            if loaded.mask is not None:
                masks.append(loaded.mask)
            if len(images) == batch:
                if len(self.log.unreadable) <= self.max_bad:
                    yield np.array(indices, np.int64), np.stack(images), masks
                indices, images, masks = [], [], []
        bad = len(self.log.unreadable)
        if bad > self.max_bad:
            raise too_many_bad(self.source, list(self.log.unreadable.values()), len(self))
        if images:
            yield np.array(indices, np.int64), np.stack(images), masks


class _Loaded(NamedTuple):
    """An image as a network reads it, its mask if that is wanted, and whether EXIF turned it."""

    image: NDArray[np.float32]
    mask: Pixels | None
    reoriented: bool


def check_disjoint(seen: Collection[str], evaluation: Dataset) -> None:
    """Refuse to measure on images that ranges or weights were fitted to.

    Images are compared by their stored bytes, so the same picture saved anew is not found out.

    Args:
        seen: content hashes of the images that calibration and training saw.
        evaluation: the images to measure on.

    Raises:
        UsageError: some images are in both; names the first of them.
    """
    pairs = zip(evaluation.names, evaluation.content_hashes, strict=True)
    shared = [name for name, content in pairs if content in seen]
    if shared:
        raise UsageError(
            f"{len(shared)} of {len(evaluation)} images in {evaluation.source.path} are among those that the model was "
            f"calibrated with or trained on: {shortened(shared)}.",
            fix="Evaluate on images that neither has seen.",
        )


def too_many_bad(source: Source, faults: Sequence[str], images: int) -> DataError:
    """What to raise for unreadable images."""
    return DataError(
        f"{len(faults)} of {images} images in {source.path} cannot be read: {shortened(faults)}.",
        fix=f"Repair or remove them, or allow them with --max-bad {len(faults)}.",
    )


def _sha256(content: Callable[[str], bytes], name: str) -> str | None:
    try:
        return hashlib.sha256(content(name)).hexdigest()
    except DataError:
        return None
