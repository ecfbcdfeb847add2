"""``report.json``: what ``edgex validate`` found, and all that ``edgex gate`` goes by.

Counts are the truth; shares and bounds in the file are for its readers, and must be what follows from the counts.
There are two kinds, told apart by their schema: of classifiers, and of networks that say what each pixel shows.
"""

from edgex.report.classes import REPORT_SCHEMA, ArtifactFigures, Confusion, FileFigures, Report
from edgex.report.figures import (
    DataFacts,
    FileFacts,
    Latency,
    LayerError,
    LayerSensitivity,
    Share,
    Speedup,
)
from edgex.report.maps import MAP_REPORT_SCHEMA, MapArtifactFigures, MapDataFacts, MapFileFigures, MapReport
from edgex.report.reading import PAGE_NAME, REPORT_NAME, AnyReport, read_report

__all__ = [
    "MAP_REPORT_SCHEMA",
    "PAGE_NAME",
    "REPORT_NAME",
    "REPORT_SCHEMA",
    "AnyReport",
    "ArtifactFigures",
    "Confusion",
    "DataFacts",
    "FileFacts",
    "FileFigures",
    "Latency",
    "LayerError",
    "LayerSensitivity",
    "MapArtifactFigures",
    "MapDataFacts",
    "MapFileFigures",
    "MapReport",
    "Report",
    "Share",
    "Speedup",
    "read_report",
]
