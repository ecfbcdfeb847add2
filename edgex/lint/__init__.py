"""Linters: read a written artifact and check its target's rules on it, trusting no writer."""

import re
from pathlib import Path

from edgex.errors import UsageError
from edgex.lint.finding import Finding
from edgex.lint.onnx import lint_onnx
from edgex.lint.tflite import lint_tflite
from edgex.target import TargetProfile

__all__ = ["Finding", "lint_file"]


def lint_file(
    path: Path, target: TargetProfile, *, allow_float: re.Pattern[str] | None = None, external_data: bool = False
) -> list[Finding]:
    """Everything in a ``.onnx`` or ``.tflite`` file that breaks a rule of its target.

    Args:
        allow_float: finds the names of nodes that may run in float, as ``--keep-float`` does.
        external_data: an ``.onnx`` may keep weights in plain files beside itself.

    Raises:
        UsageError: neither kind of file. ModelError and OutputError as the linters of the formats.
    """
    match path.suffix.lower():
        case ".onnx":
            return lint_onnx(path, target, allow_float=allow_float, external_data=external_data)
        case ".tflite":
            return lint_tflite(path, allow_float=allow_float)
    raise UsageError(f"{path} is neither .onnx nor .tflite.", fix="Give a file that edgex quantize or export wrote.")
