"""Fixtures shared by all tests."""

from pathlib import Path

import pytest

SHARED = Path(__file__).resolve().parents[2] / "shared"


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder with the real model and images beside the checkout; tests that want it skip where it is absent."""
    if not (SHARED / "models").is_dir():
        pytest.skip(f"the real model and images are not here ({SHARED} is missing)")
    return SHARED
