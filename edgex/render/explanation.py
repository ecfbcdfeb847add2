"""Whether INT8 files look where the float model looks, in the terminal."""

from typing import TYPE_CHECKING

from edgex.console import out
from edgex.records import split_names
from edgex.render.tables import new_table
from edgex.render.text import on_one_line

if TYPE_CHECKING:
    from edgex.report import AnyReport

METHODS = {"grad-cam": "Grad-CAM", "occlusion": "occlusion"}


def show_explanation(report: "AnyReport") -> None:
    """A row for each file; nothing if none was asked for, or files label pixels."""
    from edgex.report import Report

    explanation = report.explanation if isinstance(report, Report) else None
    if explanation is None:
        return
    if explanation.artifacts:
        _, short = split_names([each.name for each in explanation.artifacts])
        table = new_table(
            "where it looks", "method", "images", "flipped", "correlation", "of flipped", "worst", "there"
        )
        for each in explanation.artifacts:
            table.add_row(
                short[each.name],
                METHODS[each.method],
                str(len(each.images)),
                str(sum(image.flipped for image in each.images)),
                *(_shown(value) for value in (each.mean, each.mean_of_flipped, each.worst)),
                on_one_line(each.worst_image or "–"),
            )
        out().print(table)
        out().print("Correlation of heat maps with the float model's, by the same method, for the class that it gives.")
    for each in explanation.artifacts:
        if each.reason:
            out().print(f"{each.name} is explained by occlusion: {each.reason}.")


def _shown(value: float | None) -> str:
    return "–" if value is None else f"{value:.3f}"
