"""The keys of ``edgex.toml``: what the command line leaves out."""

import os
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, NonNegativeFloat, PositiveFloat

from edgex.config_file import ConfigFile
from edgex.preprocess import LARGEST_SIDE
from edgex.strict_toml import StrictModel, validated

PATH_KEYS = {"model": "demo", "baseline": "", "calib": "digits", "data": "digits", "train": "digits", "output": ""}
"""Keys whose value is a path, and the word that may stand there instead for what ships with edgex."""

Count = Annotated[int, Field(gt=0, le=1_000_000_000)]
Seed = Annotated[int, Field(ge=0, lt=2**63)]


class Config(StrictModel):
    """The keys of ``edgex.toml``. None where one is left out; the options of the same names say what they mean.

    Paths are relative to the current folder, however the file wrote them.
    """

    model: str | None = None
    target: str | None = None
    arch: str | None = None
    jetpack: str | None = None
    output: str | None = None
    calib: str | None = None
    calib_count: Count | None = None
    calib_seed: Seed | None = None
    method: str | None = None
    budget: float | None = None
    cross_layer: bool | None = None
    weight_bits: Literal[4, 8] | None = None
    rounding: str | None = None
    correct_bias: bool | None = None
    keep_float: str | None = None
    io: Literal["float", "int8"] | None = None
    data: str | None = None
    prune: Literal["channels", "2:4", "magnitude"] | None = None
    sparsity: PositiveFloat | None = None
    prune_latency: PositiveFloat | None = None
    importance: str | None = None
    prune_steps: Count | None = None
    prune_epochs: Count | None = None
    force: bool | None = None
    baseline: str | None = None
    mode: Literal["ptq", "qat"] | None = None
    train: str | None = None
    epochs: Count | None = None
    batch: Count | None = None
    learning_rate: Annotated[float, Field(gt=0, le=1)] | None = None
    augment: str | None = None
    train_seed: Seed | None = None
    preprocess: str | None = None
    resize: str | None = None
    input_size: Annotated[int, Field(gt=0, le=LARGEST_SIDE)] | None = None
    max_bad: Annotated[int, Field(ge=0, le=1_000_000_000)] | None = None
    threads: Annotated[int, Field(gt=0, le=1024)] | None = None
    seconds: Annotated[float, Field(gt=0, le=86_400)] | None = None
    max_drop: NonNegativeFloat | None = None
    max_class_drop: NonNegativeFloat | None = None
    max_pixel_drop: NonNegativeFloat | None = None
    min_agreement: NonNegativeFloat | None = None
    max_latency_ms: NonNegativeFloat | None = None
    min_speedup: NonNegativeFloat | None = None
    max_size_mb: NonNegativeFloat | None = None
    baseline_accuracy: NonNegativeFloat | None = None


def read_config(file: ConfigFile) -> Config:
    """What a file says, checked.

    Raises:
        UsageError: it has a key or value that edgex doesn't know; names file and key.
    """
    config = validated(Config, file.content, file.path, file.table)
    return config.model_copy(update=_paths_from_here(config, file.path.parent))


def _paths_from_here(config: Config, folder: Path) -> dict[str, str]:
    """The relative paths that the file in ``folder`` names, as seen from the current folder."""
    values = {key: getattr(config, key) for key in PATH_KEYS}
    paths = {key: value for key, value in values.items() if value not in (None, PATH_KEYS[key])}
    if config.target is not None and config.target.endswith(".toml"):
        paths["target"] = config.target
    return {key: os.path.relpath(folder / value) for key, value in paths.items() if not Path(value).is_absolute()}
