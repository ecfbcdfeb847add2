"""Models side by side: what they are made of, how fast they run, and what INT8 costs each."""

from edgex.compare.chart import check_chart, write_chart
from edgex.compare.comparing import CompareOptions, compare_models
from edgex.compare.records import ComparedModel, CompareReport, Int8Artifact, ModelLatency, ModelRatio

__all__ = [
    "CompareOptions",
    "CompareReport",
    "ComparedModel",
    "Int8Artifact",
    "ModelLatency",
    "ModelRatio",
    "check_chart",
    "compare_models",
    "write_chart",
]
