"""Fixtures shared by all tests."""

import signal
from pathlib import Path

import pytest
from command import Outcome, edgex

# A shell that runs the tests in the background makes them ignore Ctrl-C, nohup that the terminal is gone, and every
# program that they start as well
signal.signal(signal.SIGINT, signal.default_int_handler)
signal.signal(signal.SIGHUP, signal.SIG_DFL)

SHARED = Path(__file__).resolve().parents[2] / "shared"


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder with the real model and images beside the checkout; tests that want it skip where it is absent."""
    if not (SHARED / "models").is_dir():
        pytest.skip(f"the real model and images are not here ({SHARED} is missing)")
    return SHARED


@pytest.fixture(scope="session")
def demo_cpu(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Outcome]:
    """A project with the demo model quantized into ``out``, and what ``quantize --json`` said. Not to be changed."""
    folder = tmp_path_factory.mktemp("project")
    (folder / ".git").mkdir()
    arguments = ("demo", "--target", "cpu", "--calib", "digits", "--calib-count", 40, "-o", "out", "--json")
    return folder, edgex("quantize", *arguments, cwd=folder)


@pytest.fixture(scope="session")
def demo_project(demo_cpu: tuple[Path, Outcome]) -> Path:
    return demo_cpu[0]
