"""The command line: parse, call, render, exit.

Nothing heavy is imported at module level, so that ``edgex --help`` answers at once. What an option leaves out comes
from ``edgex.toml``, see :mod:`edgex.config`.
"""

import signal
import sys
from io import TextIOWrapper

from edgex.cli import (  # noqa: F401  each registers its commands, in the order of the help
    artifacts,
    compare,
    gate,
    machine,
    models,
    prune,
    run,
    sensitivity,
    train,
    validate,
)
from edgex.cli.app import app
from edgex.errors import ExitCode


def main() -> None:
    """The console script."""
    if isinstance(sys.stdout, TextIOWrapper):
        sys.stdout.reconfigure(errors="replace")  # a terminal may lack a sign, and a file's name be no text
    signal.signal(signal.SIGTERM, lambda _number, _frame: sys.exit(ExitCode.TERMINATED))
    app()
