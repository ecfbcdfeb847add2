"""``edgex.toml``: what the command line leaves out.

The same keys may stand in the table ``[tool.edgex]`` of a ``pyproject.toml`` instead. The file is looked for in the
current folder and in those above it, up to the repository's root.
"""

import os
from pathlib import Path
from typing import Any, Literal

from pydantic import NonNegativeInt, PositiveInt

from edgex.errors import OutputError
from edgex.strict_toml import StrictModel, read_toml, validated

CONFIG_NAME = "edgex.toml"
PATH_KEYS = {"model": "demo", "calib": "digits", "data": "digits", "train": "digits", "output": ""}
"""Keys whose value is a path, and the word that may stand there instead for what ships with edgex."""


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
    calib_count: PositiveInt | None = None
    calib_seed: NonNegativeInt | None = None
    method: str | None = None
    keep_float: str | None = None
    io: Literal["float", "int8"] | None = None
    data: str | None = None
    train: str | None = None
    preprocess: str | None = None
    resize: str | None = None
    input_size: PositiveInt | None = None
    max_bad: NonNegativeInt | None = None
    threads: PositiveInt | None = None


TEMPLATE = """\
# What `edgex` assumes where its command line says nothing. Paths are relative to this file.
# Lines that begin with "#:" are settings at an example value; remove the "#:" to use one.
model = "model.keras"  # a .keras or .h5 file; "demo" is the small Xception that ships with edgex
target = "cpu"         # `edgex targets` lists them; or the path of a .toml of your own
calib = "calib"        # images for calibration: a folder, a .zip, an .npz; "digits" for the demo

# Where to, and for which variant of the target
#: output = "out/{target}" # directory to write; {model} and {target} are filled in
#: arch = "arm"          # of the target cpu: "x86" or "arm"
#: jetpack = "6.2"       # of the target jetson: the version on the board

# Calibration
#: calib_count = 100     # images used
#: calib_seed = 0        # which ones
#: method = "average"    # how ranges come from them: "average", "minmax" or "percentile"
#: keep_float = "^block1_" # layers whose name this regular expression finds stay in float
#: io = "float"          # type of input and output: "float" or "int8"

# Images
#: data = "val.zip"      # labelled images for evaluation; never those of calib
#: train = "train.zip"   # labelled images for training
#: preprocess = "xception" # what the model was trained to read: "xception", "none", "imagenet", "caffe"
#: resize = "stretch"    # to the input size: "stretch", "crop" or "pad"
#: input_size = 299      # height and width in pixels, if not the model's own
#: max_bad = 0           # unreadable images to put up with

# Measuring
#: threads = 2           # of each runtime
"""
"""What ``edgex init`` writes."""


def load_config(start: Path) -> Config | None:
    """The settings that hold in the folder ``start``, or None if no file says any.

    Raises:
        UsageError: the file is not TOML, or has a key or value that edgex doesn't know; names file and key.
    """
    folder = start.resolve()
    for candidate in (folder, *folder.parents):
        found = _settings(candidate)
        if found is not None:
            file, table, document = found
            config = validated(Config, document, file, table)
            return config.model_copy(update=_paths_from_here(config, candidate))
        if (candidate / ".git").exists():
            break
    return None


def init_config(folder: Path) -> Path:
    """Write :data:`TEMPLATE` to ``folder/edgex.toml``, and say where.

    Raises:
        OutputError: there is one already, or it cannot be written.
    """
    file = folder / CONFIG_NAME
    try:
        with file.open("x", encoding="utf-8") as stream:
            stream.write(TEMPLATE)
    except FileExistsError:
        raise OutputError(f"{file} exists already.", fix="Edit it, or remove it first.") from None
    except OSError as error:
        raise OutputError(
            f"{file} cannot be written: {error.strerror}.", fix="Check the path and its permissions."
        ) from error
    return file


def _settings(folder: Path) -> tuple[Path, str, dict[str, Any]] | None:
    """File, table in it, and content, of the settings in one folder."""
    file = folder / CONFIG_NAME
    if file.is_file():
        return file, "", read_toml(file)
    file = folder / "pyproject.toml"
    if file.is_file():
        document = read_toml(file).get("tool", {})
        if "edgex" in document:
            return file, "tool.edgex", document["edgex"]
    return None


def _paths_from_here(config: Config, folder: Path) -> dict[str, str]:
    """The relative paths that the file in ``folder`` names, as seen from the current folder."""
    values = {key: getattr(config, key) for key in PATH_KEYS}
    paths = {key: value for key, value in values.items() if value not in (None, PATH_KEYS[key])}
    if config.target is not None and config.target.endswith(".toml"):
        paths["target"] = config.target
    return {key: os.path.relpath(folder / value) for key, value in paths.items() if not Path(value).is_absolute()}
