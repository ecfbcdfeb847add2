"""How those who wait are told what is being done."""

from collections.abc import Callable

Progress = Callable[[str, int, int], None]
"""Called with what is being done, how many are done, and how many there are."""


def silent(_what: str, _done: int, _total: int) -> None:
    """Tells nobody."""
