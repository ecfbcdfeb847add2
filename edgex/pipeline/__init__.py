"""The order of the stages: from a model file to a directory of artifacts.

The only room that knows which stage follows which. :func:`quantize` and :func:`export` are the commands of these names.
"""

from edgex.pipeline.artifacts import PLAN_NAME, TRAINING_NAME, WrittenDirectory
from edgex.pipeline.calibration import Progress, calibration_images, data_warnings
from edgex.pipeline.options import QuantizeOptions
from edgex.pipeline.quantize import export, quantize, quantize_whole

__all__ = [
    "PLAN_NAME",
    "TRAINING_NAME",
    "Progress",
    "QuantizeOptions",
    "WrittenDirectory",
    "calibration_images",
    "data_warnings",
    "export",
    "quantize",
    "quantize_whole",
]
