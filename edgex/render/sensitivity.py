"""What ``sensitivity`` found, as tables and as JSON."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgex.console import out
from edgex.render.tables import new_table
from edgex.render.text import milliseconds

if TYPE_CHECKING:
    from edgex.report import LayerSensitivity
    from edgex.sensitivity import Cost, FileSpeed, Sensitivity

MOST_LAYERS = 20
"""Of a ranking that a table lists; the JSON has all."""


def sensitivity_document(found: "Sensitivity", saved: Path | None) -> dict[str, Any]:
    document = found.document()
    del document["schema"]
    return {"saved": saved, **document}


def show_sensitivity(found: "Sensitivity", saved: Path | None) -> None:
    for speed in found.speed:
        _show_speed(speed)
    _show_layers(found)
    out().print(f"With all layers quantized: {_cost(found.whole)}.")
    if found.suggestion is None:
        out().print("Nothing is worth keeping in float.")
    else:
        out().print(f"With {', '.join(found.suggestion.layers)} in float: {_cost(found.suggestion.after)}.")
        out().print(f"Quantize with: --keep-float '{found.suggestion.keep_float}'", soft_wrap=True)
    if saved is not None:
        out().print(f"Saved in {saved}")


def _show_layers(found: "Sensitivity") -> None:
    labelled = found.whole.images is not None
    flips = ["lost", "gained"] if labelled else []
    table = new_table("layer quantized alone", "operation", "SNR dB", "noise %", *flips)
    noise = [0.0 if row.snr_db is None else 10 ** (-row.snr_db / 10) for row in found.layers]
    shares = [power / (sum(noise) or 1.0) for power in noise]
    for row, share in list(zip(found.layers, shares, strict=True))[:MOST_LAYERS]:
        table.add_row(row.layer, row.operation, _decibels(row), f"{100 * share:.1f}", *_flips(row))
    rest = shares[MOST_LAYERS:]
    if rest:
        table.add_row(f"{len(rest)} more", "", "", f"{100 * sum(rest):.1f}", *([""] * len(flips)))
    out().print(table)
    images = f" Lost and gained are of {found.whole.images:,} labelled images." if labelled else ""
    out().print(
        f"Signal-to-noise ratio of the logits, the mean of {found.images:,} calibration images, and the layer's share "
        f"of the noise that all make alone.{images}"
    )


def _decibels(cost: "Cost | LayerSensitivity") -> str:
    return "–" if cost.snr_db is None else f"{cost.snr_db:.1f}"


def _flips(cost: "Cost | LayerSensitivity") -> list[str]:
    return [] if cost.lost is None or cost.gained is None else [f"{cost.lost:,}", f"{cost.gained:,}"]


def _cost(cost: "Cost") -> str:
    flips = f", {cost.lost:,} of {cost.images:,} images lost and {cost.gained:,} gained" if cost.images else ""
    return f"{_decibels(cost)} dB{flips}"


def _show_speed(speed: "FileSpeed") -> None:
    out().print(f"{speed.name} in {speed.runtime}, where the time goes:")
    table = new_table("operation", "precision", "count", "ms", "share %", "in float, ms")
    for kind in speed.kinds:
        in_float = "" if kind.float_ms is None else milliseconds(kind.float_ms)
        row = (kind.operation, kind.precision, f"{kind.count:,}", milliseconds(kind.ms), f"{100 * kind.share:.1f}")
        table.add_row(*row, in_float)
    out().print(table)
    for cause in speed.causes:
        out().print(cause)
