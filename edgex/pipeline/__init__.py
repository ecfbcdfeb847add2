"""The order of the stages: from a model file to a directory of artifacts.

The only room that knows which stage follows which. :func:`quantize`, :func:`export`, :func:`prune` and
:func:`reproduce` are the commands of these names, and :func:`train_model` is ``train``.
"""

from edgex.pipeline.artifacts import PLAN_NAME, TRAINING_NAME, WrittenDirectory
from edgex.pipeline.calibration import calibration_images, data_warnings, own_preprocessing, preprocessing_of
from edgex.pipeline.options import PruneOptions, QuantizeOptions
from edgex.pipeline.origin import PRUNING_NAME, TRAINED_NAME, origin_of
from edgex.pipeline.progress import Progress, silent
from edgex.pipeline.prune import PruneReport, prune
from edgex.pipeline.quantize import export, quantize, quantize_whole
from edgex.pipeline.reproduce import Inputs, Reproduction, reproduce
from edgex.pipeline.train import TrainModelOptions, TrainReport, train_model

__all__ = [
    "PLAN_NAME",
    "PRUNING_NAME",
    "TRAINED_NAME",
    "TRAINING_NAME",
    "Inputs",
    "Progress",
    "PruneOptions",
    "PruneReport",
    "QuantizeOptions",
    "Reproduction",
    "TrainModelOptions",
    "TrainReport",
    "WrittenDirectory",
    "calibration_images",
    "data_warnings",
    "export",
    "origin_of",
    "own_preprocessing",
    "preprocessing_of",
    "prune",
    "quantize",
    "quantize_whole",
    "reproduce",
    "silent",
    "train_model",
]
