"""Disks of their own, to be full or not writable."""

import contextlib
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest


@contextlib.contextmanager
def mounted(disk: Path, options: str) -> Iterator[Path]:
    """A disk of its own at ``disk``; skips where none can be mounted."""
    disk.mkdir()
    mount = shutil.which("mount")
    if (
        mount is None
        or subprocess.run([mount, "-t", "tmpfs", "-o", options, "tmpfs", disk], capture_output=True).returncode
    ):
        pytest.skip("no disk can be mounted here: that takes Linux and the superuser")
    try:
        yield disk
    finally:
        subprocess.run(["umount", "--lazy", disk], check=True)
