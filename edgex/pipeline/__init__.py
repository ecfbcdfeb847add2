"""The order of the stages: from a model file to a directory of artifacts.

The only room that knows which stage follows which. :func:`quantize`, :func:`export` and :func:`prune` are the commands
of these names.
"""

from edgex.pipeline.artifacts import PLAN_NAME, PRUNING_NAME, TRAINING_NAME, WrittenDirectory
from edgex.pipeline.calibration import Progress, calibration_images, data_warnings
from edgex.pipeline.options import PruneOptions, QuantizeOptions
from edgex.pipeline.prune import PruneReport, prune
from edgex.pipeline.quantize import export, quantize, quantize_whole

__all__ = [
    "PLAN_NAME",
    "PRUNING_NAME",
    "TRAINING_NAME",
    "Progress",
    "PruneOptions",
    "PruneReport",
    "QuantizeOptions",
    "WrittenDirectory",
    "calibration_images",
    "data_warnings",
    "export",
    "prune",
    "quantize",
    "quantize_whole",
]
