"""Output directories, and files written into one later, appear whole or not at all.

The work happens beside, under another name: ``.NAME.partial`` is to be the directory ``NAME``, ``.partial.NAME`` the
file, by whose ending runtimes go. At the end all is forced to disk and renamed. A directory changes places with the one
that it replaces, in one step where the system has one for that; elsewhere the old one stands aside as
``.NAME.previous`` for a moment, and a kill in that moment leaves only this, which the next run puts back.

Who writes holds a lock that the operating system lets go when its holder dies, however it dies. So what is there and
not held is what a killed run left, and the next run into the same place clears it.
"""

import ctypes
import fcntl
import os
import shutil
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

from edgex.errors import OutputError
from edgex.manifest import MANIFEST_NAME, read_manifest

AT_FDCWD = -100
RENAME_EXCHANGE = 2
"""What renameat2(2) takes."""


def real_path(path: Path) -> Path:
    """Where an output is, links followed. A link to itself is left for the disk to refuse; ``resolve`` raises on it."""
    return Path(os.path.realpath(path))


@contextmanager
def replace_directory(path: Path) -> Iterator[Path]:
    """Give a temporary directory to write into, which becomes ``path`` when the block ends without an exception.

    The block writes a manifest into it, see :func:`edgex.manifest.write_manifest`; only a directory that has one may
    be replaced later.

    Raises:
        OutputError: before the block, as :func:`locked`, or if ``path`` exists and edgex did not write it; after it,
            if the disk refuses.
    """
    target = real_path(path)
    with locked(path), _refusals_of_the_disk(path):
        work = target.with_name(f".{target.name}.partial")
        _recover(work, target)
        _refuse_foreign(path, target)
        work.mkdir()
        try:
            yield work
            _move_in(work, target)
        finally:
            shutil.rmtree(work, ignore_errors=True)


@contextmanager
def replace_files(files: Sequence[Path]) -> Iterator[list[Path]]:
    """Names to write to, which take the place of ``files``, one after the other, when the block has ended well.

    Raises:
        OutputError: before the block, if a folder is missing or cannot be written, or another process writes the same
            file; after it, if the disk refuses.
    """
    with _refusals_of_the_disk(files[0]), ExitStack() as stack:
        partials = [stack.enter_context(_partial(file)) for file in files]
        yield partials
        for partial in partials:
            _flush(partial)
        for partial, file in zip(partials, files, strict=True):
            partial.replace(file)
        for folder in {file.parent for file in files}:
            _flush(folder)


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Hold the lock of an output, which is a directory or a file.

    Raises:
        OutputError: its folder is missing or cannot be written, or another process holds the lock; names its PID.
    """
    target = real_path(path)
    lock_file = target.with_name(f".{target.name}.lock")
    with ExitStack() as stack:
        with _refusals_of_the_disk(path):
            if not target.parent.is_dir():
                why = f"its folder {path.parent} does not exist"
                raise OutputError(f"{path} cannot be written: {why}.", fix="Make it first.")
            try:
                descriptor = stack.enter_context(_held(lock_file))
            except BlockingIOError:
                raise _in_use(path, _holder(lock_file)) from None
            stack.callback(_remove, lock_file)  # while it is held: whoever opened it already finds it gone
            os.truncate(descriptor, 0)
            os.write(descriptor, str(os.getpid()).encode())
        yield


@contextmanager
def _held(file: Path) -> Iterator[int]:
    """A descriptor of a file, made if need be, that no other process holds. BlockingIOError if one does.

    The lock belongs to the descriptor, and so goes with the process: flock(2).
    """
    while True:
        # What lies there may come from anywhere, and must not lead elsewhere
        descriptor = os.open(file, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o666)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if _is_at(descriptor, file):  # its last holder may just have removed or renamed it
                yield descriptor
                return
        finally:
            os.close(descriptor)


@contextmanager
def _partial(file: Path) -> Iterator[Path]:
    """The name of a file while it is not whole; empty, and no other process has it."""
    partial = file.with_name(f".partial.{file.name}")
    with ExitStack() as stack:
        try:
            descriptor = stack.enter_context(_held(partial))
        except BlockingIOError:
            raise _in_use(file, "another process") from None
        os.truncate(descriptor, 0)
        try:
            yield partial
        finally:
            if _is_at(descriptor, partial):  # it has not been renamed
                _remove(partial)


def _is_at(descriptor: int, file: Path) -> bool:
    with suppress(FileNotFoundError):
        return os.path.samestat(os.fstat(descriptor), file.lstat())
    return False


def _in_use(path: Path, who: str) -> OutputError:
    return OutputError(f"{path} is being written by {who}.", fix="Wait for it to end, or choose another place.")


def _holder(lock_file: Path) -> str:
    """Who holds a lock, as far as it has said so."""
    with suppress(OSError):
        if number := lock_file.read_text(encoding="ascii"):
            return f"process {number}"
    return "another process"


def _remove(file: Path) -> None:
    """If the disk allows."""
    with suppress(OSError):
        file.unlink()


@contextmanager
def _refusals_of_the_disk(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        culprit = f" ({error.filename})" if error.filename else ""
        raise OutputError(
            f"{path} cannot be written: {error.strerror or error}{culprit}.",
            fix="Make room, see to the permissions there, or choose another place.",
        ) from error


def _recover(work: Path, target: Path) -> None:
    """Clear away what a killed run left, and put back what it had moved aside."""
    if work.exists():
        shutil.rmtree(work)
    previous = _previous(target)
    if previous.is_dir():
        if target.exists():
            shutil.rmtree(previous)
        else:
            previous.rename(target)


def _refuse_foreign(path: Path, target: Path) -> None:
    if not os.path.lexists(target):
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


def _move_in(work: Path, target: Path) -> None:
    """Rename a directory into place; the one that it replaces has its name then."""
    for path in (*work.iterdir(), work):
        _flush(path)  # before the rename, so that the name never arrives without the content
    if not target.exists():
        work.rename(target)
    elif not _exchange(work, target):
        _exchange_by_steps(work, target)
    _flush(target.parent)


def _exchange(one: Path, other: Path) -> bool:
    """Let two directories change names, at once; False where the system or the disk cannot, or refuses."""
    try:
        renameat2 = ctypes.CDLL(None).renameat2
    except AttributeError:
        return False
    names = os.fsencode(one), os.fsencode(other)
    return bool(renameat2(AT_FDCWD, names[0], AT_FDCWD, names[1], RENAME_EXCHANGE) == 0)


def _exchange_by_steps(work: Path, target: Path) -> None:
    previous = _previous(target)
    try:
        target.rename(previous)
        work.rename(target)
    except BaseException:
        if previous.exists() and not target.exists():
            previous.rename(target)
        raise
    previous.rename(work)


def _previous(target: Path) -> Path:
    return target.with_name(f".{target.name}.previous")
