"""The terminal: where messages, tables and progress go, and how loud.

Results go to stdout; everything said on the way goes to stderr, so that a pipe carries results only.
"""

import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.console import Console


@dataclass
class Settings:
    """What the options before the command say.

    Attributes:
        quiet: say nothing but errors and results; no warnings, no progress.
        debug: show tracebacks.
    """

    quiet: bool = False
    debug: bool = False


SETTINGS = Settings()

PIPE_WIDTH = 120
"""Columns of a table that goes to a file or another program."""

BESIDE_WHAT = 44
"""Columns that the bar, the counts and the time left take beside what is being done."""


def out() -> "Console":
    """Results, for people."""
    return _console(stderr=False, soft_wrap=False, width=None if sys.stdout.isatty() else PIPE_WIDTH)


def err() -> "Console":
    """Everything else."""
    return _console(stderr=True, soft_wrap=True, width=None)


def _console(*, stderr: bool, soft_wrap: bool, width: int | None) -> "Console":
    """Shows text as it is: a file's name may have brackets and colons."""
    from rich.console import Console

    return Console(stderr=stderr, soft_wrap=soft_wrap, width=width, markup=False, emoji=False, highlight=False)


def say_error(message: str, fix: str) -> None:
    """An error, and what to do about it."""
    err().print("error:", style="bold red", end=" ")
    err().print(message)
    if fix:
        err().print(f"  {fix}")


def say_warning(message: str) -> None:
    """Something odd but usable."""
    if not SETTINGS.quiet:
        err().print("warning:", style="yellow", end=" ")
        err().print(message)


@contextmanager
def progress() -> Iterator[Callable[[str, int, int], None]]:
    """Show progress while the block runs: a bar with the time left on a terminal, a line a stage elsewhere.

    Yields:
        A function to call with what is being done, how many are done, and how many there are.
    """
    if SETTINGS.quiet:
        yield lambda _what, _done, _total: None
    elif not sys.stderr.isatty():
        begun: set[str] = set()

        def announce(what: str, _done: int, total: int) -> None:
            if what not in begun:
                begun.add(what)
                err().print(f"{what} ({total}) …")

        yield announce
    else:
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeRemainingColumn
        from rich.table import Column

        terminal = err()
        # Where that is too narrow for all, what is being done is cut short, and not how long it will take
        what = Column(no_wrap=True, overflow="ellipsis", max_width=max(terminal.width - BESIDE_WHAT, 10))
        columns = (
            TextColumn("{task.description:<10}", table_column=what),
            BarColumn(20),
            MofNCompleteColumn(table_column=Column(no_wrap=True)),
            TimeRemainingColumn(table_column=Column(no_wrap=True)),
        )
        with Progress(*columns, console=terminal, transient=True) as bars:
            tasks: dict[str, TaskID] = {}

            def update(what: str, done: int, total: int) -> None:
                if what not in tasks:
                    tasks[what] = bars.add_task(what, total=total)
                bars.update(tasks[what], completed=done, total=total)

            yield update


@contextmanager
def silent_imports() -> Iterator[None]:
    """Import TensorFlow without a word: its C++ talks of processors and GPUs before it heeds any level."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    stderr = os.dup(2)
    try:
        with Path(os.devnull).open("w") as nowhere:
            os.dup2(nowhere.fileno(), 2)
        yield
    finally:
        os.dup2(stderr, 2)
        os.close(stderr)
