"""Reading members out of a zip that is not trusted.

What its directory claims is checked before anything is unpacked, and no more is unpacked than it claims.
"""

import os
import shutil
import struct
import zipfile
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from io import BytesIO
from pathlib import PurePosixPath
from typing import Any, BinaryIO

from edgex.errors import ModelError

DIRECTORY_LIMIT = 1 << 20
"""Bytes of the directory, of which Python makes objects ten times as large. That of a Keras file takes some hundred."""

EXPANSION_LIMIT = 200
"""How many times larger than its packed form a member may be; trained weights hardly compress at all."""

EXPANSION_FLOOR = 1 << 20
"""Bytes below which expansion does no harm."""

INFLATED_LIMIT = 1 << 30
"""Bytes of one packed member, of whose content nothing is known before: nearly twice the weights of VGG19, the largest
in ``keras.applications`` that edgex reads. Keras does not pack, and what is not packed takes no more than on disk."""

PART = 1 << 20
"""Bytes unpacked at a time."""

END = struct.Struct("<4s4H2LH")
END_64 = struct.Struct("<4sQ2H2L4Q")
LOCATOR_64 = struct.Struct("<4sLQL")
"""The last records of a zip, by the sizes of their fields (APPNOTE.TXT 6.3.10, sections 4.3.14 to 4.3.16)."""

REFUSED = "edgex reads archives as Keras writes them: save the model again with model.save()."


@contextmanager
def open_zip(stream: BinaryIO) -> Iterator[zipfile.ZipFile]:
    """Open a zip whose members can be unpacked by :func:`unpacked`.

    Raises:
        ModelError: it is a bomb, or one that Keras cannot have written; says why.
        OSError, ValueError, zipfile.BadZipFile, …: it is damaged.
    """
    _check_directory(stream)
    with zipfile.ZipFile(stream) as archive:
        _check_members(archive.infolist())
        yield archive


def unpacked(archive: zipfile.ZipFile, name: str) -> BytesIO:
    """The content of a member, unpacked in parts.

    Read at once, ``zipfile`` unpacks all that there is, and only then cuts it to the size that the directory claims.
    """
    content = BytesIO()
    with archive.open(name) as member:
        shutil.copyfileobj(member, content, PART)
    content.seek(0)
    return content


def _check_directory(stream: BinaryIO) -> None:
    """Refuse a directory that is too large, before ``zipfile`` makes objects of it.

    Raises:
        ModelError: it is too large.
        ValueError: the last records are not where ``zipfile`` writes them. Elsewhere its versions look in different
            places.
    """
    start = stream.seek(0, os.SEEK_END) - END.size
    signature, *_, size, _, comment = _record(stream, END, start)
    if signature != b"PK\x05\x06" or comment:
        raise ValueError("it does not end as a zip does")
    locator = start - LOCATOR_64.size
    signature, _, start_64, _ = _record(stream, LOCATOR_64, locator)
    if signature == b"PK\x06\x07":
        signature, *_, size, _ = _record(stream, END_64, locator - END_64.size)
        if signature != b"PK\x06\x06" or start_64 != locator - END_64.size:
            raise ValueError("it does not end as a zip64 does")
    if size > DIRECTORY_LIMIT:
        raise ModelError(f"its directory of members takes {size} bytes: a bomb", fix=REFUSED)


def _record(stream: BinaryIO, layout: struct.Struct, start: int) -> tuple[Any, ...]:
    stream.seek(start)
    return layout.unpack(stream.read(layout.size))


def _check_members(members: list[zipfile.ZipInfo]) -> None:
    """Refuse an archive that Keras cannot have written, by its directory alone."""
    for name, count in Counter(member.filename for member in members).items():
        if count > 1:
            raise ModelError(f"it holds {name!r} {count} times", fix=REFUSED)
    for member in members:
        parts = PurePosixPath(member.filename.replace("\\", "/"))
        if parts.is_absolute() or ".." in parts.parts:
            raise ModelError(f"its member {member.filename!r} points outside the archive", fix=REFUSED)
        if member.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
            raise ModelError(f"its member {member.filename!r} is compressed in a way that Keras does not", fix=REFUSED)
        most = max(EXPANSION_FLOOR, min(EXPANSION_LIMIT * member.compress_size, INFLATED_LIMIT))
        if member.compress_type != zipfile.ZIP_STORED and member.file_size > most:
            raise ModelError(
                f"its member {member.filename!r} claims {member.file_size} bytes in {member.compress_size} stored "
                "ones: a decompression bomb",
                fix=REFUSED,
            )
