"""The command that sets models side by side."""

from contextlib import ExitStack
from pathlib import Path
from typing import Annotated

import typer

from edgex import console
from edgex.cli.app import command
from edgex.cli.options import NETWORK, InputSize, Json, Preprocess, Resize, Runtimes, Seconds, Threads, chosen_target
from edgex.settings import Settings


@command
def compare(
    models: Annotated[list[Path], typer.Argument(help=NETWORK, metavar="MODEL", show_default=False)],
    target: Annotated[
        str, typer.Option(help="Whose INT8 files are made: cpu, jetson, gpu-desktop, or a .toml.")
    ] = "cpu",
    input_size: InputSize = None,
    latency: Annotated[bool, typer.Option(help="Time the INT8 files; without, counts only, at once.")] = True,
    runtime: Runtimes = None,
    threads: Threads = None,
    seconds: Seconds = 3.0,
    calib: Annotated[str | None, typer.Option(help="Images to calibrate with; random ones if not said.")] = None,
    data: Annotated[
        str | None, typer.Option(help="Images with labels or masks to measure on what INT8 loses; takes --calib.")
    ] = None,
    preprocess: Preprocess = None,
    resize: Resize = None,
    chart: Annotated[
        Path | None, typer.Option(help="Draw it into this .svg, .html or .png file.", show_default=False)
    ] = None,
    json: Json = False,
) -> None:
    """Models side by side: parameters, MACs, sizes, latency in each runtime, and what INT8 loses."""
    from edgex.compare import CompareOptions, check_chart, compare_models, write_chart
    from edgex.render import comparison as shown
    from edgex.render.documents import print_json

    settings = Settings()
    options = CompareOptions(
        target=chosen_target(target, None, None),
        input_size=input_size,
        latency=latency,
        runtimes=tuple(runtime or ()),
        threads=settings.get("threads", threads),
        seconds=seconds,
        calib=calib,
        data=data,
        preprocess=settings.one_of("preprocess", preprocess),
        resize=settings.one_of("resize", resize),
    )
    with ExitStack() as stack:
        drawn = []
        if chart is not None:
            from edgex.output import replace_files

            check_chart(chart)
            # Before the work, so that a place that cannot be written does not cost it
            drawn = stack.enter_context(replace_files([chart]))
        progress = stack.enter_context(console.progress())
        report = compare_models(models, options, progress)
        for file in drawn:
            write_chart(report, file)
    for sentence in (*report.warnings, *report.notes):
        console.say_warning(sentence)
    if json:
        print_json("compare", **shown.compare_document(report))
    else:
        shown.show_comparison(report)
