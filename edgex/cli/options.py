"""Options that several commands have, and the target that they choose."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from edgex.target import TargetProfile

Json = Annotated[bool, typer.Option("--json", help="Print one JSON document instead of tables.")]
Model = Annotated[Path | None, typer.Argument(help="A .keras or .h5 file, or the word demo.", show_default=False)]
Artifacts = Annotated[list[Path], typer.Argument(help="Files, or output directories.", show_default=False)]
Target = Annotated[str | None, typer.Option(help="cpu, jetson, gpu-desktop, or a .toml file of your own.")]
Arch = Annotated[str | None, typer.Option(help="Of the target cpu: x86 or arm.")]
Jetpack = Annotated[str | None, typer.Option(help="Of the target jetson: the JetPack on the board, like 6.2.")]
Output = Annotated[Path | None, typer.Option("-o", "--output", help="Directory to write.", show_default=False)]
Calib = Annotated[str | None, typer.Option(help="Images: a folder, .zip, .npz or .csv, or the word digits.")]
CalibCount = Annotated[int | None, typer.Option(min=1, help="Calibration images at most; 256 if not said.")]
CalibSeed = Annotated[int | None, typer.Option(min=0, help="Which images, where there are more; 0 if not said.")]
Method = Annotated[str | None, typer.Option(help="Ranges: average (robust, default), minmax or percentile.")]
Equalize = Annotated[bool, typer.Option(help="Even out depthwise channels first; exact.")]
KeepFloat = Annotated[str | None, typer.Option(help="Regular expression: these layers stay in float.")]
Data = Annotated[str | None, typer.Option(help="Labelled images: a folder, .zip, .npz or .csv, or digits.")]
Labels = Annotated[Path | None, typer.Option(help="CSV with the columns path,label for a flat folder.")]
InputSize = Annotated[int | None, typer.Option(min=1, help="Height and width in pixels, if not the model's own.")]
Preprocess = Annotated[str | None, typer.Option(help="Pixel scaling: xception (-1…1), none, imagenet or caffe.")]
Resize = Annotated[str | None, typer.Option(help="To the input size: stretch, crop or pad.")]
MaxBad = Annotated[int | None, typer.Option(min=0, help="Unreadable images to put up with.")]
Threads = Annotated[int | None, typer.Option(min=1, help="Threads; the physical cores if not said.")]
Runtime = Annotated[str | None, typer.Option(help="Run the files by this one; edgex doctor lists them.")]
Python = Annotated[Path | None, typer.Option(help="A Python that has the runtimes, if not this one.")]


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
