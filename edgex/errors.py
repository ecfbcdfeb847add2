"""The errors edgex raises on purpose, and the exit codes they become.

::

    EdgexError                    1  (base; never raised itself)
    ├── UsageError                2  the command line or a configuration file
    ├── ModelError                3  the model file is damaged, unsafe or unsupported
    ├── RuntimeMissingError       6  a runtime, provider or target is not here
    ├── DataError                 7  images or labels
    └── OutputError               8  reading or writing files

Every message names the file, the cause and the fix, so that a user can act on it. Anything that is not an
EdgexError is a bug in edgex and exits with code 1.
"""

from enum import IntEnum


class ExitCode(IntEnum):
    """Exit codes of the ``edgex`` command."""

    OK = 0
    INTERNAL = 1
    USAGE = 2
    MODEL_REFUSED = 3
    GATE_FAILED = 4
    INCONCLUSIVE = 5
    RUNTIME_MISSING = 6
    DATA_REFUSED = 7
    INPUT_OUTPUT = 8
    INTERRUPTED = 130
    TERMINATED = 143


class EdgexError(Exception):
    """Base of all errors that are the user's to solve.

    Args:
        message: file and cause, one sentence.
        fix: what to do about it, one sentence; shown on its own line.
    """

    exit_code: ExitCode = ExitCode.INTERNAL

    def __init__(self, message: str, *, fix: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.fix = fix

    def __str__(self) -> str:
        return f"{self.message}\n{self.fix}" if self.fix else self.message


class UsageError(EdgexError):
    """The command line or a configuration file asks for something that cannot be."""

    exit_code = ExitCode.USAGE


class ModelError(EdgexError):
    """A model file is damaged, unsafe, or holds what edgex does not support."""

    exit_code = ExitCode.MODEL_REFUSED


class RuntimeMissingError(EdgexError):
    """A runtime, an execution provider or a target is not available here."""

    exit_code = ExitCode.RUNTIME_MISSING


class DataError(EdgexError):
    """Images or labels cannot be used."""

    exit_code = ExitCode.DATA_REFUSED


class OutputError(EdgexError):
    """A file or directory cannot be read or written."""

    exit_code = ExitCode.INPUT_OUTPUT
