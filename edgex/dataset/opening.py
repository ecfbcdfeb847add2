"""From a spec to a dataset; the package says which there are."""

import csv
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path, PurePosixPath
from typing import Literal

import numpy as np

from edgex.dataset.dataset import Dataset, Item, too_many_bad
from edgex.dataset.masks import (
    IMAGES,
    MASKS,
    ArrayMasks,
    FileMasks,
    Masks,
    highest_index,
    masked_folder,
    named_classes,
    paired_masks,
)
from edgex.dataset.text import shortened
from edgex.errors import DataError, UsageError
from edgex.npz_file import read_npz
from edgex.parallel import ahead
from edgex.resources import digits_file
from edgex.sources import Archive, Arrays, Folder, Listing, Source, leads_out

DECODERS = 2
"""Threads, for masks."""

Role = Literal["calibration", "evaluation", "training"]

DIGITS_SPLITS: dict[Role, str] = {"calibration": "calibration", "evaluation": "test", "training": "train"}

MAX_CLASSES = 100_000
"""Class indices above this are a mistake, such as a file number in the place of a label."""

MOST_BYTES = 4 << 30
"""Of the arrays in an npz, which is read whole."""


def open_dataset(spec: str | Path, *, role: Role, labels: Path | None = None, max_bad: int = 0) -> Dataset:
    """Open images of any form in the package's docstring; nothing is decoded yet but masks whose classes have no names.

    Args:
        spec: a path, or the word ``digits``.
        role: what the images are for. Only evaluation needs labels or masks; calibration takes no masks.
        labels: a CSV file with the columns ``path`` and ``label`` for the images of a folder or archive.
        max_bad: how many unreadable images to pass over.

    Raises:
        UsageError: the path does not exist, or there is no image to calibrate with.
        DataError: there is no image, or no label or mask where one is needed, or the file is damaged.
    """
    dataset = replace(_open(spec, role, labels, max_bad), max_bad=max_bad)
    path = dataset.source.path
    if not dataset.items:
        error = UsageError if role == "calibration" else DataError
        raise error(
            f"{path} holds no images ({dataset.ignored} other files).",
            fix="Give a folder or zip with images in class folders (class/name.jpg), an npz, or a csv.",
        )
    if dataset.segmented:
        return dataset
    if dataset.labels is None:
        if role == "evaluation":
            raise DataError(
                f"{path} holds {len(dataset)} images without labels, and evaluation needs them.",
                fix="Put each into a folder named after its class (class/name.jpg), "
                "or give a CSV file with the columns path,label: --labels labels.csv; for segmentation put a mask "
                "into masks/ for each image in images/.",
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


def _open(spec: str | Path, role: Role, labels: Path | None, max_bad: int) -> Dataset:
    if spec == "digits":
        return _open_digits(role)
    path = Path(spec)
    if not path.exists():
        raise UsageError(f"{path} does not exist.", fix="Give a folder, a .zip, .npz or .csv file, or the word digits.")
    suffix = path.suffix.lower()
    if path.is_dir() or suffix == ".zip":
        source = Folder(path) if path.is_dir() else Archive(path)
        if labels:
            return _from_table(source, labels)
        listing = source.listing()
        folder = masked_folder(listing)
        return _from_listing(source, listing) if folder is None else _from_masks(source, listing, folder, role, max_bad)
    if labels:
        raise UsageError(f"{path} brings its own labels.", fix="Leave out --labels.")
    if suffix == ".csv":
        return _from_table(Folder(path.parent), path)
    if suffix == ".npz":
        return _from_arrays(path, role)
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
    return Dataset(source, items, class_names, ignored=listing.ignored)


def _from_masks(source: Source, listing: Listing, folder: PurePosixPath, role: Role, max_bad: int) -> Dataset:
    """Images in ``images/`` of a folder of the source, and masks in its ``masks/``."""
    images, masks = (
        [name for name in listing.images if PurePosixPath(name).is_relative_to(folder / part)]
        for part in (IMAGES, MASKS)
    )
    ignored = listing.ignored + len(listing.images) - len(images) - len(masks)
    items = tuple(map(Item, images))
    if role == "calibration" or not images:
        return Dataset(source, items, ignored=ignored)
    of_images = FileMasks(source, paired_masks(source.path, folder, images, masks))
    class_names = named_classes(source, folder)
    if class_names is not None:
        return Dataset(source, items, class_names, of_images, ignored=ignored)
    counted = _counted_classes(source, of_images, images, max_bad)
    return Dataset(source, items, counted, of_images, counted=True, ignored=ignored)


def _counted_classes(source: Source, masks: Masks, images: Sequence[str], max_bad: int) -> tuple[str, ...]:
    """Numbers up to the highest index in the masks, of which some may be unreadable."""

    def highest(name: str) -> int | DataError:
        try:
            return highest_index(masks.mask(name))
        except DataError as error:
            return error

    found = list(ahead(highest, images, DECODERS))
    faults = [each.message for each in found if isinstance(each, DataError)]
    if len(faults) > max_bad:
        raise too_many_bad(source, faults, len(images))
    return _numbered_classes(source.path, max((each for each in found if isinstance(each, int)), default=-1))


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
            f"{table} lists images outside of {source.path}: {shortened(outside)}.",
            fix=f"Give paths relative to {source.path}.",
        )
    missing = [name for name in names if name not in source]
    if missing:
        raise DataError(
            f"{len(missing)} images that {table} lists are not in {source.path}: {shortened(missing)}.",
            fix=f"Give paths relative to {source.path}.",
        )
    twice = [name for name, count in Counter(names).items() if count > 1]
    if twice:
        raise DataError(f"{table} lists images more than once: {shortened(twice)}.", fix="List each once.")
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


def _from_arrays(path: Path, role: Role) -> Dataset:
    fix = (
        "Save it with numpy.savez: x uint8 (images, height, width, 1 or 3), and y, one integer for each or masks uint8 "
        "(images, height, width); or give the images in a folder or zip, which is not read whole."
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
    if y.shape == x.shape[:3] and y.dtype == np.uint8:
        if role == "calibration" or not len(x):
            return Dataset(Arrays(path, x), _numbered_items(len(x)))
        class_names = _numbered_classes(path, highest_index(y))
        return Dataset(Arrays(path, x), _numbered_items(len(x)), class_names, ArrayMasks(y), counted=True)
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
