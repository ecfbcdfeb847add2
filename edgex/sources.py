"""Where images come from: a folder, a zip archive, or arrays. Each finds its images and reads one by name.

Names are relative, with ``/`` between their parts, and the same whether a folder is zipped or not. All sources may
be read from several threads.
"""

import threading
import zipfile
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Protocol

from edgex.errors import DataError
from edgex.images import DecodedImage, decode, is_image
from edgex.preprocess import Pixels

MAX_BYTES = 256 * 2**20
"""Of one image file; more than its pixels at :data:`edgex.images.MAX_PIXELS` would take raw."""


@dataclass(frozen=True)
class Listing:
    """What a folder or an archive holds.

    Attributes:
        images: names of the images, sorted.
        folders: names of the folders, also those without images, sorted.
        ignored: how many entries are hidden, not images, broken links, or links back to a folder above.
    """

    images: tuple[str, ...]
    folders: tuple[str, ...]
    ignored: int


class Source(Protocol):
    """Images by name."""

    @property
    def path(self) -> Path: ...

    def __contains__(self, name: str) -> bool: ...

    def content(self, name: str) -> bytes:
        """The stored bytes of an image, for hashing. DataError if they cannot be read."""

    def image(self, name: str) -> DecodedImage:
        """The decoded image. DataError if it cannot be read or decoded; the message starts with the name."""


@dataclass(frozen=True)
class Folder:
    """Image files below a folder; links are followed."""

    path: Path

    def __contains__(self, name: str) -> bool:
        return (self.path / name).is_file()

    def content(self, name: str) -> bytes:
        file = self.path / name
        try:
            if file.stat().st_size > MAX_BYTES:
                raise DataError(f"{name}: larger than {MAX_BYTES:,} bytes")
            return file.read_bytes()
        except OSError as error:
            raise DataError(f"{name}: {error.strerror}") from error

    def image(self, name: str) -> DecodedImage:
        return decode(self.content(name), name)

    def listing(self) -> Listing:
        """Everything below the folder. DataError if one cannot be listed."""
        images, folders, ignored = [], [], 0
        for entry, kind in _walk(self.path, ()):
            name = entry.relative_to(self.path).as_posix()
            match kind:
                case "image":
                    images.append(name)
                case "folder":
                    folders.append(name)
                case _:
                    ignored += 1
        return Listing(tuple(sorted(images)), tuple(sorted(folders)), ignored)


class Archive:
    """Image files in a zip archive.

    Raises:
        DataError: not a zip archive, or a member's name leads out of it, or an image is implausibly large.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._lock = threading.Lock()
        try:
            self._zip = zipfile.ZipFile(path)
        except (zipfile.BadZipFile, OSError) as error:
            raise DataError(f"{path} is not a readable zip archive: {error}.", fix="Make it again.") from error
        self._members = {info.filename: info for info in self._zip.infolist() if not info.is_dir()}
        for name, info in self._members.items():
            if name.startswith("/") or ".." in PurePosixPath(name).parts:
                raise DataError(f"{path} has a member named {name!r}, which leads out of it.", fix="Make it again.")
            if is_image(name) and info.file_size > MAX_BYTES:
                raise DataError(
                    f"{path} has an image {name!r} of {info.file_size:,} bytes; the limit is {MAX_BYTES:,}.",
                    fix="Take it out, or make it smaller.",
                )

    def __contains__(self, name: str) -> bool:
        return name in self._members

    def content(self, name: str) -> bytes:
        try:
            with self._lock:
                return self._zip.read(self._members[name])
        # In order: a wrong checksum, a damaged stream, a password, an unknown compression, a disk that fails.
        except (zipfile.BadZipFile, zlib.error, EOFError, RuntimeError, NotImplementedError, OSError) as error:
            raise DataError(f"{name}: {error}") from error

    def image(self, name: str) -> DecodedImage:
        return decode(self.content(name), name)

    def listing(self) -> Listing:
        """Everything in the archive."""
        folders: set[PurePosixPath] = set()
        images = []
        for name in dict.fromkeys(self._zip.namelist()):
            path = PurePosixPath(name)
            if any(map(_hidden, path.parts)):
                continue
            folders.update(path.parents)
            if name not in self._members:
                folders.add(path)
            elif is_image(name):
                images.append(name)
        folders.discard(PurePosixPath())
        return Listing(tuple(sorted(images)), tuple(sorted(map(str, folders))), len(self._members) - len(images))


@dataclass(frozen=True)
class Arrays:
    """Images of one size in memory, uint8 (images, height, width, 1 or 3); the name of each is its number."""

    path: Path
    pixels: Pixels

    def __contains__(self, name: str) -> bool:
        return name.isdecimal() and int(name) < len(self.pixels)

    def content(self, name: str) -> bytes:
        content: bytes = self.pixels[int(name)].tobytes()
        return content

    def image(self, name: str) -> DecodedImage:
        return DecodedImage(self.pixels[int(name)])


def _hidden(part: str) -> bool:
    return part.startswith(".") or part == "__MACOSX"


def _walk(folder: Path, above: tuple[Path, ...]) -> Iterator[tuple[Path, str]]:
    """Everything below a folder, each with its kind: image, folder, or ignored."""
    above = (*above, folder.resolve())
    try:
        entries = sorted(folder.iterdir())
    except OSError as error:
        raise DataError(f"{folder} cannot be listed: {error.strerror}.", fix="Check its permissions.") from error
    for entry in entries:
        if _hidden(entry.name):
            yield entry, "ignored"
        elif entry.is_dir():
            if entry.resolve() in above:
                yield entry, "ignored"
            else:
                yield entry, "folder"
                yield from _walk(entry, above)
        elif entry.is_file() and is_image(entry.name):
            yield entry, "image"
        else:
            yield entry, "ignored"
