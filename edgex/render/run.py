"""What ``run`` did and found, as tables and as JSON."""

from typing import TYPE_CHECKING, Any

from edgex.console import out
from edgex.render.gate import gate_document, show_gate
from edgex.render.pruning import gain_document, show_gain
from edgex.render.tables import new_table
from edgex.render.validation import show_report

if TYPE_CHECKING:
    from edgex.run import RunReport


def run_document(report: "RunReport") -> dict[str, Any]:
    return {
        "directory": report.validation.directory,
        "page": report.validation.page,
        "stages": [{"name": each.name, "cached": each.cached, "seconds": each.seconds} for each in report.stages],
        **gain_document(report.pruning, report.gain),
        **gate_document(report.verdict),
        "warnings": list(report.warnings),
    }


def show_run(report: "RunReport") -> None:
    table = new_table("stage", "", "seconds")
    for stage in report.stages:
        table.add_row(stage.name, "found" if stage.cached else "done", f"{stage.seconds:.1f}")
    out().print(table)
    show_gain(report.pruning, report.gain)
    show_report(report.validation.report)
    show_gate(report.verdict)
    out().print(f"Look at {report.validation.page}")
