"""The command that says whether artifacts may ship."""

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from edgex.cli.app import command
from edgex.cli.limits import MaxDrop, chosen_limits
from edgex.cli.options import Json
from edgex.settings import Settings

if TYPE_CHECKING:
    from edgex.gate import GateResult


@command
def gate(
    report: Annotated[Path, typer.Argument(help="A report.json, or its directory.", show_default=False)],
    max_drop: MaxDrop = None,
    max_class_drop: Annotated[float | None, typer.Option(help="The same, of each class.")] = None,
    max_pixel_drop: Annotated[
        float | None, typer.Option(help="Points of pixel accuracy that a network that labels pixels may lose.")
    ] = None,
    min_agreement: Annotated[
        float | None, typer.Option(help="Percent of the images, or pixels, that both must label alike.")
    ] = None,
    max_latency_ms: Annotated[float | None, typer.Option(help="Of the median at batch 1.")] = None,
    min_speedup: Annotated[float | None, typer.Option(help="Over the float model, like 1.5.")] = None,
    max_size_mb: Annotated[float | None, typer.Option(help="In millions of bytes.")] = None,
    baseline_accuracy: Annotated[
        float | None,
        typer.Option(help="Percent that the float model is known to get right; if not here, nothing is proven."),
    ] = None,
    baseline: Annotated[
        Path | None, typer.Option(help="Report of the last release, to compare with in place of the float model.")
    ] = None,
    junit: Annotated[Path | None, typer.Option(help="Write the checks to this file, as JUnit's XML.")] = None,
    markdown: Annotated[
        Path | None, typer.Option(help='Append the checks to this file, such as "$GITHUB_STEP_SUMMARY".')
    ] = None,
    json: Json = False,
) -> None:
    """Judge a report: exit 0 if its artifacts pass, 4 if one fails, 5 if nothing is proven yet."""
    from edgex import gate as gating
    from edgex.render import github
    from edgex.render.documents import print_json
    from edgex.render.gate import gate_document, show_gate

    limits = chosen_limits(
        Settings(),
        max_drop=max_drop,
        max_class_drop=max_class_drop,
        max_pixel_drop=max_pixel_drop,
        min_agreement=min_agreement,
        max_latency_ms=max_latency_ms,
        min_speedup=min_speedup,
        max_size_mb=max_size_mb,
        baseline_accuracy=baseline_accuracy,
    )
    result = gating.gate(report, limits, baseline)
    if json:
        print_json("gate", **gate_document(result))
    else:
        with github.no_commands():
            show_gate(result)
    annotate(result, json=json)
    if junit is not None:
        from edgex.output import replace_files
        from edgex.render.junit import junit as as_junit

        with replace_files([junit]) as (file,):
            file.write_bytes(as_junit(result))
    if markdown is not None:
        github.append_summary(markdown, github.markdown(result))
    if result.exit_code:
        raise typer.Exit(result.exit_code)


def annotate(result: "GateResult", *, json: bool) -> None:
    """In GitHub Actions, annotate the run with what was found."""
    from edgex.render import github

    if github.in_actions():
        stream = sys.stderr if json else sys.stdout
        print(*github.annotations(result), sep="\n", file=stream, flush=True)  # a console would wrap them
