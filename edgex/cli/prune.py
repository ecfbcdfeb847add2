"""The command that makes a model smaller."""

from pathlib import Path
from typing import Annotated

import typer

from edgex import console
from edgex.cli import announce
from edgex.cli.app import command
from edgex.cli.options import (
    Arch,
    Augment,
    BatchSize,
    Epochs,
    Force,
    Importance,
    InputSize,
    Jetpack,
    Json,
    KerasOutput,
    LearningRate,
    MaxBad,
    Model,
    Preprocess,
    PruneLatency,
    Resize,
    Sparsity,
    Target,
    Threads,
    Train,
    TrainSeed,
    chosen_target,
)
from edgex.settings import Settings


@command
def prune(
    model: Model = None,
    method: Annotated[str | None, typer.Option(help="channels, 2:4 or magnitude.", show_default=False)] = None,
    sparsity: Sparsity = None,
    latency: PruneLatency = None,
    train: Train = None,
    output: KerasOutput = None,
    target: Target = None,
    arch: Arch = None,
    jetpack: Jetpack = None,
    importance: Importance = None,
    steps: Annotated[int | None, typer.Option(min=1, help="In which channels go; 2 if not said.")] = None,
    force: Force = None,
    epochs: Epochs = None,
    batch: BatchSize = None,
    learning_rate: LearningRate = None,
    augment: Augment = None,
    train_seed: TrainSeed = None,
    preprocess: Preprocess = None,
    resize: Resize = None,
    input_size: InputSize = None,
    max_bad: MaxBad = None,
    threads: Threads = None,
    json: Json = False,
) -> None:
    """Take out of a model what matters least, fine-tune the rest, and write it as a .keras file (train extra)."""
    from edgex import pipeline
    from edgex.render import documents
    from edgex.render import pruning as shown

    settings = Settings()
    pruning = settings.prune_options(
        settings.need("prune", method, option="--method"),
        option="method",
        sparsity=sparsity,
        latency=latency,
        importance=importance,
        steps=steps,
        force=force,
        epochs=epochs,
        learning_rate=learning_rate,
        batch=batch,
        augment=augment,
        train_seed=train_seed,
    )
    options = settings.quantize_options(
        preprocess=preprocess, resize=resize, input_size=input_size, max_bad=max_bad, threads=threads, prune=pruning
    )
    path = settings.model(model)
    name = settings.get("target", target)
    profile = name and chosen_target(name, settings.get("arch", arch), settings.get("jetpack", jetpack))
    images = settings.need("train", train)
    with announce.pruning(options.prune, "--method {}"), console.progress() as progress:
        report = pipeline.prune(path, images, output or Path("pruned.keras"), options, progress, target=profile)
    for warning in report.warnings:
        console.say_warning(warning)
    if json:
        documents.print_json("prune", **shown.prune_document(report))
    else:
        shown.show_pruned(report)
