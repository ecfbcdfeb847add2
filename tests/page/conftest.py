"""Pages that several tests look at."""

import pytest
from synthetic import Made


@pytest.fixture(scope="session")
def page() -> str:
    return Made().page()
