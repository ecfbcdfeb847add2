"""Which layers quantization hurts, what to keep in float, and why INT8 is not faster."""

from edgex.sensitivity.analysis import SensitivityOptions, measure_sensitivity
from edgex.sensitivity.record import (
    SENSITIVITY_NAME,
    Cost,
    FileSpeed,
    OperationKind,
    Sensitivity,
    Suggestion,
    read_sensitivity,
)

__all__ = [
    "SENSITIVITY_NAME",
    "Cost",
    "FileSpeed",
    "OperationKind",
    "Sensitivity",
    "SensitivityOptions",
    "Suggestion",
    "measure_sensitivity",
    "read_sensitivity",
]
