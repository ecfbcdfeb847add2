"""Readers with a fault each, for the fuzzer to find."""

import ctypes
import time
from collections.abc import Callable
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from random import Random

from edgex.errors import DataError
from fuzz.targets import Target

SEEDS = [b"good", b"worse", b"bad"]


@dataclass(frozen=True)
class Planted(Target):
    def seeds(self) -> list[bytes]:
        return SEEDS


def planted(name: str, fault: Callable[[], object]) -> Planted:
    def read(path: Path) -> None:
        content = path.read_bytes()
        if b"worse" in content:
            raise DataError("It is worse.")
        if content == b"bad":
            fault()

    return Planted(name, "file", mutate, read, seconds=0.1)


def mutate(_random: Random, content: bytes, other: bytes) -> bytes:
    return content + other


TARGETS = {
    target.name: target
    for target in (
        planted("raises", lambda: 1 // 0),
        planted("crashes", lambda: ctypes.string_at(0)),
        planted("hangs", lambda: max(count())),
        planted("waits", lambda: time.sleep(3600)),
        planted("hoards", lambda: bytes(2 << 30)),
    )
}
