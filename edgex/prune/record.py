"""What is known of a pruned model: how it was made, and of what. It travels inside its ``.keras`` file."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from edgex.model_record import ModelRecord, parsed_as
from edgex.prune.methods import Method

PRUNING_SCHEMA = "edgex.pruning/1"


class PruningRecord(ModelRecord):
    """How a model was pruned; its losses are those of the last fine-tuning.

    Attributes:
        method: see :mod:`edgex.prune.methods`.
        sparsity: share that was asked for.
        macs: multiply-accumulates for an image, before and after.
        parameters: before and after.
        zeros: share of the kernels' weights.
        measure: what the accuracies are called; top-1 in files of before it was kept, whatever it was.
        preprocessing: of the images that it reads; empty in files of before it was kept.
    """

    method: Method
    sparsity: float
    macs: tuple[int, int]
    parameters: tuple[int, int]
    zeros: float
    measure: str = "top-1"
    preprocessing: Mapping[str, Any] = {}


def parsed_record(document: Mapping[str, Any] | None, path: Path) -> PruningRecord | None:
    """The record that a model file holds, if it holds one. ModelError if it is damaged."""
    return parsed_as(PruningRecord, PRUNING_SCHEMA, document, path, "pruned", "Prune the model again.")
