"""Output directories, and files written into one later, appear whole or not at all.

The work happens in a hidden directory beside, ``.NAME.PID.partial``, under a lock that the operating system lets go
when its holder dies, however it dies. At the end the files are forced to disk and the directory is renamed into
place; the one it replaces stands aside as ``.NAME.previous`` until that has worked. Between these two renames a kill
leaves only the latter, and the next run puts it back.
"""

import os
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

from edgex.errors import OutputError
from edgex.manifest import MANIFEST_NAME, read_manifest


@contextmanager
def replace_directory(path: Path) -> Iterator[Path]:
    """Give a temporary directory to write into, which becomes ``path`` when the block ends without an exception.

    The block writes a manifest into it, see :func:`edgex.manifest.write_manifest`; only a directory that has one may
    be replaced later.

    Raises:
        OutputError: before the block, if the parent is missing or cannot be written, if ``path`` exists and edgex did
            not write it, or if another process works on it (names its PID); after it, if the disk refuses.
    """
    target = path.resolve()
    if not target.parent.is_dir():
        raise OutputError(f"{path} cannot be written: its folder {path.parent} does not exist.", fix="Make it first.")
    with _refusals_of_the_disk(path), locked(path):
        _recover(target)
        _refuse_foreign(path, target)
        work = target.with_name(f".{target.name}.{os.getpid()}.partial")
        work.mkdir()
        try:
            yield work
            _swap(work, target)
        finally:
            shutil.rmtree(work, ignore_errors=True)


@contextmanager
def replace_files(files: Sequence[Path]) -> Iterator[list[Path]]:
    """Names to write to, which take the place of ``files``, one after the other, when the block has ended well.

    Raises:
        OutputError: the disk refuses.
    """
    partials = [file.parent / f".{os.getpid()}.{file.name}" for file in files]
    try:
        for partial in partials:
            partial.touch()  # a runtime would not say why it cannot write
        yield partials
        for partial, file in zip(partials, files, strict=True):
            _flush(partial)
            partial.replace(file)
    except OSError as error:
        raise OutputError(
            f"{files[0]} cannot be written: {error.strerror or error}.", fix="Check the path and its permissions."
        ) from error
    finally:
        for partial in partials:
            with suppress(OSError):
                partial.unlink()


@contextmanager
def _refusals_of_the_disk(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        culprit = f" ({error.filename})" if error.filename else ""
        raise OutputError(
            f"{path} cannot be written: {error.strerror or error}{culprit}.",
            fix="Make room, or choose another directory with -o.",
        ) from error


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Hold the lock of an output directory. OutputError if another process does; names its PID."""
    from filelock import FileLock, Timeout

    target = path.resolve()
    lock_file = target.with_name(f".{target.name}.lock")
    lock = FileLock(lock_file)
    try:
        lock.acquire(timeout=0)
    except Timeout:
        holders = [leftover.name.split(".")[-2] for leftover in _partials(target)]
        who = f"process {holders[0]}" if holders else "another process"
        raise OutputError(
            f"{path} is being written by {who}.", fix="Wait for it to end, or choose another directory with -o."
        ) from None
    try:
        yield
    finally:
        lock_file.unlink(missing_ok=True)  # while it is held: whoever opened it already finds it gone and retries
        lock.release()


def _partials(target: Path) -> list[Path]:
    """Temporary directories of runs into ``target``: of the one that holds the lock, or of killed ones."""
    prefix = f".{target.name}."
    return [
        entry
        for entry in target.parent.iterdir()
        if entry.name.startswith(prefix) and entry.name[len(prefix) :].removesuffix(".partial").isdecimal()
    ]


def _recover(target: Path) -> None:
    """Clear away what a killed run left, and put back what it had moved aside."""
    for leftover in _partials(target):
        shutil.rmtree(leftover)
    previous = _previous(target)
    if previous.is_dir():
        if target.exists():
            shutil.rmtree(previous)
        else:
            previous.rename(target)


def _refuse_foreign(path: Path, target: Path) -> None:
    if not target.exists():
        return
    try:
        read_manifest(target)
    except OutputError as error:
        raise OutputError(
            f"{path} exists, and edgex did not write it: it holds no valid {MANIFEST_NAME}.",
            fix="Choose another directory with -o, or remove this one.",
        ) from error


def _flush(path: Path) -> None:
    """Force a file's content, or a directory's entries, to disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _swap(work: Path, target: Path) -> None:
    for path in (*work.iterdir(), work):
        _flush(path)  # before the rename, so that the name never arrives without the content
    previous = _previous(target)
    try:
        if target.exists():
            target.rename(previous)
        work.rename(target)
    except BaseException:
        if previous.exists() and not target.exists():
            previous.rename(target)
        raise
    _flush(target.parent)
    shutil.rmtree(previous, ignore_errors=True)


def _previous(target: Path) -> Path:
    return target.with_name(f".{target.name}.previous")
