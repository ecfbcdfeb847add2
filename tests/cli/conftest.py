"""Folders to run the command in."""

from pathlib import Path

import pytest
from command import Outcome, edgex


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """An empty project, outside of any other."""
    (tmp_path / ".git").mkdir()
    return tmp_path


@pytest.fixture(scope="session")
def demo_cpu(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Outcome]:
    """A project with the demo model quantized into ``out``, and what ``quantize --json`` said. Not to be changed."""
    folder = tmp_path_factory.mktemp("project")
    (folder / ".git").mkdir()
    arguments = ("demo", "--target", "cpu", "--calib", "digits", "--calib-count", 40, "-o", "out", "--json")
    return folder, edgex("quantize", *arguments, cwd=folder)


@pytest.fixture(scope="session")
def project(demo_cpu: tuple[Path, Outcome]) -> Path:
    return demo_cpu[0]
