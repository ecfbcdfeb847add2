"""The command that makes a model, or makes one know other classes."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from edgex import console
from edgex.cli.app import command
from edgex.cli.options import InputSize, Json, KerasOutput, MaxBad, Preprocess, Resize, Threads
from edgex.errors import UsageError
from edgex.settings import Settings


@command
def train(
    model: Annotated[
        str | None,
        typer.Option(
            help="A network of the zoo: xception, inception_v3, aligned_xception, deeplab_v3plus; or a file to train "
            "further.",
            show_default=False,
        ),
    ] = None,
    data: Annotated[
        str | None,
        typer.Option(help="Labelled images: a folder, .zip, .npz or .csv, or digits; for segmentation with masks."),
    ] = None,
    output: KerasOutput = None,
    recipe: Annotated[
        str | None, typer.Option(help="modern (default), or those of Xception's paper: imagenet, jft.")
    ] = None,
    epochs: Annotated[int | None, typer.Option(min=1, help="Passes over the images; the recipe's if not said.")] = None,
    batch: Annotated[
        int | None, typer.Option(min=1, help="Images in a step; the recipe's if not said, mostly 32.")
    ] = None,
    learning_rate: Annotated[
        float | None, typer.Option(min=0.0, help="At its highest; the recipe's if not said.")
    ] = None,
    augment: Annotated[
        str | None, typer.Option(help="Of the images: flip (and shift; default), shift, none.", show_default=False)
    ] = None,
    width: Annotated[float | None, typer.Option(help="Of a network of the zoo: multiplies its channels.")] = None,
    depth: Annotated[float | None, typer.Option(help="Of a network of the zoo: multiplies its middle blocks.")] = None,
    options: Annotated[
        list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="Another option of a network of the zoo.")
    ] = None,
    weights: Annotated[
        str | None,
        typer.Option("--from", help="A file to take weights from, where they fit; or imagenet.", show_default=False),
    ] = None,
    seed: Annotated[int | None, typer.Option(min=0, help="Of weights, order and shifts; 0 if not said.")] = None,
    logs: Annotated[Path | None, typer.Option(help="A folder for what TensorBoard shows.", show_default=False)] = None,
    preprocess: Preprocess = None,
    resize: Resize = None,
    input_size: InputSize = None,
    max_bad: MaxBad = None,
    threads: Threads = None,
    json: Json = False,
) -> None:
    """Make a network of the zoo, or take a model, and train it from labels or masks (train extra)."""
    from edgex import pipeline
    from edgex.networks import of_zoo
    from edgex.render import documents
    from edgex.render import training as shown

    settings = Settings()
    name = settings.need("model", model, option="--model")
    fresh = of_zoo(Path(name))
    subject = name if fresh else settings.model(Path(name))
    images = settings.need("train", data, option="--data")
    chosen = settings.train_model_options(
        architecture=_architecture(name, {"width": width, "depth": depth}, options or []),
        recipe=recipe,
        epochs=epochs,
        batch=batch,
        learning_rate=learning_rate,
        augment=augment,
        weights=weights,
        seed=seed,
        preprocess=preprocess,
        resize=resize,
        input_size=input_size,
        max_bad=max_bad,
        threads=threads,
    )
    file = output or Path(f"{name}.keras" if fresh else "trained.keras")
    with console.progress() as progress:
        report = pipeline.train_model(subject, images, file, chosen, progress, logs=logs, say=_say)
    for warning in report.warnings:
        console.say_warning(warning)
    if json:
        documents.print_json("train", **shown.train_document(report))
    else:
        shown.show_trained(report)


def _say(note: str) -> None:
    if not console.SETTINGS.quiet:
        console.err().print(note)


def _architecture(model: str, given: Mapping[str, float | None], settings: Sequence[str]) -> dict[str, Any]:
    """Options of a network of the zoo, from the command line's. UsageError if one is none, or given twice."""
    from edgex.zoo import MODELS

    chosen: dict[str, Any] = {key: value for key, value in given.items() if value is not None}
    known = MODELS[model].options if model in MODELS else {}
    for setting in settings:
        key, sign, text = setting.partition("=")
        if not sign:
            raise UsageError(f"--set {setting} sets nothing.", fix="Give it as --set KEY=VALUE.")
        if key in chosen:
            raise UsageError(f"{key} is set twice.", fix="Set it once.")
        chosen[key] = known[key].read(key, text) if key in known else text
    return chosen
