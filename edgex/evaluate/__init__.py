"""Accuracy of model files on images that say what they show.

Every image is decoded once and seen by all files. Several workers run an image each, which keeps the cores busier than
spreading one image over all of them.
"""

from edgex.evaluate.classes import EvalResult, agreement, evaluate
from edgex.evaluate.crews import Crews, MappedImage, ScoredBatch, check_output
from edgex.evaluate.maps import MapResult, compare_maps, evaluate_maps, map_names
from edgex.evaluate.scores import are_probabilities, best_classes

__all__ = [
    "Crews",
    "EvalResult",
    "MapResult",
    "MappedImage",
    "ScoredBatch",
    "agreement",
    "are_probabilities",
    "best_classes",
    "check_output",
    "compare_maps",
    "evaluate",
    "evaluate_maps",
    "map_names",
]
