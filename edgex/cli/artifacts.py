"""Commands that take the files that edgex writes, or such files from elsewhere."""

from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import Annotated

import typer

from edgex import console
from edgex.cli.app import command
from edgex.cli.options import (
    Arch,
    Artifacts,
    Data,
    ExternalData,
    InputSize,
    Jetpack,
    Json,
    Labels,
    MaxBad,
    Preprocess,
    Python,
    Resize,
    Runtime,
    Runtimes,
    Seconds,
    Target,
    Threads,
    chosen_target,
    parse_share,
)
from edgex.errors import ModelError, OutputError, UsageError
from edgex.settings import Settings


@command
def eval(  # noqa: A001  the command's name
    artifacts: Artifacts,
    data: Data = None,
    labels: Labels = None,
    preprocess: Preprocess = None,
    resize: Resize = None,
    max_bad: MaxBad = None,
    runtime: Runtime = None,
    python: Python = None,
    threads: Threads = None,
    external_data: ExternalData = False,
    json: Json = False,
) -> None:
    """Accuracy of artifacts on labelled images."""
    from edgex.manifest import artifact_files
    from edgex.measure import evaluate_artifacts
    from edgex.render import documents, evaluations

    settings = Settings()
    with console.progress() as progress:
        evaluation = evaluate_artifacts(
            artifact_files(artifacts),
            settings.need("data", data),
            labels=labels,
            preprocess=settings.one_of("preprocess", preprocess),
            resize=settings.one_of("resize", resize),
            max_bad=settings.get("max_bad", max_bad) or 0,
            runtime=runtime,
            python=python,
            threads=settings.get("threads", threads),
            external_data=external_data,
            progress=partial(progress, "evaluate"),
        )
    for warning in evaluation.warnings:
        console.say_warning(warning)
    if json:
        documents.print_json("eval", **documents.eval_document(evaluation))
    else:
        evaluations.show_evaluation(evaluation)


@command
def bench(
    artifacts: Artifacts,
    runtime: Runtimes = None,
    python: Python = None,
    data: Annotated[str | None, typer.Option(help="Run the files on one of these images; random if not said.")] = None,
    input_size: InputSize = None,
    external_data: ExternalData = False,
    threads: Threads = None,
    runs: Annotated[
        int | None, typer.Option(min=1, help="Timed runs of each file; as fit into --seconds if not said.")
    ] = None,
    seconds: Seconds = 3.0,
    until: Annotated[
        str | None, typer.Option(help="Go on until the intervals are within so much of the value, like 2%.")
    ] = None,
    self_check: Annotated[
        bool, typer.Option("--self-check", help="Time one file against itself: is this machine quiet enough?")
    ] = False,
    by_op: Annotated[bool, typer.Option("--by-op", help="Show where the time goes, operation by operation.")] = False,
    save: Annotated[Path | None, typer.Option(help="Write every run to this CSV file.")] = None,
    json: Json = False,
) -> None:
    """Latency of files at batch 1, interleaved in fresh processes and compared."""
    from edgex import bench as benching
    from edgex.manifest import artifact_files
    from edgex.render import documents, tables

    paths = artifact_files(artifacts)
    options = benching.BenchOptions(
        runtimes=tuple(runtime or ()),
        threads=Settings().get("threads", threads),
        python=python,
        runs=runs,
        seconds=seconds,
        until=None if until is None else parse_share(until),
        input_size=input_size,
        external_data=external_data,
    )
    if self_check and len(paths) > 1:
        raise UsageError(f"--self-check takes one file, not {len(paths)}.", fix="Give one.")
    with ExitStack() as stack:
        kept = []
        if save is not None:
            from edgex.output import replace_files

            # Before the work, so that a place that cannot be written does not cost it
            kept = stack.enter_context(replace_files([save]))
        progress = stack.enter_context(console.progress())
        feeds = None
        if data is not None:
            from edgex.measure import image_feeds

            feeds = image_feeds(paths, data, python=python, external_data=external_data)
        if self_check:
            report = benching.self_check(paths[0], options, feeds=feeds, progress=partial(progress, "bench"))
        else:
            report = benching.bench(paths, options, feeds=feeds, progress=partial(progress, "bench"))
        profiled = partial(progress, "profile")
        operations = benching.profile_report(report, options, feeds=feeds, progress=profiled) if by_op else None
        for file in kept:
            benching.save_samples(report, file)
    for note in report.notes:
        console.say_warning(note)
    if json:
        documents.print_json("bench", **documents.bench_document(report, operations))
    else:
        tables.show_bench(report)
        if operations is not None:
            tables.show_operations(operations)


@command
def compile(  # noqa: A001  the command's name
    directory: Annotated[Path, typer.Argument(help="An output directory.", show_default=False)],
    target: Annotated[str | None, typer.Option(help="If not the directory's own: a .toml file of yours.")] = None,
    threads: Threads = None,
    seconds: Seconds = 3.0,
    json: Json = False,
) -> None:
    """What a target builds of its artifacts: OpenVINO's IR here, a script for TensorRT on the device."""
    from edgex.bench import BenchOptions
    from edgex.compile import compile_directory
    from edgex.render import documents, tables

    profile = None if target is None else chosen_target(target, None, None)
    options = BenchOptions(threads=Settings().get("threads", threads), seconds=seconds)
    with console.progress() as progress:
        compiled = compile_directory(directory, profile, options, progress)
    for warning in compiled.warnings:
        console.say_warning(warning)
    if json:
        documents.print_json("compile", **documents.compile_document(compiled))
    else:
        tables.show_compiled(compiled)


@command
def lint(
    file: Annotated[Path, typer.Argument(help="A .onnx or .tflite file, ours or not.", show_default=False)],
    target: Target = None,
    arch: Arch = None,
    jetpack: Jetpack = None,
    keep_float: Annotated[str | None, typer.Option(help="Regular expression: these layers may be in float.")] = None,
    external_data: ExternalData = False,
    json: Json = False,
) -> None:
    """Check a written file against the rules of a target. Exit 3 if it breaks one."""
    from edgex.lint import lint_file
    from edgex.render import documents, tables

    settings = Settings()
    profile = chosen_target(
        settings.need("target", target), settings.get("arch", arch), settings.get("jetpack", jetpack)
    )
    pattern = settings.quantize_options(keep_float=keep_float).keep_float_pattern
    findings = lint_file(file, profile, allow_float=pattern, external_data=external_data)
    if json:
        documents.print_json("lint", **documents.findings_document(file, findings))
    else:
        tables.show_findings(file, findings)
    if findings:
        raise typer.Exit(ModelError.exit_code)


@command
def verify(
    directory: Annotated[Path, typer.Argument(help="An output directory.", show_default=False)], json: Json = False
) -> None:
    """Hash every file of an output directory again. Exit 8 if one is not as it was written."""
    from edgex.manifest import verify as find_problems
    from edgex.render import documents, tables

    problems = find_problems(directory)
    if json:
        documents.print_json("verify", **documents.verify_document(directory, problems))
    else:
        tables.show_verify(directory, problems)
    if problems:
        raise typer.Exit(OutputError.exit_code)
