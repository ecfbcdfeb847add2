"""Protocol buffers as they are stored (https://protobuf.dev/programming-guides/encoding/), looked at without parsing.

A parsed field takes up to a hundred times the two bytes that it can take in a file.
"""

from functools import lru_cache
from typing import Any

LONGEST_NUMBER = 10
VARINT, FIXED64, BYTES, START_GROUP, END_GROUP, FIXED32 = range(6)
SIZES = {FIXED64: 8, FIXED32: 4, START_GROUP: 0, END_GROUP: 0}
"""Of values. A group has its fields between two marks, here counted as if they were of the message around it."""


def has_more_fields(content: bytes, descriptor: Any, most: int) -> bool:
    """Whether a message, with those in it, has more than ``most`` fields.

    Args:
        content: the message as it is stored. Where it is damaged, only what comes before counts.
        descriptor: of its type, as protobuf's Python package has it.
        most: fields.
    """
    fields = 0
    ahead = [(0, len(content), descriptor)]
    while ahead:
        position, end, descriptor = ahead.pop()
        inner = _inner_messages(descriptor)
        while position < end:
            fields += 1
            if fields > most:
                return True
            try:
                key, position = _number(content, position)
                if key & 7 in SIZES:
                    position += SIZES[key & 7]
                    continue
                size, position = _number(content, position)
            except IndexError:
                return False
            if key & 7 == BYTES:
                if key >> 3 in inner:
                    ahead += [
                        (position + size, end, descriptor),
                        (position, min(position + size, end), inner[key >> 3]),
                    ]
                    break
                position += size
    return False


@lru_cache
def _inner_messages(descriptor: Any) -> dict[int, Any]:
    """The fields that are messages themselves: number → descriptor."""
    return {field.number: field.message_type for field in descriptor.fields if field.message_type is not None}


def _number(content: bytes, position: int) -> tuple[int, int]:
    """The number at a position, and where it ends. IndexError if there is none."""
    number = 0
    for place in range(LONGEST_NUMBER):
        byte = content[position + place]
        number |= (byte & 0x7F) << 7 * place
        if byte < 0x80:
            return number, position + place + 1
    raise IndexError("a number has no end")
