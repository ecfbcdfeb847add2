"""Semantic segmentation, counted: pixels of which class were taken for which, image by image.

All figures follow from these counts. Pixels of an image are not independent, so it is images that are drawn where an
interval is wanted; see :mod:`edgex.segmentation.bootstrap`.
"""

from edgex.segmentation.bootstrap import FEWEST_IMAGES, Estimate
from edgex.segmentation.comparison import Agreement, ClassChange, MapComparison
from edgex.segmentation.counts import MOST_CLASSES, MOST_PIXELS, VOID, ClassPixels, Confusions, confusion_cells
from edgex.segmentation.measures import Measures

__all__ = [
    "FEWEST_IMAGES",
    "MOST_CLASSES",
    "MOST_PIXELS",
    "VOID",
    "Agreement",
    "ClassChange",
    "ClassPixels",
    "Confusions",
    "Estimate",
    "MapComparison",
    "Measures",
    "confusion_cells",
]
