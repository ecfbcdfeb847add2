"""What is known of a pruned model: how it was made, and of what. It travels inside its ``.keras`` file."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from edgex.errors import ModelError
from edgex.json_record import Record
from edgex.prune.methods import Method

PRUNING_SCHEMA = "edgex.pruning/1"


class PruningRecord(Record):
    """How a model was pruned.

    Attributes:
        key: hash of all that it was made from.
        source: name and sha256 of the model that was pruned.
        method: see :mod:`edgex.prune.methods`.
        sparsity: share that was asked for.
        macs: multiply-accumulates for an image, before and after.
        parameters: before and after.
        zeros: share of the kernels' weights.
        losses: on the images held out: before the last fine-tuning, and after each of its epochs; None for one that
            overflowed.
        accuracies: top-1 there, as fractions; agreement with the original where there were no labels.
        best_epoch: whose weights were kept; 0 is before.
        options: those of the command.
        versions: of the libraries that trained.
        images: content hashes of those it was fine-tuned on, now or when it was pruned before.
    """

    key: str
    source: Mapping[str, str]
    method: Method
    sparsity: float
    macs: tuple[int, int]
    parameters: tuple[int, int]
    zeros: float
    losses: tuple[float | None, ...]
    accuracies: tuple[float, ...]
    best_epoch: int
    options: Mapping[str, Any]
    versions: Mapping[str, str]
    images: tuple[str, ...]


def parsed_record(document: Mapping[str, Any] | None, path: Path) -> PruningRecord | None:
    """The record that a model file holds, if it holds one. ModelError if it is damaged."""
    if document is None:
        return None
    try:
        if document.get("schema") != PRUNING_SCHEMA:
            raise ValueError(f"it has not the schema {PRUNING_SCHEMA}")
        return PruningRecord.model_validate(document)
    except (ValidationError, ValueError) as error:
        raise ModelError(
            f"{path}: its record of how it was pruned is damaged ({error}).", fix="Prune the model again."
        ) from error
