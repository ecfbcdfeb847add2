"""Fixtures shared by all tests."""

import signal
from pathlib import Path

import pytest

# A shell that runs the tests in the background makes them ignore Ctrl-C, and every program that they start as well
signal.signal(signal.SIGINT, signal.default_int_handler)

SHARED = Path(__file__).resolve().parents[2] / "shared"


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder with the real model and images beside the checkout; tests that want it skip where it is absent."""
    if not (SHARED / "models").is_dir():
        pytest.skip(f"the real model and images are not here ({SHARED} is missing)")
    return SHARED
