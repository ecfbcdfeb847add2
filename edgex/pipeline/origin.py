"""Where a model comes from, as its file says, and which files edgex may therefore replace."""

from pathlib import Path
from typing import Literal

from edgex.errors import OutputError, UsageError
from edgex.graph.keras_record import read_record
from edgex.json_record import to_json
from edgex.output import real_path
from edgex.prune.record import PRUNING_SCHEMA, PruningRecord, parsed_record
from edgex.train.record import TRAINED_KIND, TRAINED_SCHEMA, TrainedRecord, parsed_trained

PRUNING_NAME = "pruning.json"
"""How the model was pruned, and on which images; only beside artifacts that were."""
TRAINED_NAME = "trained.json"
"""How the model was trained from labels, and on which images; only beside artifacts of such."""

DONE = {"prune": "pruned", "train": "trained"}

Origin = PruningRecord | TrainedRecord


def origin_of(model: Path) -> Origin | None:
    """What a model file says of how edgex made it, if it does. ModelError if that is damaged."""
    if model.suffix != ".keras":
        return None
    document = read_record(model)
    if document is not None and str(document.get("schema")).startswith(f"{TRAINED_KIND}/"):
        return parsed_trained(document, model)
    return parsed_record(document, model)


def write_origin(directory: Path, *origins: Origin | None) -> None:
    """Keep beside artifacts how their model was made."""
    for origin in origins:
        if isinstance(origin, PruningRecord):
            (directory / PRUNING_NAME).write_text(to_json(PRUNING_SCHEMA, origin), encoding="utf-8")
        elif origin is not None:
            (directory / TRAINED_NAME).write_text(to_json(TRAINED_SCHEMA, origin), encoding="utf-8")


def refuse_to_replace(output: Path, kind: type[Origin], command: Literal["prune", "train"], *sources: Path) -> None:
    """Refuse to write a model over anything but what the same command wrote.

    Args:
        output: the file to write.
        kind: of the record that the command leaves in its files.
        command: that is to write.
        sources: the models that are read.

    Raises:
        UsageError: it is one of the sources, or no name of a ``.keras`` file. OutputError: it is another file, or has
            no place.
    """
    fix = "Choose another file with -o."
    if output.suffix != ".keras":
        raise UsageError(f"{output} has not the name of a .keras file.", fix=fix)
    if real_path(output) in map(real_path, sources):
        raise UsageError(f"{output} is the model that is to be {DONE[command]}.", fix=fix)
    if not output.parent.is_dir():
        raise OutputError(f"{output} cannot be written: its folder does not exist.", fix="Make it first.")
    if output.is_dir() or (output.exists() and not _is_of_kind(output, kind)):
        raise OutputError(f"{output} exists, and edgex {command} did not write it.", fix=fix)


def _is_of_kind(file: Path, kind: type[Origin]) -> bool:
    try:
        return isinstance(origin_of(file), kind)
    except Exception:  # noqa: BLE001  whatever is wrong with it, edgex did not write it so
        return False
