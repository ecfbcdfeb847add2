"""Datasets: images, with or without labels, in a fixed order, from every form that people keep them in.

=========================  =================================================================================
spec                       labels
=========================  =================================================================================
folder or .zip             of each image the first folder on its way, in alphabetical order; none if an image
                           lies in no folder. One folder around everything else does not count
folder or .zip, + labels   a CSV file with the columns ``path`` and ``label``; images it leaves out are left out
.csv                       the same, with paths relative to the file
.npz                       ``y``; the images are ``x``, uint8 (images, height, width, 1 or 3)
``digits``                 of the handwritten digits that ship with edgex; each role gets images of its own
=========================  =================================================================================

Labels that are all whole numbers are taken for class indices; others are numbered in alphabetical order.
"""

import csv
import hashlib
import json
from collections import Counter
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path, PurePosixPath
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from edgex.errors import DataError, UsageError
from edgex.npz_file import read_npz
from edgex.parallel import ahead
from edgex.preprocess import Pixels, Preprocessing
from edgex.resources import digits_file
from edgex.sources import Archive, Arrays, Folder, Listing, Source, leads_out

Role = Literal["calibration", "evaluation", "training"]

DIGITS_SPLITS: dict[Role, str] = {"calibration": "calibration", "evaluation": "test", "training": "train"}

MAX_CLASSES = 100_000
"""Class indices above this are a mistake, such as a file number in the place of a label."""

MOST_BYTES = 4 << 30
"""Of the arrays in an npz, which is read whole."""

SHOWN = 10
"""Images that a message names before it only counts."""

