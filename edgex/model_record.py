"""What is known of a model that edgex made: how, and of which images. It travels inside its ``.keras`` file."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeVar

from pydantic import ValidationError

from edgex.errors import ModelError
from edgex.json_record import Record


class ModelRecord(Record):
    """What every such record says.

    Attributes:
        key: hash of all that the model was made from.
        source: name of what was trained, and sha256 if that was a file.
        losses: on the images held out: before training, and after each of its epochs; None for one that overflowed.
        accuracies: top-1 there, or the share of pixels, as fractions; agreement with the original where there were no
            labels.
        best_epoch: whose weights were kept; 0 is before.
        options: those of the command.
        versions: of the libraries that trained.
        images: content hashes of those it was trained on, now or at any time before.
    """

    key: str
    source: Mapping[str, str]
    losses: tuple[float | None, ...]
    accuracies: tuple[float, ...]
    best_epoch: int
    options: Mapping[str, Any]
    versions: Mapping[str, str]
    images: tuple[str, ...]


AnyModelRecord = TypeVar("AnyModelRecord", bound=ModelRecord)


def parsed_as(
    kind: type[AnyModelRecord], schema: str, document: Mapping[str, Any] | None, path: Path, made: str, fix: str
) -> AnyModelRecord | None:
    """The record that a model file holds, if it holds one.

    Args:
        kind: of record.
        schema: that it must have.
        document: the content.
        path: of the model, for messages.
        made: the participle of what was done to the model.
        fix: what to do about one that is damaged.

    Raises:
        ModelError: it is damaged.
    """
    if document is None:
        return None
    try:
        if document.get("schema") != schema:
            raise ValueError(f"it has not the schema {schema}")
        return kind.model_validate(document)
    except (ValidationError, ValueError) as error:
        raise ModelError(f"{path}: its record of how it was {made} is damaged ({error}).", fix=fix) from error
