"""Commands that read a model file."""

from pathlib import Path
from typing import Annotated

import typer

from edgex import console
from edgex.cli import announce
from edgex.cli.app import command
from edgex.cli.options import (
    Arch,
    Augment,
    Baseline,
    BatchSize,
    Budget,
    Calib,
    CalibCount,
    CalibSeed,
    CorrectBias,
    CrossLayer,
    Epochs,
    Equalize,
    Force,
    Importance,
    InputSize,
    Jetpack,
    Json,
    KeepFloat,
    LearningRate,
    MaxBad,
    Method,
    Mode,
    Model,
    Network,
    Output,
    Preprocess,
    PruneLatency,
    Resize,
    Rounding,
    Sparsity,
    Target,
    Threads,
    Train,
    TrainSeed,
    WeightBits,
    chosen_target,
)
from edgex.errors import OutputError
from edgex.settings import Settings


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
    from edgex.demo.run import run_demo
    from edgex.render import documents, tables
    from edgex.resources import demo_model

    profile = chosen_target(target or "cpu", None, None)
    model = demo_model()
    with console.progress() as progress:
        if retrain:
            from edgex.demo.train import train

            model = Path(model.name)
            train(model, progress=lambda done, total: progress("train", done, total))
        report = run_demo(model, profile, output or Path("edgex-demo"), progress)
    if json:
        documents.print_json("demo", **documents.demo_document(report))
    else:
        tables.show_demo(report)


@command
def init(json: Json = False) -> None:
    """Write a commented edgex.toml, which then says what the command line leaves out."""
    from edgex.config_file import init_config
    from edgex.render import documents

    path = init_config(Path())
    if json:
        documents.print_json("init", path=path)
    else:
        typer.echo(f"Wrote {path}: edit it, then run edgex quantize, or edgex run for all of it.")


@command
def inspect(model: Network = None, input_size: InputSize = None, json: Json = False) -> None:
    """Parameters, multiply-accumulates and memory of a model, layer by layer."""
    from edgex.inspection import inspect_model
    from edgex.render import documents, tables

    settings = Settings()
    inspection = inspect_model(settings.model(model), input_size=settings.get("input_size", input_size))
    if json:
        documents.print_json("inspect", **documents.inspect_document(inspection))
    else:
        tables.show_inspection(inspection)


