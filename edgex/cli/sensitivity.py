"""The command that says which layers quantization hurts."""

from contextlib import ExitStack
from pathlib import Path
from typing import Annotated

import typer

from edgex import console
from edgex.cli.app import command
from edgex.cli.options import (
    Arch,
    Calib,
    CalibCount,
    CalibSeed,
    CorrectBias,
    CrossLayer,
    Equalize,
    InputSize,
    Jetpack,
    Json,
    KeepFloat,
    Labels,
    MaxBad,
    Method,
    Model,
    Preprocess,
    Resize,
    Rounding,
    Target,
    Threads,
    WeightBits,
    chosen_target,
)
from edgex.settings import Settings


@command
def sensitivity(
    model: Model = None,
    target: Target = None,
    calib: Calib = None,
    data: Annotated[
        str | None, typer.Option(help="Labelled images, to tell a classifier's cost in accuracy too.")
    ] = None,
    labels: Labels = None,
    count: Annotated[int, typer.Option(min=1, help="Labelled images at most.")] = 500,
    images: Annotated[int, typer.Option(min=1, help="Calibration images that noise is measured on.")] = 64,
    save: Annotated[
        Path | None, typer.Option(help="File to write; if not said, into the output directory of quantize.")
    ] = None,
    profile: Annotated[bool, typer.Option(help="Say where the time of the INT8 files goes.")] = True,
    arch: Arch = None,
    jetpack: Jetpack = None,
    calib_count: CalibCount = None,
    calib_seed: CalibSeed = None,
    method: Method = None,
    equalize: Equalize = True,
    cross_layer: CrossLayer = None,
    weight_bits: WeightBits = None,
    rounding: Rounding = None,
    correct_bias: CorrectBias = None,
    keep_float: KeepFloat = None,
    preprocess: Preprocess = None,
    resize: Resize = None,
    input_size: InputSize = None,
    max_bad: MaxBad = None,
    threads: Threads = None,
    json: Json = False,
) -> None:
    """What quantizing each layer costs, which to keep in float, and why INT8 is not faster."""
    from edgex.manifest import MANIFEST_NAME
    from edgex.output import replace_files
    from edgex.render import sensitivity as shown
    from edgex.render.documents import print_json
    from edgex.sensitivity import SENSITIVITY_NAME, SensitivityOptions, measure_sensitivity

    settings = Settings()
    recipe = settings.quantize_options(
        calib_count=calib_count,
        calib_seed=calib_seed,
        method=method,
        equalize=equalize,
        cross_layer=cross_layer,
        weight_bits=weight_bits,
        rounding=rounding,
        correct_bias=correct_bias,
        keep_float=keep_float,
        preprocess=preprocess,
        resize=resize,
        input_size=input_size,
        max_bad=max_bad,
        threads=threads,
    )
    path = settings.model(model)
    chosen = chosen_target(
        settings.need("target", target), settings.get("arch", arch), settings.get("jetpack", jetpack)
    )
    calibration = settings.need("calib", calib)
    directory = settings.output(None, path, chosen)
    if save is None and (directory / MANIFEST_NAME).is_file():
        save = directory / SENSITIVITY_NAME
    options = SensitivityOptions(quantize=recipe, images=images, count=count, labels=labels, profile=profile)
    with ExitStack() as stack:
        # Before the work, so that a place that cannot be written does not cost it
        files = [] if save is None else stack.enter_context(replace_files([save]))
        progress = stack.enter_context(console.progress())
        found = measure_sensitivity(path, chosen, calibration, settings.get("data", data), options, progress)
        for file in files:
            file.write_text(found.to_json(), encoding="utf-8")
    for warning in found.warnings:
        console.say_warning(warning)
    if json:
        print_json("sensitivity", **shown.sensitivity_document(found, save))
    else:
        shown.show_sensitivity(found, save)
