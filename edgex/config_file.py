"""Where ``edgex.toml`` is, and how one is begun.

It is looked for in the current folder and in those above it, up to the repository's root. The same keys may stand in
the table ``[tool.edgex]`` of a ``pyproject.toml`` instead. What they may be is in :mod:`edgex.config`.
"""

from pathlib import Path
from typing import Any, NamedTuple

from edgex.errors import OutputError
from edgex.toml_file import read_toml

CONFIG_NAME = "edgex.toml"

TEMPLATE = """\
# What `edgex` assumes where its command line says nothing. Paths are relative to this file.
# Lines that begin with "#:" are settings at an example value; remove the "#:" to use one.
model = "model.keras"  # a .keras, .h5 or float .onnx file; "demo" is the small Xception that ships with edgex
target = "cpu"         # `edgex targets` lists them; or the path of a .toml of your own
calib = "calib"        # images for calibration: a folder, a .zip, an .npz; "digits" for the demo

# Where to, and for which variant of the target
#: output = "out/{target}" # directory to write; {model} and {target} are filled in
#: arch = "arm"          # of the target cpu: "x86" or "arm"
#: jetpack = "6.2"       # of the target jetson: the version on the board

# Calibration
#: calib_count = 100     # images used
#: calib_seed = 0        # which ones
#: method = "average"    # how ranges come from them: "average", "minmax", "percentile", "mse", "entropy", or "auto"
#: budget = 0.5          # points on the calibration images that "auto" may lose
#: cross_layer = true    # even out the channels behind ReLUs, too
#: weight_bits = 8       # of the weights: 8 or 4
#: rounding = "nearest"  # of the weights: "nearest" or "learned"
#: correct_bias = true   # take each layer's mean error back
#: keep_float = "^block1_" # layers whose name this regular expression finds stay in float
#: io = "float"          # type of input and output: "float" or "int8"

# Images
#: data = "val.zip"      # labelled images for evaluation; never those of calib
#: preprocess = "xception" # what the model was trained to read: "xception", "none", "imagenet", "caffe"
#: resize = "stretch"    # to the input size: "stretch", "crop" or "pad"
#: input_size = 299      # height and width in pixels, if not the model's own
#: max_bad = 0           # unreadable images to put up with

# Pruning, before all else (train extra)
#: prune = "channels"    # "channels" is faster anywhere, "2:4" in TensorRT on newer GPUs, "magnitude" only smaller
#: sparsity = 0.5        # share of the multiply-accumulates, or else of the weights, that go
#: prune_latency = 0.6   # in place of sparsity: ratio of latencies to get to
#: importance = "taylor" # of channels: "taylor", "batch-norm" or "norm"
#: prune_steps = 2       # in which channels go
#: prune_epochs = 2      # of fine-tuning, after the last of them
#: force = true          # though the target gains nothing by it
#: baseline = "before.keras" # if the model was pruned already: what from; the fp32 files are of it

# Training for INT8 (train extra)
#: mode = "qat"          # "ptq" only calibrates
#: train = "train.zip"   # images for training, after pruning too; labels help
#: epochs = 2            # passes over them at most
#: batch = 32            # images in a step
#: learning_rate = 1e-5  # at the start
#: augment = "shift"     # of the images: "shift", "flip" (and shift), or "none"
#: train_seed = 0        # of their order

# Measuring
#: threads = 2           # of each runtime
#: seconds = 3           # that validate times each file, about

# What the gate allows of each artifact, beside the float model
#: max_drop = 1          # points of top-1 accuracy, or of mean IoU
#: max_class_drop = 5    # the same, of each class
#: max_pixel_drop = 1    # points of pixel accuracy, of a network that labels pixels
#: min_agreement = 95    # percent of the images, or pixels, that both label alike
#: max_latency_ms = 20   # median at batch 1
#: min_speedup = 1.5     # over the float model
#: max_size_mb = 30      # millions of bytes
#: baseline_accuracy = 85 # percent that the float model is known to get right
"""
"""What ``edgex init`` writes."""


class ConfigFile(NamedTuple):
    """A file that has settings, the table in it that they stand in, and what it says, unchecked."""

    path: Path
    table: str
    content: dict[str, Any]


def find_config(start: Path) -> ConfigFile | None:
    """The settings that hold in the folder ``start``, or None if no file says any.

    Raises:
        UsageError: a file is not TOML.
    """
    folder = start.resolve()
    for candidate in (folder, *folder.parents):
        found = _in_folder(candidate)
        if found is not None or (candidate / ".git").exists():
            return found
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


def _in_folder(folder: Path) -> ConfigFile | None:
    file = folder / CONFIG_NAME
    if file.is_file():
        return ConfigFile(file, "", read_toml(file))
    file = folder / "pyproject.toml"
    if file.is_file():
        tools = read_toml(file).get("tool")
        if isinstance(tools, dict) and "edgex" in tools:
            return ConfigFile(file, "tool.edgex", tools["edgex"])
    return None