@command
def quantize(
    model: Model = None,
    target: Target = None,
    calib: Calib = None,
    output: Output = None,
    arch: Arch = None,
    jetpack: Jetpack = None,
    calib_count: CalibCount = None,
    calib_seed: CalibSeed = None,
    method: Method = None,
    budget: Budget = None,
    equalize: Equalize = True,
    cross_layer: CrossLayer = None,
    weight_bits: WeightBits = None,
    rounding: Rounding = None,
    correct_bias: CorrectBias = None,
    keep_float: KeepFloat = None,
    io: Annotated[str | None, typer.Option(help="Type of input and output: float (default) or int8.")] = None,
    preprocess: Preprocess = None,
    resize: Resize = None,
    input_size: InputSize = None,
    max_bad: MaxBad = None,
    prune: Annotated[
        str | None, typer.Option(help="First prune: channels, 2:4 or magnitude (train extra); see edgex prune.")
    ] = None,
    sparsity: Sparsity = None,
    latency: PruneLatency = None,
    importance: Importance = None,
    prune_steps: Annotated[int | None, typer.Option(min=1, help="In which channels go; 2 if not said.")] = None,
    prune_epochs: Annotated[int | None, typer.Option(min=1, help="Of fine-tuning after it; 2 if not said.")] = None,
    force: Force = None,
    baseline: Baseline = None,
    mode: Mode = None,
    train: Train = None,
    epochs: Epochs = None,
    batch: BatchSize = None,
    learning_rate: LearningRate = None,
    augment: Augment = None,
    train_seed: TrainSeed = None,
    threads: Threads = None,
    json: Json = False,
) -> None:
    """Quantize a model to INT8 for a target, and write its artifacts; with --mode qat, train it for that first."""
    from edgex import pipeline
    from edgex.render import documents
    from edgex.render import written as shown

    settings = Settings()
    options = settings.quantize_options(
        calib_count=calib_count,
        calib_seed=calib_seed,
        method=method,
        budget=budget,
        equalize=equalize,
        cross_layer=cross_layer,
        weight_bits=weight_bits,
        rounding=rounding,
        correct_bias=correct_bias,
        keep_float=keep_float,
        io=io,
        preprocess=preprocess,
        resize=resize,
        input_size=input_size,
        max_bad=max_bad,
        prune=settings.prune_options(
            prune,
            sparsity=sparsity,
            latency=latency,
            importance=importance,
            steps=prune_steps,
            force=force,
            epochs=prune_epochs,
            batch=batch,
            augment=augment,
            train_seed=train_seed,
        ),
        qat=settings.train_options(
            mode,
            epochs=epochs,
            batch=batch,
            learning_rate=learning_rate,
            augment=augment,
            train_seed=train_seed,
        ),
        threads=threads,
    )
    training_images = settings.training_images(options, train)
    path = settings.model(model)
    profile = chosen_target(
        settings.need("target", target), settings.get("arch", arch), settings.get("jetpack", jetpack)
    )
    images = settings.need("calib", calib)
    original = settings.baseline(baseline, model)
    with announce.pruning(options.prune, "--prune {}"), console.progress() as progress:
        directory = settings.output(output, path, profile)
        written = pipeline.quantize(
            path, profile, images, directory, options, progress, train=training_images, baseline=original
        )
    for warning in written.warnings:
        console.say_warning(warning)
    if json:
        documents.print_json("quantize", **shown.written_document(written))
    else:
        shown.show_written(written)


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
    baseline: Baseline = None,
    json: Json = False,
) -> None:
    """Write the float artifacts of a target, without quantizing."""
    from edgex import pipeline
    from edgex.render import documents
    from edgex.render import written as shown

    settings = Settings()
    options = settings.quantize_options(preprocess=preprocess, resize=resize, input_size=input_size)
    path = settings.model(model)
    profile = chosen_target(
        settings.need("target", target), settings.get("arch", arch), settings.get("jetpack", jetpack)
    )
    original = settings.baseline(baseline, model)
    with console.progress() as progress:
        directory = settings.output(output, path, profile)
        written = pipeline.export(path, profile, directory, options, progress, baseline=original)
    for warning in written.warnings:
        console.say_warning(warning)
    if json:
        documents.print_json("export", **shown.written_document(written))
    else:
        shown.show_written(written)


@command
def reproduce(
    directory: Annotated[Path, typer.Argument(help="An output directory.", show_default=False)],
    model: Model = None,
    calib: Calib = None,
    train: Train = None,
    baseline: Baseline = None,
    target: Annotated[str | None, typer.Option(help="A .toml file of your own, if it was made for that.")] = None,
    json: Json = False,
) -> None:
    """Make an output directory again, elsewhere, and compare every byte. Exit 8 if one differs."""
    from edgex import pipeline
    from edgex.manifest import read_manifest
    from edgex.render import documents, tables

    settings = Settings()
    manifest = read_manifest(directory)
    name, variants = manifest.target["name"], manifest.target
    inputs = pipeline.Inputs(
        model=settings.model(model),
        target=chosen_target(target or name, variants.get("arch"), variants.get("jetpack")),
        calib=settings.need("calib", calib) if manifest.data else None,
        train=settings.need("train", train) if manifest.training else None,
        baseline=settings.baseline(baseline, model) if manifest.baseline is not None else baseline,
    )
    with console.progress() as progress:
        found = pipeline.reproduce(directory, inputs, progress)
    if json:
        documents.print_json("reproduce", **documents.reproduce_document(found))
    else:
        tables.show_reproduction(found)
    if found.problems:
        raise typer.Exit(OutputError.exit_code)
