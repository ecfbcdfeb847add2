"""Masks: class indices of each pixel, from files or from an array."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Protocol

from edgex.dataset.text import shortened
from edgex.errors import DataError
from edgex.graph.ir import Pair
from edgex.images import decode_mask
from edgex.preprocess import Pixels
from edgex.segmentation import MOST_CLASSES
from edgex.sources import Listing, Source

IMAGES, MASKS, CLASSES = "images", "masks", "classes.txt"

MASK_SUFFIX = ".png"

LONGEST_LIST = 1 << 20
"""Bytes of ``classes.txt``."""


class Masks(Protocol):
    """Masks by the name of their image. What they raise starts with the name of the mask."""

    def content(self, name: str) -> bytes:
        """The stored bytes, for hashing. DataError if they cannot be read."""

    def mask(self, name: str) -> Pixels:
        """Class indices, uint8 (height, width). DataError if it cannot be read, or is no mask."""

    def called(self, name: str) -> str:
        """What messages call it."""


@dataclass(frozen=True)
class FileMasks:
    """Masks in the files of a source; ``names`` has that of each by the name of its image."""

    source: Source
    names: Mapping[str, str]

    def content(self, name: str) -> bytes:
        return self.source.content(self.names[name])

    def mask(self, name: str) -> Pixels:
        return decode_mask(self.content(name), self.names[name])

    def called(self, name: str) -> str:
        return self.names[name]


@dataclass(frozen=True)
class ArrayMasks:
    """Masks of one size in memory, uint8 (images, height, width); the name of each image is its number."""

    pixels: Pixels

    def content(self, name: str) -> bytes:
        content: bytes = self.mask(name).tobytes()
        return content

    def mask(self, name: str) -> Pixels:
        mask: Pixels = self.pixels[int(name)]
        return mask

    def called(self, name: str) -> str:
        return f"the mask of image {name}"


def checked_mask(masks: Masks, name: str, shape: Pair, classes: int) -> Pixels:
    """The mask of an image of ``shape``, (height, width), with no index from ``classes`` on but that of void pixels.

    Raises:
        DataError: it is another, or cannot be read.
    """
    mask = masks.mask(name)
    if mask.shape != shape:
        raise DataError(f"{masks.called(name)}: it has {_size(mask.shape)} pixels, and its image {_size(shape)}")
    highest = highest_index(mask)
    if highest >= classes:
        raise DataError(f"{masks.called(name)}: it has the index {highest}, and there are {classes} classes")
    return mask


def highest_index(mask: Pixels) -> int:
    """Of a class in a mask; -1 if all is void."""
    # The largest byte that is not VOID: one more overflows VOID alone, to 0
    return int((mask + 1).max(initial=0)) - 1


def _size(shape: Sequence[int]) -> str:
    height, width = shape
    return f"{width}x{height}"


def masked_folder(listing: Listing) -> PurePosixPath | None:
    """The folder of a listing that holds ``images/`` and ``masks/``: the whole, or one around everything. Or None."""
    folders = set(listing.folders)
    above = [folder for folder in folders if "/" not in folder]
    places = [PurePosixPath(), *(PurePosixPath(folder) for folder in above if len(above) == 1)]
    return next((place for place in places if {str(place / IMAGES), str(place / MASKS)} <= folders), None)


def paired_masks(path: Path, folder: PurePosixPath, images: Sequence[str], masks: Sequence[str]) -> dict[str, str]:
    """Name of each image → that of its mask: the same below ``masks/`` as the image's below ``images/``, but a PNG.

    Args:
        path: for messages.
        folder: that holds both.
        images: names.
        masks: names of all images below ``masks/``.

    Raises:
        DataError: an image has no mask, a mask no image, two images share a mask, or a mask is no PNG.
    """
    found = {_stem(folder / MASKS, name): name for name in masks}
    of_image = {name: _stem(folder / IMAGES, name) for name in images}
    other = [name for name in masks if not name.lower().endswith(MASK_SUFFIX)]
    twice = [*_repeated([*of_image.values()]), *_repeated([_stem(folder / MASKS, name) for name in masks])]
    missing = [name for name, stem in of_image.items() if stem not in found]
    stems = set(of_image.values())
    extra = [name for stem, name in found.items() if stem not in stems]
    example = f"{IMAGES}/a.jpg has the mask {MASKS}/a{MASK_SUFFIX}"
    if other:
        raise DataError(
            f"{len(other)} masks in {path} are no PNG files: {shortened(other)}.",
            fix="Save them as PNG with a palette or in gray; other formats change the indices, or cannot hold them.",
        )
    if twice:
        raise DataError(
            f"{path} has several files of one name: {shortened(twice)}.", fix=f"Keep one of each; {example}."
        )
    if missing:
        raise DataError(
            f"{len(missing)} images in {path} have no mask: {shortened(missing)}.", fix=f"Add it; {example}."
        )
    if extra:
        raise DataError(
            f"{len(extra)} masks in {path} have no image: {shortened(extra)}.", fix=f"Remove them; {example}."
        )
    return {name: found[stem] for name, stem in of_image.items()}


def named_classes(source: Source, folder: PurePosixPath) -> tuple[str, ...] | None:
    """The names in ``classes.txt``, by class index; None if there is no such file.

    Raises:
        DataError: it is no text, names a class twice or not at all, or more than fit into a mask.
    """
    name = str(folder / CLASSES)
    if name not in source:
        return None
    path = source.path / name
    fix = f"Write the name of each class on a line of its own, in the order of the indices, {MOST_CLASSES} at most."
    try:
        content = source.content(name)
        if len(content) > LONGEST_LIST:
            raise ValueError("it is too long")
        lines = content.decode("utf-8-sig").splitlines()
    except (DataError, ValueError) as error:
        raise DataError(f"{path} cannot be read: {error}.", fix=fix) from error
    names = [line.strip() for line in lines]
    while names and not names[-1]:
        names.pop()
    if not names or not all(names):
        raise DataError(f"{path} names {'no class' if not names else 'a class by nothing'}.", fix=fix)
    if len(names) > MOST_CLASSES:
        raise DataError(f"{path} names {len(names)} classes.", fix=fix)
    if twice := _repeated(names):
        raise DataError(f"{path} names classes twice: {shortened(twice)}.", fix=fix)
    return tuple(names)


def _stem(folder: PurePosixPath, name: str) -> str:
    return str(PurePosixPath(name).relative_to(folder).with_suffix(""))


def _repeated(names: Sequence[str]) -> list[str]:
    return [name for name, count in Counter(names).items() if count > 1]
