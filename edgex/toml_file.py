"""Reading TOML."""

from pathlib import Path
from typing import Any

from edgex.documents import parse_toml, read_text
from edgex.errors import UsageError

MOST_BYTES = 1 << 20
"""Of a file that people write."""


def read_toml(file: Path) -> dict[str, Any]:
    """The content of a TOML file.

    Raises:
        UsageError: it cannot be read, is not TOML, or is no file that people write; says why.
    """
    try:
        return parse_toml(read_text(file, MOST_BYTES))
    except OSError as error:
        raise UsageError(
            f"{file} cannot be read: {error.strerror}.", fix="Check the path and its permissions."
        ) from error
    except ValueError as error:  # of TOML's syntax or of UTF-8, among others
        raise UsageError(f"{file} is not TOML: {error}.", fix="Correct the file.") from error
