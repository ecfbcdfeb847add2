"""The command line: parse, call, render, exit.

Nothing heavy is imported at module level, so that ``edgex --help`` answers at once. What an option leaves out comes
from ``edgex.toml``, see :mod:`edgex.config`.
"""

import functools
import signal
import sys
from collections.abc import Callable
from io import TextIOWrapper
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, NoReturn, ParamSpec, TypeVar

import typer

from edgex import console
from edgex.errors import EdgexError, ExitCode, ModelError, OutputError
from edgex.settings import Settings

if TYPE_CHECKING:
    from edgex.target import TargetProfile

app = typer.Typer(
    name="edgex",
    help="A trained Keras classifier in, proven INT8 TFLite and ONNX out.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,  # boxes around the help would double the time it takes
    context_settings={"help_option_names": ["-h", "--help"]},
)

P = ParamSpec("P")
R = TypeVar("R")

Json = Annotated[bool, typer.Option("--json", help="Print one JSON document instead of tables.")]
Model = Annotated[Path | None, typer.Argument(help="A .keras or .h5 file, or the word demo.", show_default=False)]
Artifacts = Annotated[list[Path], typer.Argument(help="Files, or output directories.", show_default=False)]
Target = Annotated[str | None, typer.Option(help="cpu, jetson, gpu-desktop, or a .toml file of your own.")]
Arch = Annotated[str | None, typer.Option(help="Of the target cpu: x86 or arm.")]
Jetpack = Annotated[str | None, typer.Option(help="Of the target jetson: the JetPack on the board, like 6.2.")]
Output = Annotated[Path | None, typer.Option("-o", "--output", help="Directory to write.", show_default=False)]
InputSize = Annotated[int | None, typer.Option(min=1, help="Height and width in pixels, if not the model's own.")]
Preprocess = Annotated[str | None, typer.Option(help="Pixel scaling: xception (-1…1), none, imagenet or caffe.")]
Resize = Annotated[str | None, typer.Option(help="To the input size: stretch, crop or pad.")]
MaxBad = Annotated[int | None, typer.Option(min=0, help="Unreadable images to put up with.")]
Threads = Annotated[int | None, typer.Option(min=1, help="Threads; the physical cores if not said.")]
Runtime = Annotated[str | None, typer.Option(help="litert, onnxruntime or openvino.")]


def command(function: Callable[P, R]) -> Callable[P, None]:
    """Register a command that turns errors into messages and exit codes, in one place."""

    @functools.wraps(function)
    def guarded(*args: P.args, **kwargs: P.kwargs) -> None:
        try:
            function(*args, **kwargs)
        except EdgexError as error:
            _leave(error.exit_code, error.message, error.fix)
        except KeyboardInterrupt:
            _leave(ExitCode.INTERRUPTED, "Interrupted.", "")
        except MemoryError:
            _leave(
                ExitCode.INPUT_OUTPUT, "There is not enough memory.", "Close other programs, or use a larger machine."
            )
        except OSError as error:
            _leave(
                ExitCode.INPUT_OUTPUT,
                f"{error.filename or 'A file'}: {error.strerror or error}.",
                "Check the path and its permissions.",
            )
        except typer.Exit:
            raise
        except Exception as error:  # noqa: BLE001  the last resort: whatever is left is a bug of ours
            fix = "This is a bug in edgex. See it whole with: edgex --debug …"
            _leave(ExitCode.INTERNAL, f"{type(error).__name__}: {error}", fix)

    app.command()(guarded)
    return guarded


def _leave(code: ExitCode, message: str, fix: str) -> NoReturn:
    console.say_error(message, fix)
    if console.SETTINGS.debug:
        import traceback

        traceback.print_exc()
    raise typer.Exit(code)


def _print_version(wanted: bool) -> None:
    if wanted:
        from edgex import __version__

        typer.echo(__version__)
        raise typer.Exit


