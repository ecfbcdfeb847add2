"""PyTorch, in a Python of its own, whose programs lie beside this file."""

import os
import subprocess
from pathlib import Path

import pytest

FOLDER = Path(__file__).resolve().parent
PYTHON = FOLDER.parents[1] / ".venv-torch" / "bin" / "python"

needs_torch = pytest.mark.skipif(
    not PYTHON.exists(), reason="no .venv-torch here: make test makes it (PyTorch, 1 GB or, with CUDA, several)"
)


def run_torch(program: str, *arguments: Path) -> None:
    """Run one of the programs; what it said is in the error if it fails."""
    variables = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
    command = [PYTHON, FOLDER / program, *arguments]
    done = subprocess.run(command, env=variables, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
