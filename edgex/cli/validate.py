"""The command that measures what an output directory's artifacts cost."""

from pathlib import Path
from typing import Annotated

import typer

from edgex import console
from edgex.cli.app import command
from edgex.cli.limits import MaxDrop, chosen_limits
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
    max_drop: MaxDrop = None,
    labels: Labels = None,
    max_bad: MaxBad = None,
    runtime: Runtime = None,
    python: Python = None,
    threads: Threads = None,
    latency: Annotated[bool, typer.Option(help="Time the files, too.")] = True,
    seconds: Annotated[
        float | None, typer.Option(max=86_400, help="About how long each file is timed; 3 if not said.")
    ] = None,
    explain: Annotated[
        bool, typer.Option("--explain", help="Draw where the float model and each INT8 file look, and compare.")
    ] = False,
    json: Json = False,
) -> None:
    """Accuracy, latency, size and memory of artifacts beside the float model: report.json and report.html."""
    from edgex.render import validation as shown
    from edgex.render.documents import print_json
    from edgex.validate import ValidateOptions
    from edgex.validate import validate as run

    settings = Settings()
    wanted_seconds = settings.get("seconds", seconds)
    options = ValidateOptions(
        labels=labels,
        max_bad=settings.get("max_bad", max_bad) or 0,
        runtime=runtime,
        python=python,
        threads=settings.get("threads", threads),
        latency=latency,
        seconds=ValidateOptions.seconds if wanted_seconds is None else wanted_seconds,
        limits=chosen_limits(settings, max_drop=max_drop),
        explain=explain,
    )
    with console.progress() as progress:
        found = run(directory, settings.need("data", data), baseline, options, progress)
    for warning in found.report.warnings:
        console.say_warning(warning)
    if json:
        print_json("validate", **shown.validation_document(found))
    else:
        shown.show_validation(found)
