"""The command that measures what an output directory's artifacts cost."""

from pathlib import Path
from typing import Annotated

import typer

from edgex import console
from edgex.cli.app import command
from edgex.cli.options import (
    Data,
    Json,
    Labels,
    MaxBad,
    Python,
    Runtime,
    Threads,
)
from edgex.settings import Settings


@command
def validate(
    directory: Annotated[Path, typer.Argument(help="An output directory.", show_default=False)],
    data: Data = None,
    baseline: Annotated[
        Path | None, typer.Option(help="What to compare with; the directory's .fp32.onnx if not said.")
    ] = None,
    max_drop: Annotated[float, typer.Option(help="Points of top-1 that report.html allows.")] = 1.0,
    labels: Labels = None,
    max_bad: MaxBad = None,
    runtime: Runtime = None,
    python: Python = None,
    threads: Threads = None,
    latency: Annotated[bool, typer.Option(help="Time the files, too.")] = True,
    seconds: Annotated[float, typer.Option(help="About how long each file is timed.")] = 3.0,
    json: Json = False,
) -> None:
    """Accuracy, latency, size and memory of artifacts beside the float model: report.json and report.html."""
    from edgex.gate import Limits
    from edgex.render import validation as shown
    from edgex.render.documents import print_json
    from edgex.validate import ValidateOptions
    from edgex.validate import validate as run

    settings = Settings()
    options = ValidateOptions(
        labels=labels,
        max_bad=settings.get("max_bad", max_bad) or 0,
        runtime=runtime,
        python=python,
        threads=settings.get("threads", threads),
        latency=latency,
        seconds=seconds,
        limits=Limits(max_drop=max_drop),
    )
    with console.progress() as progress:
        found = run(directory, settings.need("data", data), baseline, options, progress)
    for warning in found.report.warnings:
        console.say_warning(warning)
    if json:
        print_json("validate", **shown.validation_document(found))
    else:
        shown.show_validation(found)
