"""The limits that artifacts are judged by."""

from dataclasses import fields
from typing import TYPE_CHECKING, Annotated

import typer

from edgex.settings import Settings

if TYPE_CHECKING:
    from edgex.gate import Limits

MaxDrop = Annotated[float | None, typer.Option(help="Points of top-1, or mean IoU, that may be lost; 1 if not said.")]


def chosen_limits(settings: Settings, **given: float | None) -> "Limits":
    """Those given, and those of edgex.toml for the rest. UsageError if one is no limit."""
    from edgex.gate import Limits

    chosen = {limit.name: settings.get(limit.name, given.get(limit.name)) for limit in fields(Limits)}
    return Limits(**{name: limit for name, limit in chosen.items() if limit is not None})