@app.callback()
def options(
    quiet: Annotated[bool, typer.Option("-q", "--quiet", help="Say nothing but errors and results.")] = False,
    debug: Annotated[bool, typer.Option("--debug", help="Show tracebacks.")] = False,
    _version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    console.SETTINGS.quiet = quiet
    console.SETTINGS.debug = debug


@command
def demo(
    target: Target = None,
    output: Output = None,
    retrain: Annotated[
        bool, typer.Option("--retrain", help="Train the model anew, into this folder (train extra).")
    ] = False,
    json: Json = False,
) -> None:
    """The whole job on a small Xception that ships with edgex: quantize, evaluate, time. Takes seconds."""
    from edgex import render
    from edgex.demo.run import run_demo
    from edgex.resources import demo_model

    profile = _target(target or "cpu", None, None)
    model = demo_model()
    with console.progress() as progress:
        if retrain:
            from edgex.demo.train import train

            model = Path(model.name)
            train(model, progress=lambda done, total: progress("train", done, total))
        report = run_demo(model, profile, output or Path("edgex-demo"), progress)
    if json:
        render.print_json("demo", **render.demo_document(report))
    else:
        render.show_demo(report)


@command
def init(json: Json = False) -> None:
    """Write a commented edgex.toml, which then says what the command line leaves out."""
    from edgex import render
    from edgex.config import init_config

    path = init_config(Path())
    if json:
        render.print_json("init", path=path)
    else:
        typer.echo(f"Wrote {path}: edit it, then run edgex quantize.")


@command
def inspect(model: Model = None, input_size: InputSize = None, json: Json = False) -> None:
    """Parameters, multiply-accumulates and memory of a model, layer by layer."""
    from edgex import render
    from edgex.inspection import inspect_model

    settings = Settings()
    inspection = inspect_model(settings.model(model), input_size=settings.get("input_size", input_size))
    if json:
        render.print_json("inspect", **render.inspect_document(inspection))
    else:
        render.show_inspection(inspection)


@command
def quantize(
    model: Model = None,
    target: Target = None,
    calib: Annotated[str | None, typer.Option(help="Images: a folder, .zip, .npz or .csv, or the word digits.")] = None,
    output: Output = None,
    arch: Arch = None,
    jetpack: Jetpack = None,
    calib_count: Annotated[int | None, typer.Option(min=1, help="Calibration images at most; 256 if not said.")] = None,
    calib_seed: Annotated[
        int | None, typer.Option(min=0, help="Which images, where there are more; 0 if not said.")
    ] = None,
    method: Annotated[str | None, typer.Option(help="Ranges: average (robust, default), minmax or percentile.")] = None,
    equalize: Annotated[bool, typer.Option(help="Even out depthwise channels first; exact.")] = True,
    keep_float: Annotated[str | None, typer.Option(help="Regular expression: these layers stay in float.")] = None,
    io: Annotated[str | None, typer.Option(help="Type of input and output: float (default) or int8.")] = None,
    preprocess: Preprocess = None,
    resize: Resize = None,
    input_size: InputSize = None,
    max_bad: MaxBad = None,
    threads: Threads = None,
    json: Json = False,
) -> None:
    """Quantize a model to INT8 for a target, and write its artifacts."""
    from edgex import pipeline, render

    settings = Settings()
    options = settings.quantize_options(
        calib_count=calib_count,
        calib_seed=calib_seed,
        method=method,
        equalize=equalize,
        keep_float=keep_float,
        io=io,
        preprocess=preprocess,
        resize=resize,
        input_size=input_size,
        max_bad=max_bad,
        threads=threads,
    )
    path = settings.model(model)
    profile = _target(settings.need("target", target), settings.get("arch", arch), settings.get("jetpack", jetpack))
    images = settings.need("calib", calib)
    with console.progress() as progress:
        directory = settings.output(output, path, profile)
        written = pipeline.quantize(path, profile, images, directory, options, progress)
    for warning in written.warnings:
        console.say_warning(warning)
    if json:
        render.print_json("quantize", **render.written_document(written))
    else:
        render.show_written(written)


@command
def export(
    model: Model = None,
    target: Target = None,
    output: Output = None,
    arch: Arch = None,
    jetpack: Jetpack = None,
    preprocess: Preprocess = None,
    resize: Resize = None,
    input_size: InputSize = None,
    json: Json = False,
) -> None:
    """Write the float artifacts of a target, without quantizing."""
    from edgex import pipeline, render

    settings = Settings()
    options = settings.quantize_options(preprocess=preprocess, resize=resize, input_size=input_size)
    path = settings.model(model)
    profile = _target(settings.need("target", target), settings.get("arch", arch), settings.get("jetpack", jetpack))
    with console.progress() as progress:
        directory = settings.output(output, path, profile)
        written = pipeline.export(path, profile, directory, options, progress)
    if json:
        render.print_json("export", **render.written_document(written))
    else:
        render.show_written(written)


@command
def eval(  # noqa: A001  the command's name
    artifacts: Artifacts,
    data: Annotated[str | None, typer.Option(help="Labelled images: a folder, .zip, .npz or .csv, or digits.")] = None,
    labels: Annotated[Path | None, typer.Option(help="CSV with the columns path,label for a flat folder.")] = None,
    preprocess: Preprocess = None,
    resize: Resize = None,
    max_bad: MaxBad = None,
    runtime: Runtime = None,
    threads: Threads = None,
    json: Json = False,
) -> None:
    """Accuracy of artifacts on labelled images."""
    from edgex import render
    from edgex.manifest import artifact_files
    from edgex.measure import evaluate_artifacts

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
            threads=settings.get("threads", threads),
            progress=lambda done, total: progress("evaluate", done, total),
        )
    for warning in evaluation.warnings:
        console.say_warning(warning)
    if json:
        render.print_json("eval", **render.eval_document(evaluation))
    else:
        render.show_eval(evaluation.results)


