"""What is known of a model that was trained from labels. It travels inside its ``.keras`` file."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from edgex.model_record import ModelRecord, parsed_as

TRAINED_SCHEMA = "edgex.trained/1"
TRAINED_KIND = TRAINED_SCHEMA.partition("/")[0]


class TrainedRecord(ModelRecord):
    """How a model was trained from labels.

    Attributes:
        weights: name, and sha256 if that was a file, of what its first weights were taken over from; empty for none.
        recipe: see :mod:`edgex.train.recipes`.
        measure: what the accuracies are called.
        steps: done.
        classes: their names, by index.
        preprocessing: of the images that it reads.
    """

    weights: Mapping[str, str]
    recipe: str
    measure: str
    steps: int
    classes: tuple[str, ...]
    preprocessing: Mapping[str, Any]


def parsed_trained(document: Mapping[str, Any] | None, path: Path) -> TrainedRecord | None:
    """The record that a model file holds, if it holds one. ModelError if it is damaged."""
    return parsed_as(TrainedRecord, TRAINED_SCHEMA, document, path, "trained", "Train the model again.")
