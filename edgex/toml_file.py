"""Reading TOML."""

import tomllib
from pathlib import Path
from typing import Any

from edgex.errors import UsageError


def read_toml(file: Path) -> dict[str, Any]:
    """The content of a TOML file.

    Raises:
        UsageError: it cannot be read or is not TOML; says where.
    """
    try:
        return tomllib.loads(file.read_text(encoding="utf-8"))
    except OSError as error:
        raise UsageError(
            f"{file} cannot be read: {error.strerror}.", fix="Check the path and its permissions."
        ) from error
    except ValueError as error:  # of TOML's syntax or of UTF-8
        raise UsageError(f"{file} is not TOML: {error}.", fix="Correct the file.") from error
