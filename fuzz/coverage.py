"""Which lines of edgex have run."""

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Any

import edgex

PACKAGE = f"{Path(edgex.__file__).parent}{os.sep}"


class Coverage:
    """Lines of edgex that ran in this thread inside of :meth:`watched`."""

    def __init__(self) -> None:
        self._lines: set[tuple[str, int]] = set()

    def __len__(self) -> int:
        return len(self._lines)

    @contextmanager
    def watched(self) -> Iterator[None]:
        sys.settrace(self._call)
        try:
            yield
        finally:
            sys.settrace(None)

    def _call(self, frame: FrameType, _event: str, _argument: Any) -> Any:
        return self._line if frame.f_code.co_filename.startswith(PACKAGE) else None

    def _line(self, frame: FrameType, _event: str, _argument: Any) -> Any:
        self._lines.add((frame.f_code.co_filename, frame.f_lineno))
        return self._line