@command
def bench(
    artifacts: Artifacts,
    runtime: Runtime = None,
    threads: Threads = None,
    runs: Annotated[
        int | None, typer.Option(min=1, help="Timed runs of each file; as fit into --seconds if not said.")
    ] = None,
    seconds: Annotated[float, typer.Option(help="About how long each file is timed.")] = 3.0,
    json: Json = False,
) -> None:
    """Latency of artifacts at batch 1, interleaved and compared."""
    from edgex import render
    from edgex.bench import bench as run_bench
    from edgex.manifest import artifact_files

    settings = Settings()
    with console.progress() as progress:
        report = run_bench(
            artifact_files(artifacts),
            runtime=runtime,
            threads=settings.get("threads", threads),
            runs=runs,
            seconds=seconds,
            progress=lambda done, total: progress("bench", done, total),
        )
    if json:
        render.print_json("bench", **render.bench_document(report))
    else:
        render.show_bench(report)


@command
def targets(
    name: Annotated[str | None, typer.Argument(help="Show one in full.", show_default=False)] = None,
    arch: Arch = None,
    jetpack: Jetpack = None,
    json: Json = False,
) -> None:
    """The targets that edgex knows, and what each wants."""
    from edgex import render
    from edgex.target import target_names

    profiles = [_target(each, arch, jetpack) for each in ([name] if name else target_names())]
    if json:
        render.print_json("targets", targets=[render.target_document(profile) for profile in profiles])
    elif name:
        render.show_target(profiles[0])
    else:
        render.show_targets(profiles)


@command
def lint(
    file: Annotated[Path, typer.Argument(help="A .onnx or .tflite file, ours or not.", show_default=False)],
    target: Target = None,
    arch: Arch = None,
    jetpack: Jetpack = None,
    keep_float: Annotated[str | None, typer.Option(help="Regular expression: these layers may be in float.")] = None,
    json: Json = False,
) -> None:
    """Check a written file against the rules of a target. Exit 3 if it breaks one."""
    from edgex import render
    from edgex.lint import lint_file

    settings = Settings()
    profile = _target(settings.need("target", target), settings.get("arch", arch), settings.get("jetpack", jetpack))
    pattern = settings.quantize_options(keep_float=keep_float).keep_float_pattern
    findings = lint_file(file, profile, allow_float=pattern)
    if json:
        render.print_json("lint", **render.findings_document(file, findings))
    else:
        render.show_findings(file, findings)
    if findings:
        raise typer.Exit(ModelError.exit_code)


@command
def verify(
    directory: Annotated[Path, typer.Argument(help="An output directory.", show_default=False)], json: Json = False
) -> None:
    """Hash every file of an output directory again. Exit 8 if one is not as it was written."""
    from edgex import render
    from edgex.manifest import verify as find_problems

    problems = find_problems(directory)
    if json:
        render.print_json("verify", **render.verify_document(directory, problems))
    else:
        render.show_verify(directory, problems)
    if problems:
        raise typer.Exit(OutputError.exit_code)


def _target(name: str, arch: str | None, jetpack: str | None) -> "TargetProfile":
    from edgex.target import load_target

    return load_target(name, arch=arch, jetpack=jetpack)


def main() -> None:
    """The console script."""
    if isinstance(sys.stdout, TextIOWrapper):
        sys.stdout.reconfigure(errors="replace")  # a terminal may lack a sign, and a file's name be no text
    signal.signal(signal.SIGTERM, lambda _number, _frame: sys.exit(ExitCode.TERMINATED))
    app()


if __name__ == "__main__":
    main()
