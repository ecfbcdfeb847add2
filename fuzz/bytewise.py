"""Changes to bytes, whatever they are."""

from collections.abc import Callable
from random import Random

Mutator = Callable[[Random, bytes, bytes], bytes]
"""Makes an input of one before; the second lends parts. The same for the same state of the generator."""

NUMBERS = (0, 1, 2, 127, 128, 255, 32767, 32768, 65535, 2**31 - 1, 2**31, 2**32 - 1, 2**40, 2**63 - 1, 2**63, 2**64 - 1)
"""Where counts, sizes and offsets go wrong."""

FEW = (1, 1, 1, 2, 2, 4, 8)
"""Changes at a time: one alone gets furthest into a reader, and some faults take several."""

LONGEST_PART = 64
"""Bytes that are moved at a time, mostly."""


def mutate_bytes(random: Random, content: bytes, other: bytes) -> bytes:
    """Flip, overwrite, cut out, repeat, splice or cut off bytes."""
    changed = bytearray(content)
    for _ in range(random.choice(FEW)):
        random.choice(CHANGES)(random, changed, other)
    return bytes(changed)


def _flip(random: Random, changed: bytearray, _: bytes) -> None:
    if changed:
        changed[random.randrange(len(changed))] ^= 1 << random.randrange(8)


def _overwrite(random: Random, changed: bytearray, _: bytes) -> None:
    if changed:
        changed[random.randrange(len(changed))] = random.randrange(256)


def _number(random: Random, changed: bytearray, _: bytes) -> None:
    size = random.choice((1, 2, 4, 8))
    start = random.randrange(len(changed) + 1)
    number = random.choice(NUMBERS) % 256**size
    changed[start : start + size] = number.to_bytes(size, random.choice(("little", "big")))


def _cut_out(random: Random, changed: bytearray, _: bytes) -> None:
    del changed[_part(random, len(changed))]


def _repeat(random: Random, changed: bytearray, _: bytes) -> None:
    part = _part(random, len(changed))
    changed[part.start : part.start] = changed[part] * random.choice((1, 1, 2, 100))


def _splice(random: Random, changed: bytearray, other: bytes) -> None:
    changed[_part(random, len(changed))] = other[_part(random, len(other))]


def _cut_off(random: Random, changed: bytearray, _: bytes) -> None:
    del changed[random.randrange(len(changed) + 1) :]


CHANGES = (_flip, _flip, _overwrite, _overwrite, _number, _number, _number, _cut_out, _repeat, _splice, _cut_off)


def _part(random: Random, length: int) -> slice:
    start = random.randrange(length + 1)
    longest = random.choice((LONGEST_PART, LONGEST_PART, length))
    return slice(start, min(length, start + random.randint(0, longest)))
