"""Changes to zip archives and to what numpy keeps in them: by member, so that what is inside is reached."""

import io
import re
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from random import Random

from fuzz.bytewise import NUMBERS, Mutator, mutate_bytes
from fuzz.documents import mutate_words

NAMES = (
    *("", "../x", "/x", "a/../../x", "..\\x", "x\0y", ".", "é.png", "\ud7ff.png"),
    *("a/" * 2000 + "x.png", 60_000 * "a"),
)
METHODS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA)
HEADERS = (b"PK\x03\x04", b"PK\x01\x02", b"PK\x05\x06")
"""Of a member, of its entry in the directory, and of the end of the directory."""
LONGEST_HEADER = 46
LARGEST_MEMBER = 1 << 20

NPY_MAGIC = b"\x93NUMPY"
NPY_START = 10
"""Bytes of magic, version and length that come before the header's text."""

mutate_npy_header = mutate_words(
    *("'descr'", "'fortran_order'", "'shape'", "'|O'", "'|u1'", "'<f8'", "'>i4'", "'<U5'", "'|V0'", "'|S0'", "True"),
    *("(0,)", "()", "(-1,)", "(1, 0, 8, 3)", "(1000000000000,)", "(4294967296, 4294967296)", "[('x', '<f4')]"),
)


@dataclass
class _Member:
    name: str
    content: bytes
    method: int


def mutate_zip(inside: Callable[[str], Mutator]) -> Mutator:
    """A mutator of zip archives.

    Args:
        inside: the mutator of a member, by its name.
    """

    def mutate(random: Random, content: bytes, other: bytes) -> bytes:
        members, lent = _members(content), _members(other)
        if not members or not lent or random.random() < 0.1:
            return mutate_bytes(random, content, other)
        for _ in range(random.choice((1, 1, 2))):
            member, giver = random.choice(members), random.choice(lent)
            match random.choice(("content",) * 8 + ("name", "method", "remove", "add", "headers")):
                case "content":
                    same = [each for each in lent if each.name == member.name] or [giver]
                    member.content = inside(member.name)(random, member.content, same[0].content)
                case "name":
                    member.name = random.choice([*NAMES, *(each.name for each in lent)])
                case "method":
                    member.method = random.choice(METHODS)
                case "remove" if len(members) > 1:
                    members.remove(member)
                case "add":
                    members.append(_Member(giver.name, giver.content, giver.method))
                case _:
                    return _with_other_headers(random, _archive(members))
        return _archive(members)

    return mutate


def _members(content: bytes) -> list[_Member]:
    """What can be read of an archive."""
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            return [
                _Member(info.filename, archive.read(info), info.compress_type)
                for info in archive.infolist()
                if info.file_size <= LARGEST_MEMBER and info.compress_type in METHODS
            ]
    except Exception:  # noqa: BLE001  a spoilt archive, whose bytes are then changed
        return []


def _archive(members: list[_Member]) -> bytes:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as archive:
        for member in members:
            info = zipfile.ZipInfo(member.name)
            info.compress_type = member.method
            archive.writestr(info, member.content)
    return stream.getvalue()


def _with_other_headers(random: Random, archive: bytes) -> bytes:
    """Sizes, offsets, flags and methods that are not those of the members."""
    changed = bytearray(archive)
    for _ in range(random.choice((1, 1, 2, 4))):
        header = random.choice(HEADERS)
        found = [match.start() for match in re.finditer(re.escape(header), changed)]
        if found:
            start = random.choice(found) + random.randrange(4, LONGEST_HEADER)
            size = random.choice((1, 2, 4))
            changed[start : start + size] = (random.choice(NUMBERS) % 256**size).to_bytes(size, "little")
    return bytes(changed)


def mutate_npy(random: Random, content: bytes, other: bytes) -> bytes:
    """The text that describes an array, with its length set right; or bytes."""
    if not content.startswith(NPY_MAGIC) or random.random() < 0.5:
        return mutate_bytes(random, content, other)
    end = NPY_START + int.from_bytes(content[8:NPY_START], "little")
    text = mutate_npy_header(random, content[NPY_START:end], other[NPY_START:128])
    length = len(text) % 65_536
    return content[:8] + length.to_bytes(2, "little") + text + content[end:]
