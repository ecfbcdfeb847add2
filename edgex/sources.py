"""Where images come from: a folder, a zip archive, or arrays. Each finds its images and reads one by name.

Names are relative, with ``/`` between their parts, and the same whether a folder is zipped or not. All sources may
be read from several threads.
"""

import threading
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Protocol

from edgex.errors import DataError
from edgex.graph.ir import Pair
from edgex.images import DecodedImage, decode, is_image, upright_shape
from edgex.preprocess import Pixels

MAX_BYTES = 256 * 2**20
"""Of one image file; more than its pixels at :data:`edgex.images.MAX_PIXELS` would take raw."""

DEEPEST = 100
"""Folders inside each other, with the image in the innermost."""

COMPRESSIONS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)
"""Those that unpack in little memory; an LZMA stream may ask for 4 GiB, a bzip2 one unpacks whole."""


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

    def shape(self, name: str) -> Pair:
        """(height, width) of the decoded image, which need not be decoded for it. DataError as of :meth:`image`."""


@dataclass(frozen=True)
class Folder:
    """Image files below a folder; links are followed."""

    path: Path

    def __contains__(self, name: str) -> bool:
        try:
            return (self.path / name).is_file()
        except OSError:  # the name is too long for a file
            return False

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

    def shape(self, name: str) -> Pair:
        return upright_shape(self.content(name), name)

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
        DataError: not a zip archive, or a member's name leads out of it, or is empty or implausibly deep.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._lock = threading.Lock()
        try:
            self._zip = zipfile.ZipFile(path)
        except Exception as error:  # on damaged bytes zipfile raises many kinds
            raise DataError(f"{path} is not a readable zip archive: {error}.", fix="Make it again.") from error
        for name in self._zip.namelist():
            if not name or leads_out(name):
                raise DataError(f"{path} has a member named {name!r}, which lies nowhere in it.", fix="Make it again.")
            if len(PurePosixPath(name).parts) > DEEPEST + 1:
                raise DataError(f"{path} has a member in more than {DEEPEST} folders.", fix="Make it again.")
        self._members = {member.filename: member for member in self._zip.infolist() if not member.is_dir()}

    def __contains__(self, name: str) -> bool:
        return name in self._members

    def content(self, name: str) -> bytes:
        member = self._members[name]
        if member.file_size > MAX_BYTES:
            raise DataError(f"{name}: larger than {MAX_BYTES:,} bytes")
        if member.compress_type not in COMPRESSIONS:
            raise DataError(f"{name}: not compressed by deflate")
        try:
            with self._lock, self._zip.open(member) as stream:
                return stream.read(member.file_size)  # and not all that there is, for a member may understate it
        except Exception as error:  # on damaged bytes zipfile and zlib raise many kinds
            raise DataError(f"{name}: {str(error) or type(error).__name__}") from error

    def image(self, name: str) -> DecodedImage:
        return decode(self.content(name), name)

    def shape(self, name: str) -> Pair:
        return upright_shape(self.content(name), name)

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

    def shape(self, name: str) -> Pair:
        height, width, _ = self.pixels[int(name)].shape
        return height, width


def leads_out(name: str) -> bool:
    """Whether a name is that of a file elsewhere."""
    return name.startswith("/") or ".." in PurePosixPath(name).parts


def _hidden(part: str) -> bool:
    return part.startswith(".") or part == "__MACOSX"


def _walk(folder: Path, above: tuple[Path, ...]) -> Iterator[tuple[Path, str]]:
    """Everything below a folder, each with its kind: image, folder, or ignored."""
    if len(above) > DEEPEST:
        raise DataError(f"{folder} lies in more than {DEEPEST} folders.", fix="Move its images up.")
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
