"""The cores of this machine that runs may use."""

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

MOST_HERTZ = "sys/devices/system/cpu/cpu{}/cpufreq/cpuinfo_max_freq"


def physical_cores() -> int:
    """Cores that this process may use, not counting twins: the thread count from which on more are seldom faster."""
    import psutil

    physical = psutil.cpu_count(logical=False) or psutil.cpu_count() or 1
    try:
        return min(physical, len(psutil.Process().cpu_affinity()))
    except AttributeError:
        # macOS has no affinity
        return physical


@contextmanager
def one_core(number: int) -> Iterator[None]:
    """Keep this thread, and the processes that it starts meanwhile, on one of the fastest cores that it may use.

    Left to the system, two processes that take turns are on different cores most of the time, and no two cores of a
    shared machine are equally fast. Where the system cannot be told (macOS, Windows), nothing happens.

    Args:
        number: which of them, counted round and round.
    """
    if not hasattr(os, "sched_setaffinity"):
        yield
        return
    allowed = os.sched_getaffinity(0)
    fastest = fastest_cores(allowed)
    with suppress(OSError):  # a sandbox may forbid it
        os.sched_setaffinity(0, {fastest[number % len(fastest)]})
    try:
        yield
    finally:
        with suppress(OSError):
            os.sched_setaffinity(0, allowed)


def fastest_cores(cores: set[int], root: Path = Path("/")) -> list[int]:
    """Those of the highest clock, in order: of a processor with two kinds of cores, the large ones. All if unknown.

    Args:
        cores: by their numbers.
        root: of the file system that tells (Linux, Documentation/ABI/testing/sysfs-devices-system-cpu).
    """
    hertz = {core: _hertz(root / MOST_HERTZ.format(core)) for core in sorted(cores)}
    return [core for core, most in hertz.items() if most == max(hertz.values())]


def _hertz(file: Path) -> int:
    try:
        return int(file.read_text())
    except (OSError, ValueError):
        return 0
