"""Lists in messages."""

from collections.abc import Sequence

SHOWN = 10
"""Entries that a message names before it only counts."""


def shortened(entries: Sequence[str]) -> str:
    """The first few, and how many more there are."""
    more = f" and {len(entries) - SHOWN} more" if len(entries) > SHOWN else ""
    return ", ".join(entries[:SHOWN]) + more