Batch = tuple[NDArray[np.int64], NDArray[np.float32]]


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
        class_names: by class index; empty without labels.
        ignored: entries of a folder or archive that are no images.
        warnings: sentences about what is odd but usable.
        max_bad: how many unreadable images :meth:`batches` passes over.
        log: grows while images are decoded.
    """

    source: Source
    items: tuple[Item, ...]
    class_names: tuple[str, ...] = ()
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

    @cached_property
    def content_hashes(self) -> tuple[str | None, ...]:
        """The sha256 of each image as it is stored: a file's bytes, or an array's. None for one that is unreadable."""

        def content_hash(item: Item) -> str | None:
            try:
                return hashlib.sha256(self.source.content(item.name)).hexdigest()
            except DataError:
                return None

        return tuple(map(content_hash, self.items))

    @cached_property
    def fingerprint(self) -> str:
        """One sha256 over the name, content and label of every image, in order."""
        rows = [[item.name, content, item.label] for item, content in zip(self.items, self.content_hashes, strict=True)]
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

        def load(item: Item) -> tuple[NDArray[np.float32], bool] | DataError:
            try:
                image = self.source.image(item.name)
            except DataError as error:
                return error
            return preprocessing.apply(image.pixels), image.reoriented

        indices: list[int] = []
        images: list[NDArray[np.float32]] = []
        decoded = ahead(load, self.items[start:], workers, distance=batch + 2 * workers)
        for index, loaded in enumerate(decoded, start):
            name = self.items[index].name
            if isinstance(loaded, DataError):
                self.log.unreadable[name] = loaded.message
                continue
            image, reoriented = loaded
            if reoriented:
                self.log.reoriented.add(name)
            indices.append(index)
            images.append(image)
            if len(images) == batch:
                if len(self.log.unreadable) <= self.max_bad:
                    yield np.array(indices, np.int64), np.stack(images)
                indices, images = [], []
        bad = len(self.log.unreadable)
        if bad > self.max_bad:
            raise DataError(
                f"{bad} of {len(self)} images in {self.source.path} cannot be read: "
                f"{_shortened(list(self.log.unreadable.values()))}.",
                fix=f"Repair or remove them, or allow them with --max-bad {bad}.",
            )
        if images:
            yield np.array(indices, np.int64), np.stack(images)


def open_dataset(spec: str | Path, *, role: Role, labels: Path | None = None, max_bad: int = 0) -> Dataset:
    """Open images of any form in the module docstring; nothing is decoded yet.

    Args:
        spec: a path, or the word ``digits``.
        role: what the images are for. Only evaluation needs labels.
        labels: a CSV file with the columns ``path`` and ``label`` for the images of a folder or archive.
        max_bad: how many unreadable images to pass over.

    Raises:
        UsageError: the path does not exist, or there is no image to calibrate with.
        DataError: there is no image or no label where one is needed, or the file is damaged.
    """
    dataset = replace(_open(spec, role, labels), max_bad=max_bad)
    path = dataset.source.path
    if not dataset.items:
        error = UsageError if role == "calibration" else DataError
        raise error(
            f"{path} holds no images ({dataset.ignored} other files).",
            fix="Give a folder or zip with images in class folders (class/name.jpg), an npz, or a csv.",
        )
    if dataset.labels is None:
        if role == "evaluation":
            raise DataError(
                f"{path} holds {len(dataset)} images without labels, and evaluation needs them.",
                fix="Put each into a folder named after its class (class/name.jpg), "
                "or give a CSV file with the columns path,label: --labels labels.csv",
            )
        return dataset
    counts = np.bincount(dataset.labels, minlength=len(dataset.class_names))
    warnings = [
        f"{path} holds no image of the class {name!r}."
        for name, count in zip(dataset.class_names, counts, strict=True)
        if not count
    ]
    if np.count_nonzero(counts) == 1:
        warnings.append(f"All images in {path} are of one class, {dataset.class_names[int(counts.argmax())]!r}.")
    return replace(dataset, warnings=tuple(warnings))


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
            f"calibrated with or trained on: {_shortened(shared)}.",
            fix="Evaluate on images that neither has seen.",
        )


def _open(spec: str | Path, role: Role, labels: Path | None) -> Dataset:
    if spec == "digits":
        return _open_digits(role)
    path = Path(spec)
    if not path.exists():
        raise UsageError(f"{path} does not exist.", fix="Give a folder, a .zip, .npz or .csv file, or the word digits.")
    suffix = path.suffix.lower()
    if path.is_dir() or suffix == ".zip":
        source = Folder(path) if path.is_dir() else Archive(path)
        return _from_table(source, labels) if labels else _from_listing(source, source.listing())
    if labels:
        raise UsageError(f"{path} brings its own labels.", fix="Leave out --labels.")
    if suffix == ".csv":
        return _from_table(Folder(path.parent), path)
    if suffix == ".npz":
        return _from_arrays(path)
    raise DataError(f"{path} is not a dataset.", fix="Give a folder, a .zip, .npz or .csv file, or the word digits.")


def _from_listing(source: Source, listing: Listing) -> Dataset:
    """Images labelled by their folders."""
    ways = {name: PurePosixPath(name).parts for name in listing.images}
    folders = [PurePosixPath(name).parts for name in listing.folders]
    depth = 0
    while len({way[depth] for way in [*ways.values(), *folders] if len(way) > depth}) == 1 and all(
        len(way) > depth + 2 for way in ways.values()
    ):
        depth += 1
    if any(len(way) == depth + 1 for way in ways.values()):
        return Dataset(source, tuple(map(Item, listing.images)), ignored=listing.ignored)
    class_names = tuple(sorted({way[depth] for way in folders if len(way) > depth}))
    index = {name: label for label, name in enumerate(class_names)}
    items = tuple(Item(name, index[way[depth]]) for name, way in ways.items())
    return Dataset(source, items, class_names, listing.ignored)


def _from_table(source: Source, table: Path) -> Dataset:
    """Images that a CSV file lists, with its labels."""
    try:
        with table.open(newline="", encoding="utf-8-sig") as file:
            rows = [(row["path"] or "", row.get("label")) for row in csv.DictReader(file)]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise DataError(f"{table} cannot be read: {error}.", fix="Give a CSV file in UTF-8.") from error
    except KeyError:
        raise DataError(f"{table} has no column 'path'.", fix="Begin it with the line: path,label") from None
    names = [name for name, _ in rows]
    outside = [name for name in names if leads_out(name)]
    if outside:
        raise DataError(
            f"{table} lists images outside of {source.path}: {_shortened(outside)}.",
            fix=f"Give paths relative to {source.path}.",
        )
    missing = [name for name in names if name not in source]
    if missing:
        raise DataError(
            f"{len(missing)} images that {table} lists are not in {source.path}: {_shortened(missing)}.",
            fix=f"Give paths relative to {source.path}.",
        )
    twice = [name for name, count in Counter(names).items() if count > 1]
    if twice:
        raise DataError(f"{table} lists images more than once: {_shortened(twice)}.", fix="List each once.")
    words = [label for _, label in rows if label]
    if not words:
        return Dataset(source, tuple(map(Item, sorted(names))))
    if len(words) < len(rows):
        raise DataError(f"{table} has {len(rows) - len(words)} images without a label.", fix="Label all of them.")
    if all(word.isdecimal() for word in words):
        try:
            labels = [int(word) for word in words]
        except ValueError as error:
            raise DataError(f"{table} has a label of too many digits.", fix="Number the classes from 0.") from error
        class_names = _numbered_classes(table, max(labels))
    else:
        class_names = tuple(sorted(set(words)))
        index = {name: label for label, name in enumerate(class_names)}
        labels = [index[word] for word in words]
    return Dataset(source, tuple(sorted(map(Item, names, labels), key=lambda item: item.name)), class_names)


def _from_arrays(path: Path) -> Dataset:
    fix = (
        "Save it with numpy.savez: x uint8 (images, height, width, 1 or 3), and y, one integer for each; or give the "
        "images in a folder or zip, which is not read whole."
    )
    try:
        arrays = read_npz(path, MOST_BYTES, ("x", "y"))
    except (OSError, ValueError) as error:
        raise DataError(f"{path} cannot be read: {error}.", fix=fix) from error
    if "x" not in arrays:
        raise DataError(f"{path} has no array 'x'.", fix=fix)
    x, y = arrays["x"], arrays.get("y")
    if x.dtype != np.uint8 or x.ndim != 4 or x.shape[3] not in (1, 3) or 0 in x.shape[1:]:
        raise DataError(f"In {path}, x is {x.dtype} {x.shape}.", fix=fix)
    if y is None:
        return Dataset(Arrays(path, x), _numbered_items(len(x)))
    if y.shape != x.shape[:1] or y.dtype.kind not in "iu":
        raise DataError(f"In {path}, y is {y.dtype} {y.shape}, and x has {len(x)} images.", fix=fix)
    if not len(y):
        return Dataset(Arrays(path, x), ())
    if y.min() < 0:
        raise DataError(f"In {path}, y has the label {y.min()}.", fix="Number the classes from 0.")
    return Dataset(Arrays(path, x), _numbered_items(len(x), y), _numbered_classes(path, int(y.max())))


def _open_digits(role: Role) -> Dataset:
    path = digits_file()
    with np.load(path) as arrays:
        x, y, chosen = arrays["x"], arrays["y"], arrays["split"] == DIGITS_SPLITS[role]
    items = tuple(item for item, keep in zip(_numbered_items(len(x), y), chosen, strict=True) if keep)
    return Dataset(Arrays(path, x), items, _numbered_classes(path, int(y.max())))


def _numbered_items(count: int, labels: Iterable[int] | None = None) -> tuple[Item, ...]:
    """Items named 000, 001, … so that their names sort as they stand."""
    names = [str(index).zfill(len(str(count - 1))) for index in range(count)]
    return tuple(map(Item, names)) if labels is None else tuple(map(Item, names, map(int, labels)))


def _numbered_classes(path: Path, highest: int) -> tuple[str, ...]:
    if highest >= MAX_CLASSES:
        raise DataError(f"{path} has the label {highest}, which is no class index.", fix="Number the classes from 0.")
    return tuple(map(str, range(highest + 1)))


def _shortened(entries: list[str]) -> str:
    more = f" and {len(entries) - SHOWN} more" if len(entries) > SHOWN else ""
    return ", ".join(entries[:SHOWN]) + more
