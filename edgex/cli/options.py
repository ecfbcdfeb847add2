"""Options that several commands have, and the target that they choose."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from edgex.target import TargetProfile

Json = Annotated[bool, typer.Option("--json", help="Print one JSON document instead of tables.")]
Model = Annotated[
    Path | None, typer.Argument(help="A .keras, .h5 or float .onnx file, or the word demo.", show_default=False)
]
NETWORK = "A .keras, .h5 or float .onnx file, the word demo, or a name of the zoo like xception."
Network = Annotated[Path | None, typer.Argument(help=NETWORK, show_default=False)]
Artifacts = Annotated[list[Path], typer.Argument(help="Files, or output directories.", show_default=False)]
Target = Annotated[str | None, typer.Option(help="cpu, jetson, gpu-desktop, or a .toml file of your own.")]
Arch = Annotated[str | None, typer.Option(help="Of the target cpu: x86 or arm.")]
Jetpack = Annotated[str | None, typer.Option(help="Of the target jetson: the JetPack on the board, like 6.2.")]
Output = Annotated[Path | None, typer.Option("-o", "--output", help="Directory to write.", show_default=False)]
KerasOutput = Annotated[
    Path | None, typer.Option("-o", "--output", help="The .keras file to write.", show_default=False)
]
Calib = Annotated[str | None, typer.Option(help="Images: a folder, .zip, .npz or .csv, or the word digits.")]
CalibCount = Annotated[int | None, typer.Option(min=1, help="Calibration images at most; 256 if not said.")]
CalibSeed = Annotated[int | None, typer.Option(min=0, help="Which images, where there are more; 0 if not said.")]
Method = Annotated[
    str | None,
    typer.Option(help="Ranges: average (robust, default), minmax, percentile, mse, entropy; or auto, which tries."),
]
Budget = Annotated[float | None, typer.Option(help="Points on the calibration images that auto may lose; 0.5.")]
Equalize = Annotated[bool, typer.Option(help="Even out depthwise channels first; exact.")]
CrossLayer = Annotated[bool | None, typer.Option(help="Even out the channels behind ReLUs, too; exact.")]
WeightBits = Annotated[int | None, typer.Option(help="Of the weights: 8 (default) or 4.")]
Rounding = Annotated[str | None, typer.Option(help="Of the weights: nearest (default) or learned.")]
CorrectBias = Annotated[bool | None, typer.Option(help="Take each layer's mean error back.")]
Mode = Annotated[str | None, typer.Option(help="ptq: calibrate (default); qat: then train as well (train extra).")]
Train = Annotated[str | None, typer.Option(help="Images to train on, as for --calib; labels help.")]
Epochs = Annotated[int | None, typer.Option(min=1, help="Passes over them at most; 2 if not said.")]
BatchSize = Annotated[int | None, typer.Option("--batch", min=1, help="Images in a training step; 32 if not said.")]
LearningRate = Annotated[float | None, typer.Option(min=0.0, help="At the start; small if not said.")]
Augment = Annotated[str | None, typer.Option(help="Of training images: shift (default), flip (and shift), none.")]
TrainSeed = Annotated[int | None, typer.Option(min=0, help="Of training; 0 if not said.")]
Sparsity = Annotated[
    float | None,
    typer.Option(
        help="Share to take out: of the multiply-accumulates, 0.5 if not said; of weights for magnitude, 0.8."
    ),
]
PruneLatency = Annotated[
    float | None, typer.Option("--latency", help="In place of --sparsity: a ratio of latencies to get to, like 0.6.")
]
Importance = Annotated[
    str | None, typer.Option(help="Of channels: taylor (default, on the images), batch-norm or norm.")
]
Baseline = Annotated[
    Path | None, typer.Option(help="The model that MODEL was made from, for the fp32 files.", show_default=False)
]
Force = Annotated[bool | None, typer.Option(help="Prune though the target gains nothing by it.")]
KeepFloat = Annotated[str | None, typer.Option(help="Regular expression: these layers stay in float.")]
Data = Annotated[str | None, typer.Option(help="Labelled images: a folder, .zip, .npz or .csv, or digits.")]
Labels = Annotated[Path | None, typer.Option(help="CSV with the columns path,label for a flat folder.")]
InputSize = Annotated[int | None, typer.Option(min=1, help="Height and width in pixels, if not the model's own.")]
Preprocess = Annotated[
    str | None, typer.Option(help="Pixel scaling, if not the model's own: xception (-1…1), none, imagenet or caffe.")
]
Resize = Annotated[str | None, typer.Option(help="To the input size: stretch, crop or pad.")]
MaxBad = Annotated[int | None, typer.Option(min=0, help="Unreadable images to put up with.")]
Threads = Annotated[int | None, typer.Option(min=1, max=1024, help="Threads; the physical cores if not said.")]
Runtime = Annotated[str | None, typer.Option(help="Run the files by this one; edgex doctor lists them.")]
Runtimes = Annotated[
    list[str] | None,
    typer.Option("--runtime", help="Run the files by this one, and others; by all that can if not said."),
]
Seconds = Annotated[float, typer.Option(max=86_400, help="About how long each file is timed.")]
Python = Annotated[Path | None, typer.Option(help="A Python that has the runtimes, if not this one.")]
ExternalData = Annotated[
    bool, typer.Option("--external-data", help="An .onnx may keep its weights in plain files beside itself.")
]


def chosen_target(name: str, arch: str | None, jetpack: str | None) -> "TargetProfile":
    from edgex.target import load_target

    return load_target(name, arch=arch, jetpack=jetpack)


def parse_share(text: str) -> float:
    """A fraction, from ``2%`` or ``0.02``. UsageError if it is none."""
    from edgex.errors import UsageError

    number, percent = text.removesuffix("%"), text.endswith("%")
    try:
        value = float(number) / (100 if percent else 1)
    except ValueError:
        value = 0.0
    if not 0 < value < 1:
        raise UsageError(f"{text!r} is no share of a value.", fix="Give it in percent, like 2%.")
    return value
