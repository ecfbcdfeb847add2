"""What the gate found: as JSON, and in the terminal."""

from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from edgex.console import SETTINGS, out
from edgex.render.text import on_one_line

if TYPE_CHECKING:
    from edgex.gate import GateResult, Judgement

STYLES = {"pass": "bold green", "fail": "bold red", "inconclusive": "bold yellow"}


def gate_document(result: "GateResult") -> dict[str, Any]:
    return {
        "verdict": result.verdict,
        "against": result.against,
        "limits": asdict(result.limits),
        "results": [
            {
                "path": judgement.path,
                "verdict": judgement.verdict,
                "drop": _drop(judgement),
                "checks": [asdict(check) for check in judgement.checks],
            }
            for judgement in result.results
        ],
        "notes": list(result.notes),
    }


def _drop(judgement: "Judgement") -> dict[str, Any] | None:
    """None where there was nothing to compare with."""
    comparison = judgement.comparison
    if comparison is None:
        return None
    counts = {"images": comparison.images, "discordant": comparison.discordant}
    return {**comparison.drop.model_dump(), **counts}


def show_gate(result: "GateResult") -> None:
    from rich.table import Table
    from rich.text import Text

    for judgement in result.results:
        out().print(f"{on_one_line(str(judgement.path))} against {on_one_line(result.against)}")
        table = Table.grid(padding=(0, 2, 0, 0))
        for check in judgement.checks:
            verdict = Text(check.verdict, STYLES[check.verdict])
            table.add_row("", check.name, verdict, on_one_line(check.message))
        out().print(table)
    if not SETTINGS.quiet:
        for note in result.notes:
            out().print(on_one_line(note))
    out().print(Text(result.verdict, STYLES[result.verdict]))
